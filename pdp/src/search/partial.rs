//! The policies that can matter to a search, and the entities that they can permit, read from
//! what partial evaluation leaves of them, once for a whole search.

use cedar_policy_core::ast::{EntityType, Policy, PrincipalOrResourceConstraint, Var};
use cedar_policy_core::validator::ValidatorSchema;

use super::plan::{Ground, Plan};
use crate::engine::{Question, Rules};
use crate::residual::{Open, residuals};

/// What is left of the policies for one search.
#[derive(Debug)]
pub(super) struct Remainder {
    /// Positions of the rules that are not certainly false, ascending.
    pub(super) live: Vec<usize>,
    pub(super) plan: Plan,
}

impl Remainder {
    /// Partially evaluates every rule that may apply. Where that is not possible for a rule, it
    /// stays live: partial evaluation only ever saves work.
    pub(super) fn of(
        rules: &Rules,
        schema: &ValidatorSchema,
        question: &Question,
        kind: &EntityType,
        ground: Ground<'_>,
    ) -> Self {
        let candidates = rules.candidates_for_any(question, ground.store, kind, ground.sought);
        let open = Open {
            kind,
            sought: ground.sought,
            view: ground.view(),
            context_is_known: true,
            known: ground.known,
        };
        let residuals = residuals(rules, schema, question, &open, &candidates);
        let mut remainder = Self {
            live: Vec::new(),
            plan: Plan::Nothing,
        };
        for position in candidates {
            let Some(rule) = rules.get(position) else {
                continue;
            };
            let residual = residuals.get(&position);
            match residual.map(AsRef::as_ref) {
                Some(residual) if residual.is_false() => continue,
                // It forbids everything, or cannot be evaluated for anything, which denies.
                Some(residual)
                    if rule.is_forbid() && (residual.is_true() || residual.is_error()) =>
                {
                    return Self {
                        live: Vec::new(),
                        plan: Plan::Nothing,
                    };
                }
                _ => {}
            }
            remainder.live.push(position);
            if !rule.is_forbid() {
                let own = match residual {
                    Some(residual) => Plan::of(residual, ground),
                    None => of_scope(rule.policy(), ground.sought),
                };
                remainder.plan = remainder.plan.or(own);
            }
        }
        remainder
    }
}

/// Whom a policy's scope concerns.
fn of_scope(policy: &Policy, sought: Var) -> Plan {
    use PrincipalOrResourceConstraint as Constraint;
    let constraint = match sought {
        Var::Principal => policy.principal_constraint().as_inner().clone(),
        _ => policy.resource_constraint().as_inner().clone(),
    };
    match constraint {
        Constraint::Eq(entity) | Constraint::In(entity) | Constraint::IsIn(_, entity) => {
            match entity {
                cedar_policy_core::ast::EntityReference::EUID(uid) => Plan::within((*uid).clone()),
                cedar_policy_core::ast::EntityReference::Slot(_) => Plan::All,
            }
        }
        Constraint::Any | Constraint::Is(_) => Plan::All,
    }
}
