//! Values that are compared without looking inside: borrowed while a question is decided, and owned
//! where a policy is filed by one.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use cedar_policy_core::ast::{EntityUID, Literal, Value, ValueKind};
use hashbrown::Equivalent;
use smol_str::SmolStr;

/// A value that is compared without looking inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Plain<'v> {
    Bool(bool),
    Long(i64),
    Text(&'v str),
    Entity(&'v EntityUID),
}

/// The same, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word(Literal);

pub(crate) fn plain(value: &Value) -> Option<Plain<'_>> {
    match value.value_kind() {
        ValueKind::Lit(literal) => Some(Plain::from(literal)),
        ValueKind::Set(_) | ValueKind::Record(_) | ValueKind::ExtensionValue(_) => None,
    }
}

impl<'v> From<&'v Literal> for Plain<'v> {
    fn from(literal: &'v Literal) -> Self {
        match literal {
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Long(value) => Self::Long(*value),
            Literal::String(text) => Self::Text(text),
            Literal::EntityUID(uid) => Self::Entity(uid),
        }
    }
}

impl Word {
    /// Of a value that is compared without looking inside.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value.value_kind() {
            ValueKind::Lit(literal) => Some(Self(literal.clone())),
            ValueKind::Set(_) | ValueKind::Record(_) | ValueKind::ExtensionValue(_) => None,
        }
    }
}

impl From<bool> for Word {
    fn from(value: bool) -> Self {
        Self(Literal::Bool(value))
    }
}

impl From<i64> for Word {
    fn from(value: i64) -> Self {
        Self(Literal::Long(value))
    }
}

impl From<SmolStr> for Word {
    fn from(text: SmolStr) -> Self {
        Self(Literal::String(text))
    }
}

impl From<Arc<EntityUID>> for Word {
    fn from(uid: Arc<EntityUID>) -> Self {
        Self(Literal::EntityUID(uid))
    }
}

impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Plain::from(&self.0).hash(state);
    }
}

impl Equivalent<Word> for Plain<'_> {
    fn equivalent(&self, word: &Word) -> bool {
        *self == Plain::from(&word.0)
    }
}
