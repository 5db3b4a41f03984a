//! A value on its way through an evaluation: borrowed for as long as nothing new is computed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cedar_policy_core::ast::{Set, Value, ValueKind};
use smol_str::SmolStr;

use crate::entities::{Ids, Kept, Named};
use crate::plain::{Plain, plain};

/// The clauses cannot be evaluated here. Not yet an error of the policy: Cedar decides that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

/// A value on its way through an evaluation.
#[derive(Debug, Clone)]
pub(super) enum Val<'a> {
    Bool(bool),
    Long(i64),
    Text(&'a str),
    Entity(Named<'a>),
    Members(&'a BTreeMap<SmolStr, Value>),
    Items(&'a [Kept]),
    Ids(&'a Ids),
    Ref(&'a Value),
    Owned(Box<Value>),
}

impl<'a> From<&'a Kept> for Val<'a> {
    fn from(kept: &'a Kept) -> Self {
        match kept {
            Kept::Bool(value) => Self::Bool(*value),
            Kept::Long(value) => Self::Long(*value),
            Kept::Text(text) => Self::Text(text),
            Kept::Entity(uid) => Self::Entity(uid.named()),
            Kept::Items(items) => Self::Items(items),
            Kept::Ids(ids) => Self::Ids(ids),
            Kept::Other(value) => Self::Ref(value),
        }
    }
}

impl<'a> Val<'a> {
    /// What is borrowed and compared without looking inside.
    pub(super) fn borrowed(&self) -> Option<Plain<'a>> {
        match self {
            Self::Bool(value) => Some(Plain::Bool(*value)),
            Self::Long(value) => Some(Plain::Long(*value)),
            Self::Text(text) => Some(Plain::Text(text)),
            Self::Entity(name) => Some(Plain::Entity(name.uid)),
            Self::Ref(value) => plain(value),
            Self::Members(_) | Self::Items(_) | Self::Ids(_) | Self::Owned(_) => None,
        }
    }

    pub(super) fn bool(&self) -> Result<bool, Failed> {
        match self.plain() {
            Some(Plain::Bool(value)) => Ok(value),
            _ => Err(Failed),
        }
    }

    pub(super) fn long(&self) -> Result<i64, Failed> {
        match self.plain() {
            Some(Plain::Long(value)) => Ok(value),
            _ => Err(Failed),
        }
    }

    pub(super) fn text(&self) -> Result<&str, Failed> {
        match self.plain() {
            Some(Plain::Text(text)) => Ok(text),
            _ => Err(Failed),
        }
    }

    pub(super) fn entity(&self) -> Result<Named<'_>, Failed> {
        match self {
            Self::Entity(name) => Ok(*name),
            other => match other.plain() {
                Some(Plain::Entity(uid)) => Ok(Named::of(uid)),
                _ => Err(Failed),
            },
        }
    }

    pub(super) fn set(&self) -> Result<Cow<'_, Set>, Failed> {
        if let Some(ValueKind::Set(set)) = self.kind() {
            return Ok(Cow::Borrowed(set));
        }
        match self {
            Self::Items(_) | Self::Ids(_) => match self.value().into_owned().value {
                ValueKind::Set(set) => Ok(Cow::Owned(set)),
                _ => Err(Failed),
            },
            _ => Err(Failed),
        }
    }

    /// Its members, where it is a set: until one of them will do.
    pub(super) fn any(
        &self,
        mut is_it: impl FnMut(Option<Plain<'_>>) -> bool,
    ) -> Result<bool, Failed> {
        match self {
            Self::Items(items) => Ok(items.iter().any(|item| is_it(Val::from(item).plain()))),
            Self::Ids(ids) => Ok(ids.uids().iter().any(|uid| is_it(Some(Plain::Entity(uid))))),
            _ => Ok(self.set()?.iter().any(|item| is_it(plain(item)))),
        }
    }

    /// Whether a set has this.
    pub(super) fn has(&self, sought: Plain<'_>) -> Result<bool, Failed> {
        match (self, sought) {
            (Self::Ids(ids), Plain::Entity(sought)) => Ok(ids.has(sought)),
            (Self::Ids(_), _) => Ok(false),
            _ => self.any(|item| item == Some(sought)),
        }
    }

    /// A set that has come with the question, and has nothing that is looked into.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self, Self::Items(_) | Self::Ids(_))
    }

    pub(super) fn len(&self) -> Result<usize, Failed> {
        match self {
            Self::Items(items) => Ok(items.len()),
            Self::Ids(ids) => Ok(ids.len()),
            _ => Ok(self.set()?.len()),
        }
    }

    pub(super) fn kind(&self) -> Option<&ValueKind> {
        match self {
            Self::Ref(value) => Some(value.value_kind()),
            Self::Owned(value) => Some(value.value_kind()),
            Self::Bool(_)
            | Self::Long(_)
            | Self::Text(_)
            | Self::Entity(_)
            | Self::Members(_)
            | Self::Items(_)
            | Self::Ids(_) => None,
        }
    }

    pub(super) fn plain(&self) -> Option<Plain<'_>> {
        match self {
            Self::Owned(value) => plain(value),
            other => other.borrowed(),
        }
    }

    pub(super) fn value(&self) -> Cow<'_, Value> {
        match self {
            Self::Ref(value) => Cow::Borrowed(value),
            Self::Owned(value) => Cow::Borrowed(value),
            Self::Bool(value) => Cow::Owned(Value::from(*value)),
            Self::Long(value) => Cow::Owned(Value::from(*value)),
            Self::Text(text) => Cow::Owned(Value::from(*text)),
            Self::Entity(name) => Cow::Owned(Value::from(name.uid.clone())),
            Self::Members(members) => Cow::Owned(record(members)),
            Self::Items(items) => Cow::Owned(Value::set(items.iter().map(Kept::value), None)),
            Self::Ids(ids) => Cow::Owned(ids.value()),
        }
    }

    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Owned(value) => *value,
            other => other.value().into_owned(),
        }
    }

    pub(super) fn equals(&self, other: &Self) -> bool {
        if let (Self::Entity(one), Self::Entity(other)) = (self, other) {
            return one == other;
        }
        match (self.plain(), other.plain()) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.value() == other.value(),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

fn record(members: &BTreeMap<SmolStr, Value>) -> Value {
    Value::record(
        members
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
        None,
    )
}
