//! Partial evaluation: what is left of policies where one side of a question is not known yet.

mod known;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{Context, EntityType, EntityUID, PolicySet, Var};
use cedar_policy_core::tpe;
use cedar_policy_core::tpe::entities::{PartialEntities, PartialEntity};
use cedar_policy_core::tpe::request::{PartialEntityUID, PartialRequest};
use cedar_policy_core::tpe::residual::Residual;
use cedar_policy_core::validator::ValidatorSchema;
use smol_str::SmolStr;

pub(crate) use known::{Known, ReadElsewhere, Side, Taken};

use crate::depth::with_stack;
use crate::engine::{Question, Rules};
use crate::entities::{Kept, View};

/// More policies than this are not evaluated partially: it takes some twenty microseconds for each.
const EVALUATED: usize = 50_000;

/// The side that is not known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open<'a> {
    pub(crate) kind: &'a EntityType,
    /// Principal or resource.
    pub(crate) sought: Var,
    pub(crate) view: View<'a>,
    /// Else the question's context means nothing.
    pub(crate) context_is_known: bool,
    /// What of the attributes that providers have has been fetched. The rest is unknown.
    pub(crate) known: &'a Known,
}

/// What is left of rules, by their positions.
pub(crate) type Residuals = BTreeMap<usize, Arc<Residual>>;

/// Partially evaluates rules, each by itself. Those that cannot be are left out.
pub(crate) fn residuals(
    rules: &Rules,
    schema: &ValidatorSchema,
    question: &Question,
    open: &Open<'_>,
    candidates: &[usize],
) -> Residuals {
    with_stack(|| evaluated(rules, schema, question, open, candidates))
}

fn evaluated(
    rules: &Rules,
    schema: &ValidatorSchema,
    question: &Question,
    open: &Open<'_>,
    candidates: &[usize],
) -> Residuals {
    let mut by_position = Residuals::new();
    if candidates.len() > EVALUATED {
        return by_position;
    }
    let unknown = || PartialEntityUID {
        ty: open.kind.clone(),
        eid: None,
    };
    let known = |uid: &EntityUID| PartialEntityUID {
        ty: uid.entity_type().clone(),
        eid: Some(uid.eid().clone()),
    };
    let (principal, resource, given) = if open.sought == Var::Principal {
        (unknown(), known(&question.resource), &question.resource)
    } else {
        (known(&question.principal), unknown(), &question.principal)
    };
    let context = match &question.context {
        Context::Value(members) if open.context_is_known => Some(Arc::clone(members)),
        Context::Value(_) | Context::RestrictedResidual(_) => None,
    };
    let request = PartialRequest::new(
        principal,
        (*question.action).clone(),
        resource,
        context,
        schema,
    );
    let Ok(request) = request else {
        return by_position;
    };
    let entities = known_entities(given, schema, open);
    // A policy that does not typecheck fails the whole call, so each is asked alone: the others
    // keep their residuals.
    for position in candidates.iter().copied() {
        let Some(rule) = rules.get(position) else {
            continue;
        };
        if rule.is_too_deep() {
            continue;
        }
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

/// The given side of the question, and what providers were asked about, as far as they are known.
/// What is left out is unknown to partial evaluation, which then leaves it in the residual.
fn known_entities(given: &EntityUID, schema: &ValidatorSchema, open: &Open<'_>) -> PartialEntities {
    let mut known: HashMap<&EntityUID, PartialEntity> = HashMap::new();
    let groups = open.view.ancestors(given);
    for uid in groups.iter().filter(|uid| open.view.row(uid).is_some()) {
        let above = Some(above(uid, open.view));
        if let Ok(group) = PartialEntity::new((*uid).clone(), None, above, None, schema) {
            known.insert(uid, group);
        }
    }
    for uid in open.known.entities().chain([given]) {
        if let Some(entity) = known_entity(uid, schema, open) {
            known.insert(uid, entity);
        }
    }
    PartialEntities::from_entities(known.into_values(), schema)
        .ok()
        .or_else(|| PartialEntities::from_entities(std::iter::empty(), schema).ok())
        .unwrap_or_default()
}

fn known_entity(
    uid: &EntityUID,
    schema: &ValidatorSchema,
    open: &Open<'_>,
) -> Option<PartialEntity> {
    let row = open.view.row(uid)?;
    let ancestors = above(uid, open.view);
    let values = |members: &mut dyn Iterator<Item = (&SmolStr, &Kept)>| {
        members
            .map(|(name, value)| (name.clone(), value.value()))
            .collect::<BTreeMap<_, _>>()
    };
    // SECURITY: what the store says in a provider's place must not be believed.
    let attributes = open.known.is_whole(uid);
    let attributes = attributes.then(|| values(&mut row.attributes()));
    let whole = PartialEntity::new(
        uid.clone(),
        attributes,
        Some(ancestors.clone()),
        Some(values(&mut row.tags())),
        schema,
    );
    // The question may describe an entity that lacks what the schema requires of it.
    whole
        .ok()
        .or_else(|| PartialEntity::new(uid.clone(), None, Some(ancestors), None, schema).ok())
}

fn above(uid: &EntityUID, view: View<'_>) -> HashSet<EntityUID> {
    view.ancestors(uid).into_iter().cloned().collect()
}
