//! Reads a policy folder whole, and names its content by a hash.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::source::SourceFile;
use crate::{PdpError, PolicyIssue};

/// The files of a folder, by kind and in the order of their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) schemas: Vec<SourceFile>,
    pub(crate) policies: Vec<SourceFile>,
    /// For whom templates apply.
    pub(crate) links: Vec<SourceFile>,
    pub(crate) entities: Vec<SourceFile>,
    /// Hash of every name and content: equal versions decide equally.
    pub(crate) version: String,
}

/// What the file system says of every file that counts. A change of content changes it, unless it
/// follows another one faster than the file system's clock ticks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<(OsString, [i64; 4], [u64; 3])>);

impl Stamp {
    /// Reads no file: it costs little, however much the folder holds.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let stamped = |(name, _)| {
            // Where it is a link, of what it leads to.
            let file = std::fs::metadata(folder.join(&name))?;
            let times = [
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            ];
            Ok((name, times, [file.dev(), file.ino(), file.size()]))
        };
        let files = files(folder)?.into_iter().map(stamped);
        files.collect::<io::Result<_>>().map(Self)
    }

    /// Whether whatever is new since then was put in its place whole. What was last done to a file that
    /// is renamed into its place is not to write it, and that the times tell.
    pub(crate) fn is_only_moved_since(&self, before: &Self) -> bool {
        let new = self.0.iter().filter(|file| !before.0.contains(file));
        new.map(|(_, times, _)| times)
            .all(|[written, nanoseconds, changed, also]| (written, nanoseconds) != (changed, also))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Schema,
    Policies,
    Links,
    Entities,
}

impl Folder {
    /// Reads every file that counts; hidden ones and other kinds do not.
    pub(crate) fn read(folder: &Path) -> Result<Self, PdpError> {
        let unreadable = |error: &std::io::Error| {
            PdpError::Policies(vec![
                PolicyIssue::of_file(folder, format!("the folder cannot be read: {error}"))
                    .hint("`pdp.policies` names a folder of `*.cedarschema`, `*.cedar`, `*links.json` and `entities*.json`"),
            ])
        };
        let names = files(folder).map_err(|error| unreadable(&error))?;
        let mut read = Self {
            path: folder.to_owned(),
            ..Self::default()
        };
        let mut issues = Vec::new();
        let mut content = Vec::new();
        for (name, kind) in names {
            match source(folder, &name) {
                Ok(file) => {
                    add(&mut content, &name, &file.text);
                    read.files(kind).push(file);
                }
                Err(issue) => issues.push(issue),
            }
        }
        if !issues.is_empty() {
            return Err(PdpError::Policies(issues));
        }
        read.version = service_kit::digest::sha256_base64url(&content);
        Ok(read)
    }

    /// The same of files that were handed over, named as in a folder and in its order. None: it cannot be
    /// one that was read so.
    pub(crate) fn of_texts<'t>(texts: impl Iterator<Item = (&'t str, &'t str)>) -> Option<Self> {
        let mut read = Self::default();
        let mut content = Vec::new();
        let mut before: Option<&str> = None;
        for (name, text) in texts {
            let kind = kind(name.as_bytes()).filter(|_| !name.contains('/'))?;
            if before.is_some_and(|before| before >= name) {
                return None;
            }
            before = Some(name);
            add(&mut content, OsStr::new(name), text);
            read.files(kind)
                .push(SourceFile::new(Path::new(name), text));
        }
        read.version = service_kit::digest::sha256_base64url(&content);
        Some(read)
    }

    /// Names and texts of all files, in the order of the names.
    pub(crate) fn texts(&self) -> Vec<(&str, &str)> {
        let kinds = [&self.schemas, &self.policies, &self.links, &self.entities];
        let files = kinds.into_iter().flatten();
        let named = files.filter_map(|file| Some((file.path.file_name()?.to_str()?, &*file.text)));
        let mut texts: Vec<_> = named.collect();
        texts.sort_unstable();
        texts
    }

    fn files(&mut self, kind: Kind) -> &mut Vec<SourceFile> {
        match kind {
            Kind::Schema => &mut self.schemas,
            Kind::Policies => &mut self.policies,
            Kind::Links => &mut self.links,
            Kind::Entities => &mut self.entities,
        }
    }
}

/// Lengths keep the border between two files where it is.
fn add(content: &mut Vec<u8>, name: &OsStr, text: &str) {
    for part in [name.as_bytes(), text.as_bytes()] {
        content.extend_from_slice(&(part.len() as u64).to_be_bytes());
        content.extend_from_slice(part);
    }
}

/// Reads one file, if it is one that can be read to its end.
fn source(folder: &Path, name: &OsStr) -> Result<SourceFile, PolicyIssue> {
    let path = folder.join(name);
    let issue = |message: &str| PolicyIssue::of_file(&path, message);
    let unreadable = |error: io::Error| issue(&format!("cannot be read: {error}"));
    // Not passed over: by such a name a `forbid` would be gone without a word.
    if name.to_str().is_none() {
        return Err(issue("the name is not UTF-8")
            .hint("rename the file, or let its name begin with a dot where it is not to count"));
    }
    // Looked at before it is opened: a pipe without a writer is waited for without end. Whoever
    // swaps one in right after this look can as well write policies.
    let kind = std::fs::metadata(&path).map_err(unreadable)?.file_type();
    if !kind.is_file() {
        // A folder, too: by its name somebody expects it to be read.
        let what = if kind.is_dir() {
            "a folder"
        } else {
            "a pipe, socket or device"
        };
        return Err(issue(&format!("is {what}, not a file"))
            .hint("put a file (or a link to one) in its place, or give it another name"));
    }
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    Ok(SourceFile::new(path, text))
}

/// The files that count, in the order of their names.
fn files(folder: &Path) -> io::Result<Vec<(OsString, Kind)>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(kind) = kind(name.as_bytes()) {
            names.push((name, kind));
        }
    }
    names.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(names)
}

/// By bytes: a name that is not UTF-8 counts by how it begins and ends.
fn kind(name: &[u8]) -> Option<Kind> {
    if name.starts_with(b".") {
        return None;
    }
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    match name.split_at(dot) {
        (_, b".cedarschema") => Some(Kind::Schema),
        (_, b".cedar") => Some(Kind::Policies),
        (stem, b".json") if stem.starts_with(b"entities") => Some(Kind::Entities),
        (stem, b".json") if stem == b"links" || stem.ends_with(b".links") => Some(Kind::Links),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
