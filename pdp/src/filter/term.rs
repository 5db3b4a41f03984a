//! Truths and values of a row, as conditions and scalars, and what translating them rests on.

use std::collections::HashSet;

use cedar_policy_core::ast::{EntityType, Literal, Value, ValueKind, Var};
use cedar_policy_core::validator::ValidatorSchema;

use super::limits::MOST_PARTS;
use super::sql::{Bind, Cond, Scalar};
use super::tables::Tables;
use crate::entities::{View, id};
use crate::mapping::Vocabulary;

/// Why an expression has no exact counterpart.
pub(super) type Refusal = String;

/// A truth: when it is true, and when it cannot be evaluated.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    pub(super) holds: Cond,
    pub(super) fails: Cond,
}

/// A value, and when it can be evaluated. Only then is the scalar not NULL.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) scalar: Scalar,
    pub(super) works: Cond,
    pub(super) kind: Kind,
}

/// What a scalar is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Long,
    Text,
    /// The id of an entity of this type.
    Entity(EntityType),
}

/// What translation rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Translator<'a> {
    pub(super) tables: &'a Tables,
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) schema: &'a ValidatorSchema,
    /// What the PDP itself knows.
    pub(super) view: View<'a>,
    pub(super) sought: Var,
    pub(super) kind: &'a EntityType,
}

impl Truth {
    pub(super) fn of(holds: Cond) -> Self {
        Self {
            holds,
            fails: Cond::False,
        }
    }

    pub(super) fn failing() -> Self {
        Self {
            holds: Cond::False,
            fails: Cond::True,
        }
    }

    /// True where it works and the condition holds.
    pub(super) fn when(works: Cond, holds: Cond) -> Self {
        Self {
            holds: Cond::all([works.clone(), holds]),
            fails: works.not(),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.holds.size() + self.fails.size()
    }

    /// When it is false.
    fn misses(&self) -> Cond {
        Cond::all([self.holds.clone().not(), self.fails.clone().not()])
    }

    pub(super) fn not(self) -> Self {
        Self {
            holds: self.misses(),
            fails: self.fails,
        }
    }

    /// True where all are, which are evaluated until one is not. None: there is too much of it.
    pub(super) fn all(truths: Vec<Self>) -> Option<Self> {
        let mut held = Vec::new();
        let mut failing = Failing::default();
        for truth in truths {
            failing.add(&truth.fails, &held, |held| Cond::all(held.to_vec()))?;
            held.push(truth.holds);
        }
        Some(Self {
            holds: Cond::all(held),
            fails: Cond::any(failing.parts),
        })
    }

    /// True where one is, which are evaluated until one is.
    pub(super) fn any(truths: Vec<Self>) -> Option<Self> {
        let mut held = Vec::new();
        let mut failing = Failing::default();
        for truth in truths {
            failing.add(&truth.fails, &held, |held| Cond::any(held.to_vec()).not())?;
            // Where one before has held, it is true anyhow; the others have not failed.
            let works = failing.parts.iter().map(|fails| fails.clone().not());
            held.push(Cond::all(works.chain([truth.holds])));
            failing.make(held.last().map_or(0, Cond::size))?;
        }
        Some(Self {
            holds: Cond::any(held),
            fails: Cond::any(failing.parts),
        })
    }

    pub(super) fn choose(self, then: Self, other: Self) -> Self {
        let misses = self.misses();
        let choice = |one: Cond, two: Cond| {
            Cond::any([
                Cond::all([self.holds.clone(), one]),
                Cond::all([misses.clone(), two]),
            ])
        };
        Self {
            holds: choice(then.holds, other.holds),
            fails: Cond::any([self.fails.clone(), choice(then.fails, other.fails)]),
        }
    }
}

/// When one of several truths fails that are evaluated one after the other.
#[derive(Default)]
struct Failing {
    parts: Vec<Cond>,
    /// Why some have failed: what fails for the same reason is not reached.
    reasons: HashSet<Cond>,
    size: usize,
}

impl Failing {
    /// Another one, which is reached where `reached` says so of those before it.
    fn add(
        &mut self,
        fails: &Cond,
        before: &[Cond],
        reached: impl FnOnce(&[Cond]) -> Cond,
    ) -> Option<()> {
        let is_new = |reason: &Cond| !self.reasons.contains(reason);
        if !fails.ways().iter().any(is_new) {
            return Some(());
        }
        self.make(fails.size() + before.iter().map(Cond::size).sum::<usize>())?;
        self.reasons.extend(fails.ways().iter().cloned());
        self.parts.push(Cond::all([reached(before), fails.clone()]));
        Some(())
    }

    /// So much more is made of it, where that is not too much.
    fn make(&mut self, size: usize) -> Option<()> {
        self.size += size;
        (self.size <= MOST_PARTS).then_some(())
    }
}

impl Term {
    pub(super) fn bound(value: &Value) -> Option<Self> {
        let (bind, kind) = match value.value_kind() {
            ValueKind::Lit(Literal::Long(value)) => (Bind::Long(*value), Kind::Long),
            ValueKind::Lit(Literal::String(text)) => (Bind::Text(text.to_string()), Kind::Text),
            ValueKind::Lit(Literal::EntityUID(uid)) => (
                Bind::Text(id(uid).to_owned()),
                Kind::Entity(uid.entity_type().clone()),
            ),
            _ => return None,
        };
        Some(Self {
            scalar: Scalar::Bound(bind),
            works: Cond::True,
            kind,
        })
    }

    pub(super) fn equals(&self, other: &Self) -> Cond {
        match (&self.scalar, &other.scalar) {
            _ if self.kind != other.kind => Cond::False,
            (Scalar::Bound(one), Scalar::Bound(other)) if one == other => Cond::True,
            (Scalar::Bound(_), Scalar::Bound(_)) => Cond::False,
            (one, other) => Cond::Equal(one.clone(), other.clone()),
        }
    }
}
