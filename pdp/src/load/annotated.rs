//! What a statement says of itself by annotations: its name, and the instructions that travel with it.

use authzen::{Obligation, Reason};
use cedar_policy::{Policy, PolicyId};
use cedar_policy_core::ast::{self, Annotation};

use super::issues::Issues;
use crate::PolicyIssue;
use crate::engine::Rule;
use crate::reads::Names;
use crate::source::SourceFile;
use crate::terms;

/// A policy that goes by its `@id`, or by its link's, and its instructions.
pub(super) struct Annotated {
    pub(super) policy: Policy,
    pub(super) terms: Terms,
    /// Which file it is in, and where its statement begins there.
    pub(super) file: usize,
    pub(super) start: usize,
}

/// What annotations say.
pub(super) struct Terms {
    pub(super) reason: Reason,
    obligations: Vec<Obligation>,
    advice: Vec<serde_json::Value>,
}

impl Annotated {
    /// Names a policy by its `@id` and reads its instructions. None: there are issues with it.
    pub(super) fn of(file: &SourceFile, policy: &Policy, issues: &mut Issues) -> Option<Self> {
        let statement = statement(policy);
        let id = id_of(file, statement, issues)?;
        Some(Self {
            policy: policy.new_id(PolicyId::new(id)),
            terms: Terms::of(file, statement, id, issues)?,
            file: 0,
            start: 0,
        })
    }

    pub(super) fn into_rule(self, names: &Names) -> Rule {
        self.terms.into_rule(&self.policy, names)
    }
}

impl Terms {
    /// Reads the instructions of what goes by `id`. None: there are issues with them.
    pub(super) fn of(
        file: &SourceFile,
        statement: &ast::Template,
        id: &str,
        issues: &mut Issues,
    ) -> Option<Self> {
        let said = |key: &str| annotation(statement, key).map(|said| said.val.as_str());
        let obligations = said("obligation").map(|text| terms::obligations(id, text));
        let advice = said("advice").map(terms::advice);
        if let Some(Err(message)) = &obligations {
            issues.add(|| {
                instruction(file, statement, "obligation", message)
                    .hint("write `TYPE name=value,value` or `{\"type\": …, \"properties\": {…}}`")
            });
        }
        if let Some(Err(message)) = &advice {
            issues.add(|| instruction(file, statement, "advice", message));
        }
        Some(Self {
            reason: Reason {
                policy: id.to_owned(),
                reason: said("reason").map(str::to_owned),
            },
            obligations: obligations.transpose().ok()?.unwrap_or_default(),
            advice: advice.transpose().ok()?.unwrap_or_default(),
        })
    }

    pub(super) fn into_rule(self, policy: &Policy, names: &Names) -> Rule {
        let policy = AsRef::<ast::Policy>::as_ref(policy).clone();
        Rule::new(policy, self.reason, self.obligations, self.advice, names)
    }
}

/// What a policy is written as.
pub(super) fn statement(policy: &Policy) -> &ast::Template {
    AsRef::<ast::Policy>::as_ref(policy).template()
}

/// The `@id`, which every statement must have.
pub(super) fn id_of<'s>(
    file: &SourceFile,
    statement: &'s ast::Template,
    issues: &mut Issues,
) -> Option<&'s str> {
    let id = annotation(statement, "id").map(|id| id.val.as_str());
    let id = id.filter(|id| !id.is_empty());
    if id.is_none() {
        issues.add(|| {
            file.issue_at_loc(statement.loc(), "the policy has no `@id`")
                .hint("write `@id(\"…\")` before it: decisions, logs and tests name policies by it")
        });
    }
    id
}

fn annotation<'s>(statement: &'s ast::Template, key: &str) -> Option<&'s Annotation> {
    let mut annotations = statement.annotations();
    let found = annotations.find(|(name, _)| AsRef::<str>::as_ref(*name) == key);
    found.map(|(_, annotation)| annotation)
}

fn instruction(
    file: &SourceFile,
    statement: &ast::Template,
    key: &str,
    message: &str,
) -> PolicyIssue {
    let at = annotation(statement, key).and_then(|annotation| annotation.loc.as_ref());
    file.issue_at_loc(at.or(statement.loc()), format!("`@{key}`: {message}"))
}
