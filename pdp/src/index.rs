//! The index: which policies' scopes match a principal, an action and a resource.
//!
//! Policies are filed by their whole scope, so that what is found matches exactly and only the
//! clauses are left to evaluate. What a scope names is a number here: of all the entities that a
//! principal or a resource is in, only those that some policy names are looked up.

use std::collections::HashMap;

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityType, EntityUID, Policy, PrincipalOrResourceConstraint,
};
use foldhash::fast::RandomState;

/// Positions of policies by action, then principal, then resource.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entities: Numbers<EntityUID>,
    types: Numbers<EntityType>,
    buckets: Map<ScopeKey, Map<ScopeKey, Map<ScopeKey, Vec<usize>>>>,
}

type Map<K, V> = HashMap<K, V, RandomState>;

/// Names that policies use, each with its number.
#[derive(Debug)]
struct Numbers<T>(Map<T, u32>);

/// What a scope says about the principal, the action or the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ScopeKey {
    Any,
    Is(u32),
    Eq(u32),
    In(u32),
    /// A type, and something above.
    IsIn(u32, u32),
}

/// An entity as a scope sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) uid: &'a EntityUID,
    /// Everything that it is in, itself left out.
    pub(crate) above: &'a [&'a EntityUID],
}

/// One side of a question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sought<'a> {
    One(Seen<'a>),
    /// Not known yet; of this type.
    AnyOf(&'a EntityType),
}

impl Index {
    /// Files one policy. Slots that a link has not filled may stand for anything: such a policy
    /// cannot be decided by its clauses alone and is not to be filed.
    pub(crate) fn add(&mut self, position: usize, policy: &Policy) {
        let principal = self.key(policy.principal_constraint().as_inner());
        let resource = self.key(policy.resource_constraint().as_inner());
        let mut actions: Vec<ScopeKey> = match policy.action_constraint() {
            ActionConstraint::Any => vec![ScopeKey::Any],
            ActionConstraint::Eq(action) => vec![ScopeKey::Eq(self.entities.number(action))],
            ActionConstraint::In(actions) => actions
                .iter()
                .map(|action| ScopeKey::In(self.entities.number(action)))
                .collect(),
        };
        actions.dedup();
        for action in actions {
            self.buckets
                .entry(action)
                .or_default()
                .entry(principal)
                .or_default()
                .entry(resource)
                .or_default()
                .push(position);
        }
    }

    /// The policies whose scope matches, in the order in which they were filed. Where a side is
    /// not known yet: the policies whose scope can match.
    pub(crate) fn candidates(
        &self,
        principal: &Sought<'_>,
        action: Seen<'_>,
        resource: &Sought<'_>,
    ) -> Vec<usize> {
        let actions = self.keys(&Sought::One(action));
        let principals = self.keys(principal);
        let resources = self.keys(resource);
        let mut found = Vec::new();
        actions.visit(&self.buckets, |by_principal| {
            principals.visit(by_principal, |by_resource| {
                resources.visit(by_resource, |bucket| found.extend_from_slice(bucket));
            });
        });
        // A policy that names several actions may be found by more than one of them.
        found.sort_unstable();
        found.dedup();
        found
    }

    fn key(&mut self, constraint: &PrincipalOrResourceConstraint) -> ScopeKey {
        use PrincipalOrResourceConstraint as Constraint;
        match constraint {
            Constraint::Eq(EntityReference::EUID(uid)) => ScopeKey::Eq(self.entities.number(uid)),
            Constraint::In(EntityReference::EUID(uid)) => ScopeKey::In(self.entities.number(uid)),
            Constraint::IsIn(kind, EntityReference::EUID(uid)) => {
                ScopeKey::IsIn(self.types.number(kind), self.entities.number(uid))
            }
            Constraint::Is(kind) | Constraint::IsIn(kind, EntityReference::Slot(_)) => {
                ScopeKey::Is(self.types.number(kind))
            }
            Constraint::Any
            | Constraint::In(EntityReference::Slot(_))
            | Constraint::Eq(EntityReference::Slot(_)) => ScopeKey::Any,
        }
    }

    fn keys(&self, sought: &Sought<'_>) -> Keys {
        match sought {
            Sought::AnyOf(kind) => Keys::OfType(self.types.get(kind)),
            Sought::One(seen) => {
                let mut keys = vec![ScopeKey::Any];
                let kind = self.types.get(seen.uid.entity_type());
                keys.extend(kind.map(ScopeKey::Is));
                let mut within = |number: u32| {
                    keys.push(ScopeKey::In(number));
                    keys.extend(kind.map(|kind| ScopeKey::IsIn(kind, number)));
                };
                let own = self.entities.get(seen.uid);
                own.map(&mut within);
                for above in seen.above {
                    self.entities.get(above).map(&mut within);
                }
                keys.extend(own.map(ScopeKey::Eq));
                Keys::Listed(keys)
            }
        }
    }
}

/// The keys that a matching scope can have been filed under.
enum Keys {
    Listed(Vec<ScopeKey>),
    /// Every entity may be the one, or be above it. The number is the type's, where any policy
    /// names it.
    OfType(Option<u32>),
}

impl Keys {
    fn visit<T>(&self, map: &Map<ScopeKey, T>, mut visitor: impl FnMut(&T)) {
        match self {
            Self::Listed(keys) => {
                for key in keys {
                    if let Some(found) = map.get(key) {
                        visitor(found);
                    }
                }
            }
            Self::OfType(kind) => {
                for (key, value) in map {
                    let may_match = match key {
                        ScopeKey::Any | ScopeKey::Eq(_) | ScopeKey::In(_) => true,
                        ScopeKey::Is(other) | ScopeKey::IsIn(other, _) => Some(*other) == *kind,
                    };
                    if may_match {
                        visitor(value);
                    }
                }
            }
        }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbers<T> {
    fn number(&mut self, name: &T) -> u32 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        // Two that shared a number would share policies: a set of four billion names is refused
        // long before by what it takes to hold it.
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(name.clone(), number);
        number
    }

    fn get(&self, name: &T) -> Option<u32> {
        self.0.get(name).copied()
    }
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(Map::default())
    }
}
