//! Which parts of a policy's scope a question does not match.

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityUID, Policy, PrincipalOrResourceConstraint,
};
use serde::Serialize;

use crate::engine::Question;
use crate::entities::View;

/// A part of a scope that does not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// `principal`, `action` or `resource`.
    pub part: &'static str,
    /// What it is.
    pub is: String,
    /// What the policy wants of it, in Cedar's words.
    pub wanted: String,
}

/// Every part that does not match.
pub(super) fn mismatches(policy: &Policy, question: &Question, view: View<'_>) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let mut side = |part, uid: &EntityUID, constraint: &PrincipalOrResourceConstraint| {
        if !matches(constraint, uid, view) {
            found.push(Mismatch {
                part,
                is: uid.to_string(),
                wanted: wanted(part, constraint),
            });
        }
    };
    let principal = policy.principal_constraint();
    side("principal", &question.principal, principal.as_inner());
    let resource = policy.resource_constraint();
    side("resource", &question.resource, resource.as_inner());
    if !is_of_action(policy, question, view) {
        found.push(Mismatch {
            part: "action",
            is: question.action.to_string(),
            wanted: policy.action_constraint().to_string(),
        });
    }
    found
}

/// Whether the action matches.
pub(super) fn is_of_action(policy: &Policy, question: &Question, view: View<'_>) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(action) => **action == *question.action,
        ActionConstraint::In(actions) => actions
            .iter()
            .any(|action| view.is_within(&question.action, action)),
    }
}

fn matches(constraint: &PrincipalOrResourceConstraint, uid: &EntityUID, view: View<'_>) -> bool {
    use PrincipalOrResourceConstraint as Constraint;
    let within = |above: &EntityReference| match above {
        EntityReference::EUID(above) => view.is_within(uid, above),
        EntityReference::Slot(_) => false,
    };
    match constraint {
        Constraint::Any => true,
        Constraint::Is(kind) => uid.entity_type() == &**kind,
        Constraint::Eq(EntityReference::EUID(other)) => uid == &**other,
        Constraint::Eq(EntityReference::Slot(_)) => false,
        Constraint::In(above) => within(above),
        Constraint::IsIn(kind, above) => uid.entity_type() == &**kind && within(above),
    }
}

fn wanted(part: &str, constraint: &PrincipalOrResourceConstraint) -> String {
    use PrincipalOrResourceConstraint as Constraint;
    let named = |entity: &EntityReference| match entity {
        EntityReference::EUID(uid) => uid.to_string(),
        EntityReference::Slot(_) => "an unlinked slot".to_owned(),
    };
    match constraint {
        Constraint::Any => part.to_owned(),
        Constraint::Is(kind) => format!("{part} is {kind}"),
        Constraint::Eq(entity) => format!("{part} == {}", named(entity)),
        Constraint::In(entity) => format!("{part} in {}", named(entity)),
        Constraint::IsIn(kind, entity) => format!("{part} is {kind} in {}", named(entity)),
    }
}
