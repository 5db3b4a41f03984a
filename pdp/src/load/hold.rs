//! Holds policies against the schema, strictly: what passes cannot fail on a type.

mod sure;

use std::path::Path;

use cedar_policy::{
    Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationResult, ValidationWarning,
    Validator,
};
use cedar_policy_core::ast::{self, Template};
use cedar_policy_core::validator::confusable_string_checks;
use miette::Diagnostic;
use sure::Sure;

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
    let sure = Sure::new(schema.as_ref());
    let sure = policies
        .policies()
        .filter(|policy| sure.is_of(template(policy)));
    let sure: Vec<_> = sure.collect();
    let result = validate_others(policies, &sure, schema);
    let errors = result.iter().flat_map(ValidationResult::validation_errors);
    let errors = in_order(errors.map(|error| Said {
        home: home(error.policy_id()),
        diagnostic: error,
    }));
    if !errors.is_empty() {
        return Err(errors.told(folder, PROBLEMS));
    }
    let of_texts = confusable_string_checks(sure.into_iter().map(template));
    let of_texts: Vec<_> = of_texts.map(ValidationWarning::from).collect();
    let warnings = result
        .iter()
        .flat_map(ValidationResult::validation_warnings);
    let warnings = in_order(warnings.chain(&of_texts).map(|warning| Said {
        home: home(warning.policy_id()),
        diagnostic: warning,
    }));
    Ok(warnings.told(folder, "suspicions"))
}

/// One's own, where a policy is none's link.
fn template(policy: &Policy) -> &Template {
    AsRef::<ast::Policy>::as_ref(policy).template()
}

/// What the validator says of templates and of those policies that are not sure. None: there are no such.
fn validate_others(all: &PolicySet, sure: &[&Policy], schema: &Schema) -> Option<ValidationResult> {
    if sure.len() == all.num_of_policies() && all.num_of_templates() == 0 {
        return None;
    }
    let mut others = all.clone();
    for policy in sure {
        // One that stays is held once more.
        let _ = others.remove_static(policy.id().clone());
    }
    Some(Validator::new(schema.clone()).validate(&others, ValidationMode::Strict))
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
