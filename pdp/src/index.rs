//! The index: which policies can possibly apply to a principal, an action and a resource.
//!
//! Policies are bucketed by their scope. A bucket may hold too many policies (a candidate is
//! always evaluated whole, scope included), never too few: the keys that a question looks up are
//! everything that a matching scope could have named.

use std::collections::HashMap;

use cedar_policy_core::ast::{
    ActionConstraint, Entity, EntityReference, EntityType, EntityUID, Policy,
    PrincipalOrResourceConstraint,
};

/// Positions of policies by action, then principal, then resource.
#[derive(Debug, Default)]
pub(crate) struct Index(HashMap<Option<EntityUID>, ByScope<ByScope<Vec<usize>>>>);

/// What the scope says about the principal or the resource.
type ByScope<T> = HashMap<ScopeKey, T>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ScopeKey {
    Any,
    Type(EntityType),
    /// It, or something in it.
    Entity(EntityUID),
}

/// An entity as a scope sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) uid: &'a EntityUID,
    /// Its row; an entity without one is in nothing but itself.
    pub(crate) entity: Option<&'a Entity>,
}

/// One side of a question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sought<'a> {
    One(Seen<'a>),
    /// Not known yet; of this type.
    AnyOf(&'a EntityType),
}

impl Index {
    /// Files one policy.
    pub(crate) fn add(&mut self, position: usize, policy: &Policy) {
        let principal = key(policy.principal_constraint().as_inner());
        let resource = key(policy.resource_constraint().as_inner());
        let actions: Vec<Option<EntityUID>> = match policy.action_constraint() {
            ActionConstraint::Any => vec![None],
            ActionConstraint::Eq(action) => vec![Some((**action).clone())],
            ActionConstraint::In(actions) => actions
                .iter()
                .map(|action| Some((**action).clone()))
                .collect(),
        };
        for action in actions {
            self.0
                .entry(action)
                .or_default()
                .entry(principal.clone())
                .or_default()
                .entry(resource.clone())
                .or_default()
                .push(position);
        }
    }

    /// The policies that may apply, in the order in which they were filed.
    pub(crate) fn candidates(
        &self,
        principal: &Sought<'_>,
        action: Seen<'_>,
        resource: &Sought<'_>,
    ) -> Vec<usize> {
        let principal_keys = principal.keys();
        let resource_keys = resource.keys();
        let mut found = Vec::new();
        let actions = std::iter::once(None).chain(action.names().map(|name| Some(name.clone())));
        for by_principal in actions.filter_map(|action| self.0.get(&action)) {
            principal_keys.visit(by_principal, |by_resource| {
                resource_keys.visit(by_resource, |bucket| found.extend_from_slice(bucket));
            });
        }
        // A policy that names several actions may be found by more than one of them.
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The keys that a matching scope can have been filed under.
enum Keys<'a> {
    Listed(Vec<ScopeKey>),
    /// Every entity may be the one, or be above it.
    OfType(&'a EntityType),
}

impl Keys<'_> {
    fn visit<T>(&self, map: &ByScope<T>, mut visitor: impl FnMut(&T)) {
        match self {
            Self::Listed(keys) => keys.iter().filter_map(|key| map.get(key)).for_each(visitor),
            Self::OfType(kind) => {
                for (key, value) in map {
                    let may_match = match key {
                        ScopeKey::Any | ScopeKey::Entity(_) => true,
                        ScopeKey::Type(other) => other == *kind,
                    };
                    if may_match {
                        visitor(value);
                    }
                }
            }
        }
    }
}

impl<'a> Sought<'a> {
    fn keys(&self) -> Keys<'a> {
        match self {
            Self::One(seen) => Keys::Listed(seen.keys()),
            Self::AnyOf(kind) => Keys::OfType(kind),
        }
    }
}

impl<'a> Seen<'a> {
    /// Itself and everything that it is in.
    fn names(self) -> impl Iterator<Item = &'a EntityUID> {
        std::iter::once(self.uid).chain(self.entity.into_iter().flat_map(Entity::ancestors))
    }

    fn keys(self) -> Vec<ScopeKey> {
        [
            ScopeKey::Any,
            ScopeKey::Type(self.uid.entity_type().clone()),
        ]
        .into_iter()
        .chain(self.names().cloned().map(ScopeKey::Entity))
        .collect()
    }
}

fn key(constraint: &PrincipalOrResourceConstraint) -> ScopeKey {
    use PrincipalOrResourceConstraint as Constraint;
    match constraint {
        Constraint::In(EntityReference::EUID(uid))
        | Constraint::Eq(EntityReference::EUID(uid))
        | Constraint::IsIn(_, EntityReference::EUID(uid)) => ScopeKey::Entity((**uid).clone()),
        Constraint::Is(kind) | Constraint::IsIn(kind, EntityReference::Slot(_)) => {
            ScopeKey::Type((**kind).clone())
        }
        // An unfilled slot may stand for anything.
        Constraint::Any
        | Constraint::In(EntityReference::Slot(_))
        | Constraint::Eq(EntityReference::Slot(_)) => ScopeKey::Any,
    }
}
