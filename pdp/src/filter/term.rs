//! Truths and values of a row, as conditions and scalars, and what translating them rests on.

use cedar_policy_core::ast::{EntityType, Literal, Value, ValueKind, Var};
use cedar_policy_core::validator::ValidatorSchema;

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

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            fails: Cond::any([self.fails, Cond::all([self.holds.clone(), other.fails])]),
            holds: Cond::all([self.holds, other.holds]),
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        let misses = self.misses();
        Self {
            holds: Cond::any([self.holds, Cond::all([misses.clone(), other.holds])]),
            fails: Cond::any([self.fails, Cond::all([misses, other.fails])]),
        }
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
        if self.kind == other.kind {
            Cond::Equal(self.scalar.clone(), other.scalar.clone())
        } else {
            Cond::False
        }
    }
}
