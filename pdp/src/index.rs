//! The index: which policies' scopes match a principal, an action and a resource.
//!
//! Policies are filed by their whole scope, so that what is found matches exactly and only the
//! clauses are left to evaluate; then by what those compare first (see `guards`). What a scope names
//! is a number here: of all the entities that a principal or a resource is in, only those that some
//! policy names are looked up.
//!
//! Clones share what they have in common: filing one more policy copies the levels that lead to it.

pub(crate) mod guards;
mod plan;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityType, EntityUID, Policy, PrincipalOrResourceConstraint,
};
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::entities::{Ancestry, Hashed, Named, Uid};
use crate::shards::Shards;
use guards::{Ask, Bucket, Guard};
pub(crate) use plan::Plan;

/// Positions of policies by action, then principal, then resource.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    entities: Numbers<Uid, Hashed>,
    types: Numbers<EntityType, RandomState>,
    buckets: Level<ByPrincipal>,
    principals: Uses,
    resources: Uses,
}

/// How many scopes say what about the principal, or about the resource.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Uses {
    is: usize,
    eq: usize,
    within: usize,
    is_within: usize,
}

impl Uses {
    fn of(&mut self, key: ScopeKey) -> Option<&mut usize> {
        match key.kind() {
            1 => Some(&mut self.is),
            2 => Some(&mut self.eq),
            3 => Some(&mut self.within),
            4 => Some(&mut self.is_within),
            _ => None,
        }
    }

    fn add(&mut self, key: ScopeKey) {
        self.of(key).into_iter().for_each(|count| *count += 1);
    }

    fn remove(&mut self, key: ScopeKey) {
        self.of(key).into_iter().for_each(|count| *count -= 1);
    }

    /// What it is in matters to some scope.
    pub(crate) fn look_above(self) -> bool {
        self.within + self.is_within > 0
    }
}

/// Positions of rules, ascending. Few, nearly always.
pub(crate) type Positions = SmallVec<[usize; 16]>;

/// One part of a scope.
type Level<V> = Arc<HashMap<ScopeKey, V, RandomState>>;

/// What is filed for an action.
type ByPrincipal = Level<Level<Arc<Bucket>>>;

/// Names that policies use, each with its number. One that no policy uses any more keeps it.
#[derive(Debug, Clone)]
struct Numbers<T, S> {
    numbers: Shards<T, u32, S>,
    next: u32,
}

/// What a scope says about the principal, the action or the resource, in one word: that is hashed
/// and compared at once. Its kind, then a type's number, then an entity's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ScopeKey(u64);

impl ScopeKey {
    const ANY: Self = Self(0);

    fn is(kind: u32) -> Self {
        Self(1 << 61 | u64::from(kind) << 32)
    }

    fn eq(entity: u32) -> Self {
        Self(2 << 61 | u64::from(entity))
    }

    fn within(entity: u32) -> Self {
        Self(3 << 61 | u64::from(entity))
    }

    /// A type, and something above.
    fn is_within(kind: u32, entity: u32) -> Self {
        Self(4 << 61 | u64::from(kind) << 32 | u64::from(entity))
    }

    fn kind(self) -> u64 {
        self.0 >> 61
    }

    /// Whether it says more than a type.
    fn names_entity(self) -> bool {
        self.kind() > 1
    }

    /// Whether some entity can match it whose type has this number, where any policy names it.
    fn may_be_of(self, kind: Option<u32>) -> bool {
        match self.kind() {
            1 | 4 => kind.is_some_and(|kind| self.0 >> 32 & TYPES == u64::from(kind)),
            _ => true,
        }
    }
}

/// Scopes say what actions are in, but of no type of them.
const OF_ACTIONS: Uses = Uses {
    is: 0,
    eq: 1,
    within: 1,
    is_within: 0,
};

/// A type's number has so many bits.
const TYPES: u64 = (1 << 29) - 1;

/// An entity as a scope sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a, 's> {
    pub(crate) uid: Named<'a>,
    /// Everything that it is in, itself left out. None where no scope asks.
    pub(crate) above: Option<&'a Ancestry<'s>>,
}

/// One side of a question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sought<'a, 's> {
    One(Seen<'a, 's>),
    /// Not known yet; of this type.
    AnyOf(&'a EntityType),
}

impl Index {
    /// Files one policy. Slots that a link has not filled may stand for anything: such a policy
    /// cannot be decided by its clauses alone and is not to be filed.
    pub(crate) fn add(&mut self, position: usize, policy: &Policy, guards: &[Guard]) {
        let (actions, principal, resource) = self.filed_under(policy);
        self.principals.add(principal);
        self.resources.add(resource);
        for action in actions {
            let by_principal = Arc::make_mut(&mut self.buckets).entry(action).or_default();
            let by_resource = Arc::make_mut(by_principal).entry(principal).or_default();
            let bucket = Arc::make_mut(by_resource).entry(resource).or_default();
            Arc::make_mut(bucket).add(position, guards);
        }
    }

    /// Takes a policy out that was filed at this position.
    pub(crate) fn remove(&mut self, position: usize, policy: &Policy, guards: &[Guard]) {
        let (actions, principal, resource) = self.filed_under(policy);
        self.principals.remove(principal);
        self.resources.remove(resource);
        for action in actions {
            within(&mut self.buckets, action, |by_principal| {
                within(by_principal, principal, |by_resource| {
                    within(by_resource, resource, |bucket| {
                        Arc::make_mut(bucket).remove(position, guards)
                    })
                })
            });
        }
    }

    /// The keys of a policy's scope, actions first.
    fn filed_under(&mut self, policy: &Policy) -> (Vec<ScopeKey>, ScopeKey, ScopeKey) {
        let principal = self.key(policy.principal_constraint().as_inner());
        let resource = self.key(policy.resource_constraint().as_inner());
        let mut actions: Vec<ScopeKey> = match policy.action_constraint() {
            ActionConstraint::Any => vec![ScopeKey::ANY],
            ActionConstraint::Eq(action) => vec![ScopeKey::eq(self.number(action))],
            ActionConstraint::In(actions) => actions
                .iter()
                .map(|action| ScopeKey::within(self.number(action)))
                .collect(),
        };
        actions.sort_unstable();
        actions.dedup();
        (actions, principal, resource)
    }

    /// What scopes say of principals, and of resources.
    pub(crate) fn uses(&self) -> (Uses, Uses) {
        (self.principals, self.resources)
    }

    /// The policies whose scope matches, in the order in which they were filed. Where a side is
    /// not known yet: the policies whose scope can match. Left out is what is certainly false by
    /// what `ask` answers.
    pub(crate) fn candidates(
        &self,
        principal: &Sought<'_, '_>,
        action: Seen<'_, '_>,
        resource: &Sought<'_, '_>,
        ask: &mut Ask<'_, '_>,
    ) -> Positions {
        let mut found = Positions::new();
        self.search(principal, action, resource, |_, _| true, ask, &mut found);
        // A policy that names several actions may be found by more than one of them.
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The same, in any order, and some more than once. `is_wanted` is asked by what is said of the
    /// principal and of the resource.
    fn search(
        &self,
        principal: &Sought<'_, '_>,
        action: Seen<'_, '_>,
        resource: &Sought<'_, '_>,
        is_wanted: impl Fn(ScopeKey, ScopeKey) -> bool,
        ask: &mut Ask<'_, '_>,
        found: &mut Positions,
    ) {
        let mut listed = [Listed::new(), Listed::new(), Listed::new()];
        let [for_action, for_principal, for_resource] = &mut listed;
        let actions = self.keys(&Sought::One(action), OF_ACTIONS, for_action);
        let principals = self.keys(principal, self.principals, for_principal);
        let resources = self.keys(resource, self.resources, for_resource);
        actions.visit(&self.buckets, |_, by_principal| {
            let sides = (&principals, &resources);
            visit(by_principal, sides, &is_wanted, ask, found);
        });
    }

    fn number(&mut self, uid: &EntityUID) -> u32 {
        self.entities.number(&uid.clone().into())
    }

    fn key(&mut self, constraint: &PrincipalOrResourceConstraint) -> ScopeKey {
        use PrincipalOrResourceConstraint as Constraint;
        match constraint {
            Constraint::Eq(EntityReference::EUID(uid)) => ScopeKey::eq(self.number(uid)),
            Constraint::In(EntityReference::EUID(uid)) => ScopeKey::within(self.number(uid)),
            Constraint::IsIn(kind, EntityReference::EUID(uid)) => {
                ScopeKey::is_within(self.types.number(kind), self.number(uid))
            }
            Constraint::Is(kind) | Constraint::IsIn(kind, EntityReference::Slot(_)) => {
                ScopeKey::is(self.types.number(kind))
            }
            Constraint::Any
            | Constraint::In(EntityReference::Slot(_))
            | Constraint::Eq(EntityReference::Slot(_)) => ScopeKey::ANY,
        }
    }

    /// Puts those that are listed down in `keys`.
    fn keys<'k>(&self, sought: &Sought<'_, '_>, uses: Uses, keys: &'k mut Listed) -> Keys<'k> {
        let seen = match sought {
            Sought::AnyOf(kind) => return Keys::OfType(self.types.get(kind)),
            Sought::One(seen) => *seen,
        };
        let kind = if uses.is + uses.is_within > 0 {
            self.types.get(seen.uid.uid.entity_type())
        } else {
            None
        };
        self.listed(seen, kind, uses, keys)
    }

    /// The same of an entity whose type has this number, where any policy names it.
    fn listed<'k>(
        &self,
        seen: Seen<'_, '_>,
        kind: Option<u32>,
        uses: Uses,
        keys: &'k mut Listed,
    ) -> Keys<'k> {
        keys.push(ScopeKey::ANY);
        if let Some(kind) = kind {
            keys.push(ScopeKey::is(kind));
        }
        let own = if uses.eq > 0 || uses.look_above() {
            self.numbered(seen.uid)
        } else {
            None
        };
        let mut within = |number: u32| {
            keys.push(ScopeKey::within(number));
            if let Some(kind) = kind
                && uses.is_within > 0
            {
                keys.push(ScopeKey::is_within(kind, number));
            }
        };
        if uses.look_above() {
            own.into_iter().for_each(&mut within);
            if let Some(above) = seen.above {
                above.each(|uid| {
                    if let Some(number) = self.numbered(uid.named()) {
                        within(number);
                    }
                });
            }
        }
        if let Some(own) = own {
            keys.push(ScopeKey::eq(own));
        }
        // What several groups are in is met once for each; what is filed under it is wanted once.
        if seen.above.is_some_and(Ancestry::may_repeat) {
            keys.sort_unstable();
            keys.dedup();
        }
        Keys::Listed(keys)
    }

    fn numbered(&self, uid: Named<'_>) -> Option<u32> {
        let is = |known: &Uid| known.named() == uid;
        self.entities.numbers.find(uid.hash, is).copied()
    }
}

/// A level of no more keys is walked.
const FEW: usize = 4;

/// Each once.
type Listed = SmallVec<[ScopeKey; 16]>;

/// The keys that a matching scope can have been filed under.
enum Keys<'k> {
    Listed(&'k [ScopeKey]),
    /// Every entity may be the one, or be above it. The number is the type's, where any policy
    /// names it.
    OfType(Option<u32>),
}

impl Keys<'_> {
    fn visit<T>(&self, map: &Level<T>, mut visitor: impl FnMut(ScopeKey, &T)) {
        match self {
            // A look at each that is there, where they are few, is less than a search for each key.
            Self::Listed(keys) if map.len() <= FEW => {
                for (key, value) in &**map {
                    if keys.contains(key) {
                        visitor(*key, value);
                    }
                }
            }
            Self::Listed(keys) => {
                for key in *keys {
                    if let Some(found) = map.get(key) {
                        visitor(*key, found);
                    }
                }
            }
            Self::OfType(kind) => {
                for (key, value) in &**map {
                    if key.may_be_of(*kind) {
                        visitor(*key, value);
                    }
                }
            }
        }
    }
}

/// Adds what is filed for an action and matches both sides, some more than once.
fn visit(
    by_principal: &ByPrincipal,
    (principals, resources): (&Keys<'_>, &Keys<'_>),
    is_wanted: impl Fn(ScopeKey, ScopeKey) -> bool,
    ask: &mut Ask<'_, '_>,
    found: &mut Positions,
) {
    principals.visit(by_principal, |principal, by_resource| {
        resources.visit(by_resource, |resource, bucket| {
            if is_wanted(principal, resource) {
                bucket.visit(ask, &mut |positions| {
                    found.extend(positions.iter().copied());
                });
            }
        });
    });
}

/// Changes what is filed under a key, and takes it out where nothing is left of it.
fn within<V: Clone>(
    level: &mut Level<V>,
    key: ScopeKey,
    change: impl FnOnce(&mut V) -> bool,
) -> bool {
    let level = Arc::make_mut(level);
    if level.get_mut(&key).is_some_and(change) {
        level.remove(&key);
    }
    level.is_empty()
}

impl<T: Clone + Eq + Hash, S: BuildHasher> Numbers<T, S> {
    fn number(&mut self, name: &T) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // Two that shared a number would share policies: so many names (half a billion) are refused
        // long before by what it takes to hold them.
        let number = self.next;
        self.next = (number + 1).min(u32::try_from(TYPES).unwrap_or(u32::MAX));
        self.numbers.insert(name.clone(), number);
        number
    }

    fn get(&self, name: &T) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}

impl<T, S: Default> Default for Numbers<T, S> {
    fn default() -> Self {
        Self {
            numbers: Shards::default(),
            next: 0,
        }
    }
}
