//! Holds policies against the schema, strictly: what passes cannot fail on a type.

use std::path::Path;

use cedar_policy::{PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;

use super::issues::{Issues, PROBLEMS};
use crate::PolicyIssue;
use crate::source::{SourceFile, helped, labelled};
use service_kit::error::chain;

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
    let errors = result.validation_errors().map(|error| Said {
        home: home(error.policy_id()),
        diagnostic: error,
    });
    let errors = in_order(errors);
    if errors.is_empty() {
        let warnings = result.validation_warnings().map(|warning| Said {
            home: home(warning.policy_id()),
            diagnostic: warning,
        });
        Ok(in_order(warnings).told(folder, "suspicions"))
    } else {
        Err(errors.told(folder, PROBLEMS))
    }
}

/// What the validator says, not in words yet.
struct Said<'f, 'd> {
    home: Option<Where<'f>>,
    diagnostic: &'d dyn Diagnostic,
}

impl Said<'_, '_> {
    fn place(&self) -> (Option<&Path>, Option<usize>) {
        match self.home {
            Some(Where::Statement(file, start)) => {
                let label = labelled(self.diagnostic);
                (Some(&file.path), label.map(|label| start + label))
            }
            Some(Where::Link(file, start)) => (Some(&file.path), Some(start)),
            None => (None, None),
        }
    }

    fn issue(&self) -> PolicyIssue {
        let diagnostic = self.diagnostic;
        let issue = match self.home {
            Some(Where::Statement(file, start)) => return file.issue_within(start, diagnostic),
            Some(Where::Link(file, start)) => file.issue_at(start, chain(diagnostic)),
            None => PolicyIssue::of_file("*.cedar", chain(diagnostic)),
        };
        helped(issue, diagnostic)
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
