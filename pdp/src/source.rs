//! A source file and places in it: byte offsets become line, column and excerpt.

pub(crate) mod statements;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cedar_policy_core::parser::Loc;
use miette::Diagnostic;
use service_kit::ConfigIssue;
use service_kit::error::chain;

use crate::PolicyIssue;
use crate::short::cut;

/// One file as it was read. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    pub(crate) path: Arc<Path>,
    pub(crate) text: Arc<str>,
    /// Where its lines begin: found when a place in it is first asked for.
    starts: Arc<OnceLock<Box<[usize]>>>,
}

impl SourceFile {
    pub(crate) fn new(path: impl Into<Arc<Path>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            starts: Arc::default(),
        }
    }

    /// An issue at a byte offset.
    pub(crate) fn issue_at(&self, offset: usize, message: impl Into<String>) -> PolicyIssue {
        let (line, column) = self.place(offset);
        PolicyIssue {
            file: self.path.to_path_buf(),
            issue: ConfigIssue {
                place: Some((line, column)),
                message: message.into(),
                hint: None,
                excerpt: self.excerpt(line, column),
            },
        }
    }

    /// A byte offset as people count: from 1, columns in characters.
    pub(crate) fn place(&self, offset: usize) -> (usize, usize) {
        let text = &*self.text;
        let offset = text.get(..offset).unwrap_or(text).len();
        let line = self.starts().partition_point(|start| *start <= offset);
        let before = text.get(self.start(line)..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The line, cut where it is long, and left out where the cut would take the place away: a
    /// whole file may be one line.
    fn excerpt(&self, line: usize, column: usize) -> Option<String> {
        if column > EXCERPT {
            return None;
        }
        let line = self.text.get(self.start(line)..)?.lines().next()?;
        Some(cut(line, EXCERPT).into_owned())
    }

    fn start(&self, line: usize) -> usize {
        let start = self.starts().get(line.saturating_sub(1));
        start.copied().unwrap_or_default()
    }

    fn starts(&self) -> &[usize] {
        self.starts.get_or_init(|| {
            let ends = memchr::memchr_iter(b'\n', self.text.as_bytes());
            std::iter::once(0).chain(ends.map(|end| end + 1)).collect()
        })
    }

    /// An issue where the parser says that something is.
    pub(crate) fn issue_at_loc(
        &self,
        loc: Option<&Loc>,
        message: impl Into<String>,
    ) -> PolicyIssue {
        match loc {
            Some(loc) => self.issue_at(loc.start(), message),
            None => PolicyIssue::of_file(&*self.path, message),
        }
    }

    /// An issue at a line and column, as JSON errors have them.
    pub(crate) fn issue_at_line(
        &self,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> PolicyIssue {
        let last = self.starts().last().copied().unwrap_or_default();
        let start = self.starts().get(line.saturating_sub(1));
        let start = start.copied().unwrap_or(last);
        let mut offset = (start + column.saturating_sub(1)).min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        self.issue_at(offset, message)
    }

    /// What a library's diagnostic says about this file.
    pub(crate) fn issue_from(&self, diagnostic: &dyn Diagnostic) -> PolicyIssue {
        self.issue_within(0, diagnostic)
    }

    /// What a library's diagnostic says about the part of this file that begins at `start`.
    pub(crate) fn issue_within(&self, start: usize, diagnostic: &dyn Diagnostic) -> PolicyIssue {
        let issue = match labelled(diagnostic) {
            Some(offset) => self.issue_at(start + offset, chain(diagnostic)),
            None => PolicyIssue::of_file(&*self.path, chain(diagnostic)),
        };
        helped(issue, diagnostic)
    }
}

/// Where a library's diagnostic says that something is.
pub(crate) fn labelled(diagnostic: &dyn Diagnostic) -> Option<usize> {
    let label = diagnostic.labels()?.next()?;
    Some(label.offset())
}

/// An issue with what a library's diagnostic says to do.
pub(crate) fn helped(issue: PolicyIssue, diagnostic: &dyn Diagnostic) -> PolicyIssue {
    match diagnostic.help() {
        Some(help) => issue.hint(help.to_string()),
        None => issue,
    }
}

/// The most characters of a line that an issue shows.
const EXCERPT: usize = 200;

/// A diagnostic about one of several files: the one whose text the diagnostic carries.
pub(crate) fn issue_among(files: &[SourceFile], diagnostic: &dyn Diagnostic) -> PolicyIssue {
    let carried = diagnostic
        .source_code()
        .and_then(|code| code.read_span(&(0, 0).into(), 0, usize::MAX).ok())
        .map(|contents| contents.data().to_vec());
    let owner = carried
        .and_then(|text| files.iter().find(|file| file.text.as_bytes() == text))
        .or(match files {
            [only] => Some(only),
            _ => None,
        });
    match (owner, files.first()) {
        (Some(file), _) => file.issue_from(diagnostic),
        (None, first) => {
            let folder = first
                .and_then(|file| file.path.parent())
                .map(PathBuf::from)
                .unwrap_or_default();
            PolicyIssue::of_file(folder, chain(diagnostic))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain way to count.
    fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).map_or(0, |text| text.chars().count()) + 1;
        (line, column)
    }

    #[test]
    fn an_offset_becomes_a_place_counted_in_characters() {
        let file = SourceFile::new(Path::new("x.cedar"), "first\nsöcond here\n");
        let issue = file.issue_at("first\nsöcond ".len(), "wrong");
        assert_eq!(
            issue.to_string(),
            "x.cedar:2:8: wrong\n   |\n 2 | söcond here\n   |        ^"
        );
    }

    #[test]
    fn a_long_line_is_shown_as_far_as_the_caret_stands_right() {
        let file = SourceFile::new(
            Path::new("x.json"),
            format!("first\n{}\n", "ö".repeat(100_000)),
        );
        let at = |column: usize| file.issue_at("first\n".len() + 2 * (column - 1), "wrong");
        let (near, far) = (at(EXCERPT), at(EXCERPT + 1));
        let (shown, indent) = ("ö".repeat(EXCERPT), " ".repeat(EXCERPT - 1));
        assert_eq!(
            near.to_string(),
            format!("x.json:2:200: wrong\n   |\n 2 | {shown}…\n   | {indent}^")
        );
        assert_eq!(far.to_string(), "x.json:2:201: wrong");
    }

    #[test]
    fn lines_that_are_counted_once_are_the_same_lines() {
        for text in ["", "\n", "a", "ä\r\n\nö", "a\nb\n"] {
            let file = SourceFile::new(Path::new("x.json"), text);
            for offset in 0..text.len() + 3 {
                let place = line_and_column(text, offset);
                assert_eq!(file.place(offset), place, "{offset} of {text:?}");
                let line = text.lines().nth(place.0 - 1).map(str::to_owned);
                assert_eq!(file.issue_at(offset, "").issue.excerpt, line);
            }
        }
    }

    #[test]
    fn a_line_past_the_end_is_the_end() {
        let file = SourceFile::new(Path::new("x.json"), "[\n");
        assert_eq!(file.issue_at_line(9, 9, "wrong").issue.place, Some((2, 1)));
    }
}
