//! Reads `*.cedar`: static policies, each with a unique `@id` and well-formed instructions,
//! validated strictly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use authzen::{Obligation, Reason};
use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use cedar_policy_core::ast;
use cedar_policy_core::parser::Loc;

use crate::PolicyIssue;
use crate::engine::{Home, Rule, Rules};
use crate::reads::Names;
use crate::source::SourceFile;
use crate::source::statements::{self, Span};
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

/// Parses every file and reads the annotations of every policy.
pub(super) fn parse(folder: &Path, files: &[SourceFile]) -> Result<Parsed, Vec<PolicyIssue>> {
    let mut parsed = Parsed {
        files: Vec::new(),
        policies: Vec::new(),
    };
    let mut issues = Vec::new();
    for file in files {
        match parsed.add(file) {
            Ok(()) => {}
            Err(found) => issues.extend(found),
        }
    }
    issues.extend(parsed.taken_twice());
    if issues.is_empty() && parsed.policies.is_empty() {
        issues.push(
            PolicyIssue::of_file(folder, "the policy folder has no policies")
                .hint("without a policy everything is denied; write at least one `permit`"),
        );
    }
    if issues.is_empty() {
        Ok(parsed)
    } else {
        Err(issues)
    }
}

impl Parsed {
    fn add(&mut self, file: &SourceFile) -> Result<(), Vec<PolicyIssue>> {
        let set: PolicySet = file
            .text
            .parse()
            .map_err(|errors| parse_issues(file, &errors))?;
        let templates = set.templates().map(|template| {
            let loc = AsRef::<ast::Template>::as_ref(template).loc();
            file.issue_at_loc(loc, "a template has no links here, so it would never apply")
                .hint("name the principal and the resource instead of a slot")
        });
        let mut issues: Vec<PolicyIssue> = templates.collect();
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
            match annotated(file, policy) {
                Ok(policy) => self.policies.push(Annotated {
                    file: self.files.len(),
                    start: spans.get(at).map_or(0, |span| span.start),
                    ..policy
                }),
                Err(found) => issues.extend(found),
            }
        }
        self.files.push((Arc::new(file.clone()), spans));
        if issues.is_empty() {
            Ok(())
        } else {
            Err(issues)
        }
    }

    fn taken_twice(&self) -> Vec<PolicyIssue> {
        let place = |policy: &Annotated, message: String| match self.files.get(policy.file) {
            Some((file, _)) => file.issue_at_loc(loc(&policy.policy), message),
            None => PolicyIssue::of_file("*.cedar", message),
        };
        let mut taken: HashMap<&str, &Annotated> = HashMap::new();
        let mut issues = Vec::new();
        for policy in &self.policies {
            let id = policy.reason.policy.as_str();
            if let Some(other) = taken.insert(id, policy) {
                let other = place(other, String::new());
                let (line, column) = other.issue.place.unwrap_or_default();
                issues.push(
                    place(policy, format!("`@id(\"{id}\")` is taken"))
                        .hint(format!("see {}:{line}:{column}", other.file.display())),
                );
            }
        }
        issues
    }
}

/// Validates strictly: what passes cannot fail on a type.
pub(super) fn validate(
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
    let warnings = hold(policies, schema, |id, diagnostic| match file_of(id) {
        Some(file) => file.issue_from(diagnostic),
        None => PolicyIssue::of_file("*.cedar", diagnostic.to_string()),
    })?;
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

/// What the validator says of policies: everything that is wrong, or what is suspicious.
pub(super) fn hold(
    policies: impl IntoIterator<Item = Policy>,
    schema: &Schema,
    place: impl Fn(&PolicyId, &dyn miette::Diagnostic) -> PolicyIssue,
) -> Result<Vec<PolicyIssue>, Vec<PolicyIssue>> {
    // Ids are unique by now.
    let set = PolicySet::from_policies(policies)
        .map_err(|error| vec![PolicyIssue::of_file("*.cedar", error.to_string())])?;
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let mut issues: Vec<_> = result
        .validation_errors()
        .map(|error| place(error.policy_id(), error))
        .collect();
    if issues.is_empty() {
        let warnings = result.validation_warnings();
        let mut warnings: Vec<_> = warnings
            .map(|warning| place(warning.policy_id(), warning))
            .collect();
        sort(&mut warnings);
        Ok(warnings)
    } else {
        sort(&mut issues);
        Err(issues)
    }
}

impl Annotated {
    pub(super) fn into_rule(self, names: &Names) -> Rule {
        let policy = AsRef::<ast::Policy>::as_ref(&self.policy).clone();
        Rule::new(policy, self.reason, self.obligations, self.advice, names)
    }
}

/// The validator's order is not stable.
fn sort(issues: &mut [PolicyIssue]) {
    issues.sort_by(|left, right| {
        (&left.file, left.issue.place, &left.issue.message).cmp(&(
            &right.file,
            right.issue.place,
            &right.issue.message,
        ))
    });
}

fn parse_issues(file: &SourceFile, errors: &cedar_policy::ParseErrors) -> Vec<PolicyIssue> {
    errors.iter().map(|error| file.issue_from(error)).collect()
}

/// Names a policy by its `@id` and reads its instructions.
pub(super) fn annotated(file: &SourceFile, policy: &Policy) -> Result<Annotated, Vec<PolicyIssue>> {
    let here = |message: &str| file.issue_at_loc(loc(policy), message);
    let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
        return Err(vec![here("the policy has no `@id`").hint(
            "write `@id(\"…\")` before it: decisions, logs and tests name policies by it",
        )]);
    };
    let mut issues = Vec::new();
    let obligations = policy
        .annotation("obligation")
        .map(|text| terms::obligations(id, text))
        .transpose()
        .unwrap_or_else(|message| {
            issues.push(
                instruction(file, policy, "obligation", &message)
                    .hint("write `TYPE name=value,value` or `{\"type\": …, \"properties\": {…}}`"),
            );
            None
        });
    let advice = policy
        .annotation("advice")
        .map(terms::advice)
        .transpose()
        .unwrap_or_else(|message| {
            issues.push(instruction(file, policy, "advice", &message));
            None
        });
    if !issues.is_empty() {
        return Err(issues);
    }
    Ok(Annotated {
        policy: policy.new_id(PolicyId::new(id)),
        reason: Reason {
            policy: id.to_owned(),
            reason: policy.annotation("reason").map(str::to_owned),
        },
        obligations: obligations.unwrap_or_default(),
        advice: advice.unwrap_or_default(),
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
