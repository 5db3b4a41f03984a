//! Holds policies against the schema, strictly: what passes cannot fail on a type.

use std::path::Path;

use cedar_policy::{PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;

use super::issues::{Issues, PROBLEMS};
use crate::PolicyIssue;
use crate::source::{SourceFile, chain};

/// Where a policy is.
#[derive(Clone, Copy)]
pub(super) enum Where<'f> {
    /// Where the text begins that it was parsed from.
    Statement(&'f SourceFile, usize),
    /// A link, whose own place says more than that of its template.
    Link(&'f SourceFile, usize),
}

/// What the validator says of policies: what is wrong, or what is suspicious.
pub(super) fn hold<'f>(
    folder: &Path,
    policies: &PolicySet,
    schema: &Schema,
    home: impl Fn(&PolicyId) -> Option<Where<'f>>,
) -> Result<Vec<PolicyIssue>, Vec<PolicyIssue>> {
    let result = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    let errors = result
        .validation_errors()
        .map(|error| Said::of(home(error.policy_id()), error));
    let errors = in_order(errors);
    if errors.is_empty() {
        let warnings = result
            .validation_warnings()
            .map(|warning| Said::of(home(warning.policy_id()), warning));
        Ok(in_order(warnings).told(folder, "suspicions"))
    } else {
        Err(errors.told(folder, PROBLEMS))
    }
}

/// What the validator says, not in words yet.
struct Said<'f, 'd> {
    file: Option<&'f SourceFile>,
    start: usize,
    /// Within what begins there.
    offset: Option<usize>,
    diagnostic: &'d dyn Diagnostic,
}

impl<'f, 'd> Said<'f, 'd> {
    fn of(home: Option<Where<'f>>, diagnostic: &'d dyn Diagnostic) -> Self {
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let label = label.map(|label| label.offset());
        let (file, start, offset) = match home {
            Some(Where::Statement(file, start)) => (Some(file), start, label),
            Some(Where::Link(file, start)) => (Some(file), start, Some(0)),
            None => (None, 0, None),
        };
        Self {
            file,
            start,
            offset,
            diagnostic,
        }
    }

    fn place(&self) -> (Option<&Path>, Option<usize>) {
        let offset = self.offset.map(|offset| self.start + offset);
        (self.file.map(|file| &*file.path), offset)
    }

    fn issue(&self) -> PolicyIssue {
        let message = chain(self.diagnostic);
        let issue = match (self.file, self.offset) {
            (Some(file), Some(offset)) => file.issue_at(self.start + offset, message),
            (Some(file), None) => PolicyIssue::of_file(&*file.path, message),
            (None, _) => PolicyIssue::of_file("*.cedar", message),
        };
        match self.diagnostic.help() {
            Some(help) => issue.hint(help.to_string()),
            None => issue,
        }
    }
}

/// The validator's order is not stable.
fn in_order<'f, 'd>(said: impl Iterator<Item = Said<'f, 'd>>) -> Issues {
    let mut said: Vec<_> = said.collect();
    let words = |said: &Said<'_, '_>| chain(said.diagnostic);
    said.sort_by(|left, right| {
        let places = left.place().cmp(&right.place());
        places.then_with(|| words(left).cmp(&words(right)))
    });
    let mut issues = Issues::default();
    for one in &said {
        issues.add(|| one.issue());
    }
    issues
}
