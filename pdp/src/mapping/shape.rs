//! What a schema declares that values are: the shapes that what is sent must have.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::EntityType;
use cedar_policy_core::validator::types::{Attributes, EntityKind, Type};
use smol_str::SmolStr;
use strict_json::Json;

use crate::entities::{HashedType, Place, place_of};

/// What the schema expects somewhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Bool,
    Long,
    String,
    Set(Box<Shape>),
    Record(Box<Members>),
    /// A reference, to a given type where the schema says so.
    Entity(Option<Arc<HashedType>>),
    /// `ipaddr`, `decimal`, `datetime` or `duration`.
    Extension(String),
    /// Nothing that JSON can say.
    Impossible,
}

/// Declared attributes, in the order of their names. The names stand by themselves: what is sent is
/// looked for among them, and with a hundred types they are not in a cache unless they are together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    names: Arc<[SmolStr]>,
    members: Arc<[Member]>,
    /// Which has been sent first, and which after each of them.
    sent_after: Arc<[Place]>,
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names && self.members == other.members
    }
}

/// What many types declare alike, each once: what a question about one type has brought into the cache,
/// one about another finds there.
#[derive(Debug, Default)]
pub(crate) struct Alike {
    types: HashMap<EntityType, Arc<HashedType>>,
    /// By their names.
    members: HashMap<Arc<[SmolStr]>, Vec<Members>>,
}

/// One declared attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

impl Alike {
    fn kind(&mut self, kind: &EntityType) -> Arc<HashedType> {
        let known = self.types.entry(kind.clone());
        Arc::clone(known.or_insert_with(|| Arc::new(kind.clone().into())))
    }

    fn members(&mut self, members: Members) -> Members {
        let known = self.members.entry(Arc::clone(&members.names));
        let names = Arc::clone(known.key());
        let known = known.or_default();
        if let Some(same) = known.iter().find(|known| **known == members) {
            return same.clone();
        }
        let members = Members { names, ..members };
        known.push(members.clone());
        members
    }
}

impl Shape {
    pub(crate) fn of(kind: &Type, alike: &mut Alike) -> Self {
        match kind {
            Type::Bool(_) => Self::Bool,
            Type::Long => Self::Long,
            Type::String => Self::String,
            Type::Set { element_type } => Self::Set(Box::new(
                element_type
                    .as_deref()
                    .map_or(Self::Impossible, |kind| Self::of(kind, alike)),
            )),
            Type::Record { attrs, .. } => Self::Record(Box::new(Members::of(attrs, alike))),
            Type::Entity(EntityKind::Entity(kinds)) => {
                Self::Entity(kinds.get_single_entity().map(|kind| alike.kind(kind)))
            }
            Type::Entity(EntityKind::AnyEntity) => Self::Entity(None),
            Type::ExtensionType { name } => Self::Extension(name.to_string()),
            Type::Never => Self::Impossible,
        }
    }
}

impl Members {
    /// The declared attributes of an entity type or a record.
    pub(crate) fn of(attributes: &Attributes, alike: &mut Alike) -> Self {
        let members = attributes.iter().map(|(name, attribute)| {
            let member = Member {
                shape: Shape::of(&attribute.attr_type, alike),
                required: attribute.is_required,
            };
            (name.clone(), member)
        });
        let members = members.collect();
        alike.members(members)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Member> {
        self.members
            .get(place_of(&self.names, name, SmolStr::as_str)?)
    }

    /// Also its place among the others. `before` is the place of what was sent before it: clients send
    /// members in one order, nearly always.
    #[inline]
    pub(super) fn find_after(&self, before: Option<usize>, name: &str) -> Option<(usize, &Member)> {
        let after = self.sent_after.get(before.map_or(0, |before| before + 1))?;
        let at = after.find(&self.names, name)?;
        self.members.get(at).map(|member| (at, member))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SmolStr, &Member)> {
        self.names.iter().zip(&*self.members)
    }

    pub(crate) fn names(&self) -> &Arc<[SmolStr]> {
        &self.names
    }

    /// Without those of other names.
    pub(super) fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = self.iter().filter(|(name, _)| keep(name));
        kept.map(|(name, member)| (name.clone(), member.clone()))
            .collect()
    }
}

impl FromIterator<(SmolStr, Member)> for Members {
    fn from_iter<T: IntoIterator<Item = (SmolStr, Member)>>(members: T) -> Self {
        let (names, members): (Vec<_>, Vec<_>) = BTreeMap::from_iter(members).into_iter().unzip();
        Self {
            sent_after: vec![Place::default(); names.len() + 1].into(),
            names: names.into(),
            members: members.into(),
        }
    }
}

impl Shape {
    /// Whether a value fits, where a glance tells.
    pub(super) fn is_certainly_met_by(&self, json: &Json<'_>) -> bool {
        match (self, json) {
            (Self::Bool, Json::Bool(_)) | (Self::String | Self::Entity(Some(_)), Json::Text(_)) => {
                true
            }
            (Self::Long, Json::Number(number)) => number.as_i64().is_some(),
            (Self::Set(element), Json::Array(items)) => {
                items.iter().all(|item| element.is_certainly_met_by(item))
            }
            _ => false,
        }
    }

    pub(crate) fn in_words(&self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Long => "a whole number",
            Self::String | Self::Extension(_) => "a string",
            Self::Set(_) => "an array",
            Self::Record(_) => "an object",
            Self::Entity(_) => "an id or `{type, id}`",
            Self::Impossible => "absent",
        }
    }
}
