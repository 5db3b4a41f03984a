//! Reads `*.cedar`: static policies, each with a unique `@id` and well-formed instructions,
//! validated strictly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use authzen::{Obligation, Reason};
use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use cedar_policy_core::ast;
use cedar_policy_core::parser::Loc;

use super::issues::Issues;
use crate::PolicyIssue;
use crate::engine::{Home, Rule, Rules};
use crate::reads::Names;
use crate::source::statements::{self, Span};
use crate::source::{SourceFile, chain};
use crate::terms;

/// A file of policies and what became of its statements.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    pub(super) source: Arc<SourceFile>,
    /// The statements. None where they could not be told apart.
    pub(super) spans: Vec<Span>,
    /// The position of each one's rule.
    pub(super) positions: Vec<usize>,
}

/// Policies in the order of their files and in that in which they are written.
pub(super) struct Parsed {
    files: Vec<(Arc<SourceFile>, Vec<Span>)>,
    policies: Vec<Annotated>,
}

/// A policy that goes by its `@id`, and its instructions.
pub(super) struct Annotated {
    pub(super) policy: Policy,
    pub(super) reason: Reason,
    obligations: Vec<Obligation>,
    advice: Vec<serde_json::Value>,
    /// Which file it is in, and where its statement begins there.
    file: usize,
    start: usize,
}

/// Rules that hold against the schema.
pub(super) struct Validated {
    pub(super) rules: Rules,
    pub(super) files: Vec<PolicyFile>,
    pub(super) warnings: Vec<PolicyIssue>,
}

/// What is told of where there are too many.
const PROBLEMS: &str = "problems";

/// Parses every file and reads the annotations of every policy.
pub(super) fn parse(folder: &Path, files: &[SourceFile]) -> Result<Parsed, Vec<PolicyIssue>> {
    let mut parsed = Parsed {
        files: Vec::new(),
        policies: Vec::new(),
    };
    let mut issues = Issues::default();
    for file in files {
        parsed.add(file, &mut issues);
    }
    parsed.taken_twice(&mut issues);
    if issues.is_empty() && parsed.policies.is_empty() {
        issues.add(|| {
            PolicyIssue::of_file(folder, "the policy folder has no policies")
                .hint("without a policy everything is denied; write at least one `permit`")
        });
    }
    if issues.is_empty() {
        Ok(parsed)
    } else {
        Err(issues.told(folder, PROBLEMS))
    }
}

impl Parsed {
    fn add(&mut self, file: &SourceFile, issues: &mut Issues) {
        let set: PolicySet = match file.text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                for error in errors.iter() {
                    issues.add(|| file.issue_from(error));
                }
                return;
            }
        };
        for template in set.templates() {
            let loc = AsRef::<ast::Template>::as_ref(template).loc();
            issues.add(|| {
                file.issue_at_loc(loc, "a template has no links here, so it would never apply")
                    .hint("name the principal and the resource instead of a slot")
            });
        }
        let mut policies: Vec<_> = set.policies().collect();
        policies.sort_by_key(|policy| loc(policy).map(Loc::start));
        let mut spans = statements::all(&file.text);
        let is_own = |(span, policy): (&Span, &&Policy)| {
            loc(policy).is_some_and(|loc| span.start <= loc.start() && loc.end() <= span.end)
        };
        if spans.len() != policies.len() || !spans.iter().zip(&policies).all(is_own) {
            spans.clear();
        }
        for (at, policy) in policies.into_iter().enumerate() {
            let annotated = annotated(file, policy, issues).map(|policy| Annotated {
                file: self.files.len(),
                start: spans.get(at).map_or(0, |span| span.start),
                ..policy
            });
            self.policies.extend(annotated);
        }
        self.files.push((Arc::new(file.clone()), spans));
    }

    fn taken_twice(&self, issues: &mut Issues) {
        let place = |policy: &Annotated, message: String| match self.files.get(policy.file) {
            Some((file, _)) => file.issue_at_loc(loc(&policy.policy), message),
            None => PolicyIssue::of_file("*.cedar", message),
        };
        let mut taken: HashMap<&str, &Annotated> = HashMap::new();
        for policy in &self.policies {
            let id = policy.reason.policy.as_str();
            if let Some(other) = taken.insert(id, policy) {
                issues.add(|| {
                    let other = place(other, String::new());
                    let (line, column) = other.issue.place.unwrap_or_default();
                    place(policy, format!("`@id(\"{id}\")` is taken"))
                        .hint(format!("see {}:{line}:{column}", other.file.display()))
                });
            }
        }
    }
}

/// Validates strictly: what passes cannot fail on a type.
pub(super) fn validate(
    folder: &Path,
    parsed: Parsed,
    schema: &Schema,
    names: &Names,
) -> Result<Validated, Vec<PolicyIssue>> {
    let owners: HashMap<PolicyId, usize> = parsed
        .policies
        .iter()
        .map(|policy| (policy.policy.id().clone(), policy.file))
        .collect();
    let policies = parsed.policies.iter().map(|policy| policy.policy.clone());
    let file_of = |id: &PolicyId| Some(&*parsed.files.get(*owners.get(id)?)?.0);
    let warnings = hold(folder, policies, schema, |id| Some((file_of(id)?, 0)))?;
    let mut files: Vec<_> = parsed
        .files
        .into_iter()
        .map(|(source, spans)| PolicyFile {
            source,
            spans,
            positions: Vec::new(),
        })
        .collect();
    let mut rules = Rules::default();
    for (order, policy) in parsed.policies.into_iter().enumerate() {
        let Some(file) = files.get_mut(policy.file) else {
            continue;
        };
        let start = policy.start;
        let home = Home {
            file: Arc::clone(&file.source),
            start,
        };
        let position = rules.insert(policy.into_rule(names).in_file(home, start));
        rules.place(position, order, None);
        file.positions.push(position);
    }
    Ok(Validated {
        rules,
        files,
        warnings,
    })
}

/// What the validator says of policies: what is wrong, or what is suspicious. `home` says in which file a
/// policy is, and where the text begins there that it was parsed from.
pub(super) fn hold<'f>(
    folder: &Path,
    policies: impl IntoIterator<Item = Policy>,
    schema: &Schema,
    home: impl Fn(&PolicyId) -> Option<(&'f SourceFile, usize)>,
) -> Result<Vec<PolicyIssue>, Vec<PolicyIssue>> {
    // Ids are unique by now.
    let set = PolicySet::from_policies(policies)
        .map_err(|error| vec![PolicyIssue::of_file("*.cedar", error.to_string())])?;
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let errors = result
        .validation_errors()
        .map(|error| Said::of(&home, error.policy_id(), error));
    let errors = in_order(errors);
    if errors.is_empty() {
        let warnings = result
            .validation_warnings()
            .map(|warning| Said::of(&home, warning.policy_id(), warning));
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
    diagnostic: &'d dyn miette::Diagnostic,
}

impl<'f, 'd> Said<'f, 'd> {
    fn of(
        home: &impl Fn(&PolicyId) -> Option<(&'f SourceFile, usize)>,
        policy: &PolicyId,
        diagnostic: &'d dyn miette::Diagnostic,
    ) -> Self {
        let (file, start) = home(policy).unzip();
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        Self {
            file,
            start: start.unwrap_or_default(),
            offset: label.map(|label| label.offset()),
            diagnostic,
        }
    }

    fn place(&self) -> (Option<&Path>, Option<usize>) {
        let offset = self.offset.map(|offset| self.start + offset);
        (self.file.map(|file| &*file.path), offset)
    }

    fn issue(&self) -> PolicyIssue {
        match self.file {
            Some(file) => file.issue_within(self.start, self.diagnostic),
            None => PolicyIssue::of_file("*.cedar", self.diagnostic.to_string()),
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

impl Annotated {
    pub(super) fn into_rule(self, names: &Names) -> Rule {
        let policy = AsRef::<ast::Policy>::as_ref(&self.policy).clone();
        Rule::new(policy, self.reason, self.obligations, self.advice, names)
    }
}

/// Names a policy by its `@id` and reads its instructions. None: there are issues with it.
pub(super) fn annotated(
    file: &SourceFile,
    policy: &Policy,
    issues: &mut Issues,
) -> Option<Annotated> {
    let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
        issues.add(|| {
            file.issue_at_loc(loc(policy), "the policy has no `@id`")
                .hint("write `@id(\"…\")` before it: decisions, logs and tests name policies by it")
        });
        return None;
    };
    let obligations = policy.annotation("obligation");
    let obligations = obligations.map(|text| terms::obligations(id, text));
    let advice = policy.annotation("advice").map(terms::advice);
    if let Some(Err(message)) = &obligations {
        issues.add(|| {
            instruction(file, policy, "obligation", message)
                .hint("write `TYPE name=value,value` or `{\"type\": …, \"properties\": {…}}`")
        });
    }
    if let Some(Err(message)) = &advice {
        issues.add(|| instruction(file, policy, "advice", message));
    }
    Some(Annotated {
        policy: policy.new_id(PolicyId::new(id)),
        reason: Reason {
            policy: id.to_owned(),
            reason: policy.annotation("reason").map(str::to_owned),
        },
        obligations: obligations.transpose().ok()?.unwrap_or_default(),
        advice: advice.transpose().ok()?.unwrap_or_default(),
        file: 0,
        start: 0,
    })
}

fn instruction(file: &SourceFile, policy: &Policy, key: &str, message: &str) -> PolicyIssue {
    let at = AsRef::<ast::Policy>::as_ref(policy)
        .annotations()
        .find(|(name, _)| AsRef::<str>::as_ref(*name) == key)
        .and_then(|(_, annotation)| annotation.loc.as_ref());
    file.issue_at_loc(at.or(loc(policy)), format!("`@{key}`: {message}"))
}

fn loc(policy: &Policy) -> Option<&Loc> {
    AsRef::<ast::Policy>::as_ref(policy).loc()
}
