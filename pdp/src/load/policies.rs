//! Reads `*.cedar`: static policies, each with a unique `@id` and well-formed instructions,
//! validated strictly.

use std::collections::HashMap;
use std::path::Path;

use authzen::Reason;
use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use cedar_policy_core::ast;
use cedar_policy_core::parser::Loc;

use crate::PolicyIssue;
use crate::engine::{Rule, Rules};
use crate::source::SourceFile;
use crate::terms;

/// Policies by file (its position) and in the order in which they are written.
pub(super) struct Parsed(Vec<(usize, Policy, Rule)>);

/// Rules that hold against the schema.
pub(super) struct Validated {
    pub(super) rules: Rules,
    pub(super) warnings: Vec<PolicyIssue>,
}

/// Parses every file and reads the annotations of every policy.
pub(super) fn parse(folder: &Path, files: &[SourceFile]) -> Result<Parsed, Vec<PolicyIssue>> {
    let mut parsed = Vec::new();
    let mut issues = Vec::new();
    let mut taken: HashMap<String, String> = HashMap::new();
    for (position, file) in files.iter().enumerate() {
        let set: PolicySet = match file.text.parse() {
            Ok(set) => set,
            Err(errors) => {
                issues.extend(parse_issues(file, &errors));
                continue;
            }
        };
        for template in set.templates() {
            let loc = AsRef::<ast::Template>::as_ref(template).loc();
            issues.push(
                file.issue_at_loc(loc, "a template has no links here, so it would never apply")
                    .hint("name the principal and the resource instead of a slot"),
            );
        }
        let mut policies: Vec<_> = set.policies().collect();
        policies.sort_by_key(|policy| loc(policy).map(Loc::start));
        for policy in policies {
            match rule(file, policy, &mut taken) {
                Ok((policy, rule)) => parsed.push((position, policy, rule)),
                Err(found) => issues.extend(found),
            }
        }
    }
    if issues.is_empty() && parsed.is_empty() {
        issues.push(
            PolicyIssue::of_file(folder, "the policy folder has no policies")
                .hint("without a policy everything is denied; write at least one `permit`"),
        );
    }
    if issues.is_empty() {
        Ok(Parsed(parsed))
    } else {
        Err(issues)
    }
}

/// Validates strictly: what passes cannot fail on a type.
pub(super) fn validate(
    parsed: Parsed,
    schema: &Schema,
    files: &[SourceFile],
) -> Result<Validated, Vec<PolicyIssue>> {
    let mut owners: HashMap<PolicyId, &SourceFile> = HashMap::new();
    let mut policies = Vec::new();
    let mut rules = Vec::new();
    for (position, policy, rule) in parsed.0 {
        if let Some(file) = files.get(position) {
            owners.insert(policy.id().clone(), file);
        }
        policies.push(policy);
        rules.push(rule);
    }
    // Ids are unique by now.
    let set = PolicySet::from_policies(policies)
        .map_err(|error| vec![PolicyIssue::of_file("*.cedar", error.to_string())])?;
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let place = |id: &PolicyId, diagnostic: &dyn miette::Diagnostic| match owners.get(id) {
        Some(file) => file.issue_from(diagnostic),
        None => PolicyIssue::of_file("*.cedar", diagnostic.to_string()),
    };
    let mut issues: Vec<_> = result
        .validation_errors()
        .map(|error| place(error.policy_id(), error))
        .collect();
    if issues.is_empty() {
        let mut warnings: Vec<_> = result
            .validation_warnings()
            .map(|warning| place(warning.policy_id(), warning))
            .collect();
        sort(&mut warnings);
        Ok(Validated {
            rules: Rules::new(rules),
            warnings,
        })
    } else {
        sort(&mut issues);
        Err(issues)
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
fn rule(
    file: &SourceFile,
    policy: &Policy,
    taken: &mut HashMap<String, String>,
) -> Result<(Policy, Rule), Vec<PolicyIssue>> {
    let here = |message: String| file.issue_at_loc(loc(policy), message);
    let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
        return Err(vec![here("the policy has no `@id`".into()).hint(
            "write `@id(\"…\")` before it: decisions, logs and tests name policies by it",
        )]);
    };
    let mut issues = Vec::new();
    let own = here(String::new());
    let place = own.issue.place.unwrap_or_default();
    let described = format!("{}:{}:{}", file.path.display(), place.0, place.1);
    if let Some(other) = taken.insert(id.to_owned(), described) {
        issues.push(here(format!("`@id(\"{id}\")` is taken")).hint(format!("see {other}")));
    }
    let obligations = policy
        .annotation("obligation")
        .map(|text| terms::obligations(id, text))
        .transpose()
        .unwrap_or_else(|message| {
            issues.push(
                annotated(file, policy, "obligation", &message)
                    .hint("write `TYPE name=value,value` or `{\"type\": …, \"properties\": {…}}`"),
            );
            None
        });
    let advice = policy
        .annotation("advice")
        .map(terms::advice)
        .transpose()
        .unwrap_or_else(|message| {
            issues.push(annotated(file, policy, "advice", &message));
            None
        });
    if !issues.is_empty() {
        return Err(issues);
    }
    let reason = Reason {
        policy: id.to_owned(),
        reason: policy.annotation("reason").map(str::to_owned),
    };
    let named = policy.new_id(PolicyId::new(id));
    let inner = AsRef::<ast::Policy>::as_ref(&named).clone();
    let mut rule = Rule::new(
        inner,
        reason,
        obligations.unwrap_or_default(),
        advice.unwrap_or_default(),
    );
    rule.file = Some(file.path.as_path().into());
    Ok((named, rule))
}

fn annotated(file: &SourceFile, policy: &Policy, key: &str, message: &str) -> PolicyIssue {
    let at = AsRef::<ast::Policy>::as_ref(policy)
        .annotations()
        .find(|(name, _)| AsRef::<str>::as_ref(*name) == key)
        .and_then(|(_, annotation)| annotation.loc.as_ref());
    file.issue_at_loc(at.or(loc(policy)), format!("`@{key}`: {message}"))
}

fn loc(policy: &Policy) -> Option<&Loc> {
    AsRef::<ast::Policy>::as_ref(policy).loc()
}
