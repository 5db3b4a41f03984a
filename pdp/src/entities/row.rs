//! One entity as it is kept: compact, shared, never changed.
//!
//! What most attributes are (a truth, a number, a short text, an entity) is kept in 24 bytes; names
//! of attributes are shared by all entities that have the same ones.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, Literal, PartialValue, Set, Value, ValueKind};
use smol_str::SmolStr;

use super::ids::Ids;
use super::place::{Place, place_of};
use super::uid::Uid;

/// One entity. Its ancestors are not here: they are its parents', which may change.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    uid: Uid,
    origin: Origin,
    /// In order.
    names: Arc<[SmolStr]>,
    /// In the order of their names. None: it has no such attribute, or a question does not say it.
    values: Box<[Option<Kept>]>,
    /// In the order of their names.
    tags: Box<[(SmolStr, Kept)]>,
    parents: Box<[Uid]>,
}

/// Where an entity comes from, which is the only place that can change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The schema's actions, and the files of the policy folder.
    Folder,
    /// Written while the PDP runs.
    Written,
}

/// A value as it is kept.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    Bool(bool),
    Long(i64),
    Text(SmolStr),
    Entity(Uid),
    /// A small set as it was sent, of values that can be compared without looking inside. Never in
    /// a store: a question's set is asked about a few times at most, and then forgotten.
    Items(Box<[Kept]>),
    /// The same of entities of one type. In a box, so that values stay small.
    Ids(Box<Ids>),
    /// A set, a record or an extension's value.
    Other(Arc<Value>),
}

impl Row {
    /// Takes an entity; whatever is not known of it (a residual) counts as absent.
    pub(crate) fn new(entity: &Entity, origin: Origin) -> Self {
        // Attributes come in the order of their names.
        let attributes = kept(entity.attrs()).map(|(name, value)| (name, Some(value)));
        let (names, values): (Vec<_>, Vec<_>) = attributes.unzip();
        let mut parents: Vec<_> = entity.parents().cloned().map(Uid::from).collect();
        parents.sort_unstable();
        Self {
            uid: entity.uid().clone().into(),
            origin,
            names: names.into(),
            values: values.into(),
            tags: kept(entity.tags()).collect(),
            parents: parents.into(),
        }
    }

    /// The same entity, as this question alone sees its attributes.
    pub(crate) fn with_attributes(
        uid: EntityUID,
        stored: Option<&Self>,
        attributes: BTreeMap<SmolStr, Value>,
    ) -> Self {
        let (names, values): (Vec<_>, Vec<_>) = attributes
            .into_iter()
            .map(|(name, value)| (name, Some(Kept::from(value))))
            .unzip();
        Self::with_values(uid.into(), stored, names.into(), values.into())
    }

    /// The same; the names are in order, and the values in the order of their names.
    pub(crate) fn with_values(
        uid: Uid,
        stored: Option<&Self>,
        names: Arc<[SmolStr]>,
        values: Box<[Option<Kept>]>,
    ) -> Self {
        Self {
            uid: stored.map_or(uid, |row| row.uid.clone()),
            origin: Origin::Written,
            names,
            values,
            tags: stored.map(|row| row.tags.clone()).unwrap_or_default(),
            parents: stored.map(|row| row.parents.clone()).unwrap_or_default(),
        }
    }

    /// Shares what is equal with rows that are kept already.
    pub(super) fn share(
        &mut self,
        mut uid: impl FnMut(&mut Uid),
        names: impl FnOnce(&mut Arc<[SmolStr]>),
    ) {
        uid(&mut self.uid);
        names(&mut self.names);
        self.parents.iter_mut().for_each(&mut uid);
        for value in &mut self.values {
            if let Some(Kept::Entity(named)) = value {
                uid(named);
            }
        }
    }

    pub(crate) fn uid(&self) -> &Uid {
        &self.uid
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    pub(crate) fn parents(&self) -> &[Uid] {
        &self.parents
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Kept> {
        self.values
            .get(place_of(&self.names, name, SmolStr::as_str)?)?
            .as_ref()
    }

    /// The same, where it is most probably in this place.
    #[inline]
    pub(crate) fn get_from(&self, place: &Place, name: &SmolStr) -> Option<&Kept> {
        self.values.get(place.find(&self.names, name)?)?.as_ref()
    }

    pub(crate) fn tag(&self, name: &str) -> Option<&Kept> {
        let at = place_of(&self.tags, name, |(own, _)| own)?;
        self.tags.get(at).map(|(_, value)| value)
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&SmolStr, &Kept)> {
        let all = self.names.iter().zip(&self.values);
        all.filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }

    fn all_values(&self) -> impl Iterator<Item = &Kept> {
        let tags = self.tags.iter().map(|(_, value)| value);
        self.values.iter().flatten().chain(tags)
    }

    pub(crate) fn tags(&self) -> impl Iterator<Item = (&SmolStr, &Kept)> {
        self.tags.iter().map(|(name, value)| (name, value))
    }

    /// The entities that its attributes and tags name, at any depth of sets and records, each
    /// once and in order.
    pub(crate) fn references(&self) -> Vec<EntityUID> {
        let mut found = Vec::new();
        for value in self.all_values() {
            value.each_reference(&mut |uid| found.push(uid.clone()));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether its attributes or tags name one of these.
    pub(crate) fn names_any(&self, uids: &HashSet<EntityUID>) -> bool {
        self.all_values().any(|value| {
            let mut is_named = false;
            value.each_reference(&mut |uid| is_named = is_named || uids.contains(uid));
            is_named
        })
    }

    /// The entity in Cedar's own form, with the ancestors that it has been found to have.
    pub(crate) fn to_entity(&self, ancestors: impl IntoIterator<Item = EntityUID>) -> Entity {
        let parents: HashSet<EntityUID> = self.parents.iter().map(|up| (**up).clone()).collect();
        let above = ancestors
            .into_iter()
            .filter(|uid| !parents.contains(uid))
            .collect();
        let partial =
            |(name, value): (&SmolStr, &Kept)| (name.clone(), PartialValue::Value(value.value()));
        Entity::new_with_attr_partial_value(
            (*self.uid).clone(),
            self.attributes().map(partial),
            above,
            parents,
            self.tags().map(partial),
        )
    }
}

/// A set of no more than this is walked: that is less work than to make it ready to be asked.
pub(crate) const WALKED: usize = 16;

impl Kept {
    /// Whether it is compared without looking inside.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Self::Bool(_) | Self::Long(_) | Self::Text(_) | Self::Entity(_) => true,
            Self::Items(_) | Self::Ids(_) | Self::Other(_) => false,
        }
    }

    /// The value in Cedar's own form.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::from(*value),
            Self::Long(value) => Value::from(*value),
            Self::Text(text) => Value::from(text.clone()),
            Self::Entity(uid) => Value::new(Literal::EntityUID(uid.shared()), None),
            Self::Items(items) => Value::set(items.iter().map(Self::value), None),
            Self::Ids(ids) => ids.value(),
            Self::Other(value) => (**value).clone(),
        }
    }

    /// The entities in it.
    pub(super) fn each_reference(&self, take: &mut impl FnMut(&EntityUID)) {
        match self {
            Self::Entity(uid) => take(uid),
            Self::Items(items) => items.iter().for_each(|item| item.each_reference(take)),
            Self::Ids(ids) => ids.uids().iter().for_each(take),
            Self::Other(value) => value.all_literal_uids().iter().for_each(take),
            Self::Bool(_) | Self::Long(_) | Self::Text(_) => {}
        }
    }
}

impl From<Value> for Kept {
    fn from(value: Value) -> Self {
        match value.value {
            ValueKind::Lit(Literal::Bool(value)) => Self::Bool(value),
            ValueKind::Lit(Literal::Long(value)) => Self::Long(value),
            ValueKind::Lit(Literal::String(text)) => Self::Text(text),
            ValueKind::Lit(Literal::EntityUID(uid)) => Self::Entity(uid.into()),
            kind @ (ValueKind::Set(Set { .. })
            | ValueKind::Record(_)
            | ValueKind::ExtensionValue(_)) => Self::Other(Arc::new(Value::new(kind, None))),
        }
    }
}

fn kept<'a>(
    members: impl Iterator<Item = (&'a SmolStr, &'a PartialValue)>,
) -> impl Iterator<Item = (SmolStr, Kept)> {
    members.filter_map(|(name, value)| match value {
        PartialValue::Value(value) => Some((name.clone(), Kept::from(value.clone()))),
        PartialValue::Residual(_) => None,
    })
}
