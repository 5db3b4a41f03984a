//! The policies that can matter to a search, and the entities that they can permit: partial
//! evaluation with one side of the question unknown, done once for a whole search.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{
    Context, EntityType, EntityUID, Policy, PolicySet, PrincipalOrResourceConstraint, Var,
};
use cedar_policy_core::tpe;
use cedar_policy_core::tpe::entities::{PartialEntities, PartialEntity};
use cedar_policy_core::tpe::request::{PartialEntityUID, PartialRequest};
use cedar_policy_core::tpe::residual::Residual;
use cedar_policy_core::validator::ValidatorSchema;

use smol_str::SmolStr;

use super::plan::{Ground, Plan};
use crate::engine::{Question, Rules};
use crate::entities::Kept;

/// More policies than this are not evaluated partially: their scope alone says whom they concern.
const EVALUATED: usize = 1000;

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
        let residuals = residuals(rules, schema, question, kind, ground, &candidates);
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

fn residuals(
    rules: &Rules,
    schema: &ValidatorSchema,
    question: &Question,
    kind: &EntityType,
    ground: Ground<'_>,
    candidates: &[usize],
) -> BTreeMap<usize, Arc<Residual>> {
    let mut by_position = BTreeMap::new();
    if candidates.len() > EVALUATED {
        return by_position;
    }
    let unknown = || PartialEntityUID {
        ty: kind.clone(),
        eid: None,
    };
    let known = |uid: &EntityUID| PartialEntityUID {
        ty: uid.entity_type().clone(),
        eid: Some(uid.eid().clone()),
    };
    let (principal, resource, given) = if ground.sought == Var::Principal {
        (unknown(), known(&question.resource), &question.resource)
    } else {
        (known(&question.principal), unknown(), &question.principal)
    };
    let context = match &question.context {
        Context::Value(members) => Some(Arc::clone(members)),
        Context::RestrictedResidual(_) => None,
    };
    let request = PartialRequest::new(
        principal,
        question.action.clone(),
        resource,
        context,
        schema,
    );
    let Ok(request) = request else {
        return by_position;
    };
    let entities = given_entities(given, schema, ground);
    // A policy that does not typecheck fails the whole call, so each is asked alone: the others
    // keep their residuals.
    for position in candidates.iter().copied() {
        let Some(rule) = rules.get(position) else {
            continue;
        };
        let mut alone = PolicySet::new();
        if alone.add(rule.policy().clone()).is_err() {
            continue;
        }
        if let Ok(response) = tpe::is_authorized(&alone, &request, &entities, schema)
            && let Some(policy) = response.policies().next()
        {
            by_position.insert(position, policy.get_residual());
        }
    }
    by_position
}

/// The given side of the question as far as it is known. What is left out is unknown to partial
/// evaluation, which then leaves it in the residual.
fn given_entities(
    given: &EntityUID,
    schema: &ValidatorSchema,
    ground: Ground<'_>,
) -> PartialEntities {
    let Some(row) = ground.row(given) else {
        return PartialEntities::from_entities(std::iter::empty(), schema).unwrap_or_default();
    };
    let above = |uid: &EntityUID| -> HashSet<EntityUID> {
        ground.view().ancestors(uid).into_iter().cloned().collect()
    };
    let ancestors = above(given);
    let values = |members: &mut dyn Iterator<Item = (&SmolStr, &Kept)>| {
        members
            .map(|(name, value)| (name.clone(), value.value()))
            .collect::<BTreeMap<_, _>>()
    };
    let whole = PartialEntity::new(
        given.clone(),
        Some(values(&mut row.attributes())),
        Some(ancestors.clone()),
        Some(values(&mut row.tags())),
        schema,
    );
    // The question may describe an entity that lacks what the schema requires of it.
    let entity = whole.ok().or_else(|| {
        PartialEntity::new(given.clone(), None, Some(ancestors.clone()), None, schema).ok()
    });
    let above = ancestors
        .iter()
        .filter(|uid| ground.row(uid).is_some())
        .filter_map(|uid| {
            PartialEntity::new(uid.clone(), None, Some(above(uid)), None, schema).ok()
        });
    PartialEntities::from_entities(entity.into_iter().chain(above), schema)
        .ok()
        .or_else(|| PartialEntities::from_entities(std::iter::empty(), schema).ok())
        .unwrap_or_default()
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
