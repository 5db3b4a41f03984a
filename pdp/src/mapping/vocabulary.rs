//! The table between AuthZEN names and Cedar names, one per snapshot and reversible: a type or
//! an action goes by its `@authzen("…")` annotation, or else by its own name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{Context, EntityType, EntityUID};
use smol_str::SmolStr;

use super::shape::Members;
use crate::RequestProperties;
use crate::entities::{HashedType, Uid};
use crate::reads::Names;

/// What the schema knows. Whoever asks cannot add to it, so that no hash needs to be a slow one.
pub(super) type Known<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What can be asked about.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    /// By AuthZEN's names.
    pub(super) types: Known<String, Arc<Kind>>,
    pub(super) kinds: Known<EntityType, Arc<Kind>>,
    pub(super) actions: Known<String, ActionTerm>,
    /// What of all that policies can read.
    pub(crate) names: Names,
    /// The member of the context that says when a question is asked, and the actions whose context
    /// has it.
    pub(super) clock: Option<(SmolStr, HashSet<EntityUID>)>,
}

/// An entity type.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) entity_type: HashedType,
    pub(super) number: Number,
    pub(super) members: Members,
    /// Theirs, in order.
    pub(super) names: Arc<[SmolStr]>,
    /// The only ids that there are, for an enumerated type.
    pub(super) ids: Option<HashSet<String>>,
    pub(super) request_properties: RequestProperties,
}

/// An action.
#[derive(Debug)]
pub(super) struct ActionTerm {
    pub(super) uid: Uid,
    pub(super) number: Number,
    pub(super) subjects: Kinds,
    pub(super) resources: Kinds,
    /// What the context may hold, without the reserved `action`.
    pub(super) context: Members,
    /// The reserved `action` record, where declared: it takes the action's properties.
    pub(super) parameters: Option<Parameters>,
    /// What the context is where nothing is sent of it, if that is enough.
    pub(super) empty: Option<Context>,
}

/// Tells types apart, or actions.
pub(super) type Number = u32;

/// A set of types by their numbers.
#[derive(Debug, Default)]
pub(super) struct Kinds(Box<[bool]>);

/// The reserved `action` member of a context.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) members: Members,
    pub(super) required: bool,
}

impl Kinds {
    pub(super) fn of<'t>(
        types: impl Iterator<Item = &'t EntityType>,
        known: &Known<EntityType, Arc<Kind>>,
    ) -> Self {
        let mut is_in = vec![false; known.len()];
        for kind in types.filter_map(|name| known.get(name)) {
            if let Some(is_in) = is_in.get_mut(kind.number as usize) {
                *is_in = true;
            }
        }
        Self(is_in.into())
    }

    fn has(&self, kind: &Kind) -> bool {
        self.0.get(kind.number as usize) == Some(&true)
    }
}

impl ActionTerm {
    pub(super) fn takes_subject(&self, kind: &Kind) -> bool {
        self.subjects.has(kind)
    }

    pub(super) fn takes_resource(&self, kind: &Kind) -> bool {
        self.resources.has(kind)
    }
}

impl Vocabulary {
    /// The declared attributes of an entity type.
    pub(crate) fn members(&self, kind: &EntityType) -> Option<&Members> {
        self.kinds.get(kind).map(|kind| &kind.members)
    }

    /// Their names. Types that declare the same ones may share them.
    pub(crate) fn attributes(&self, kind: &EntityType) -> Option<Arc<[SmolStr]>> {
        self.kinds.get(kind).map(|kind| Arc::clone(&kind.names))
    }

    /// Whether nothing that a question says of entities of this type is believed.
    pub(crate) fn ignores_requests(&self, kind: &EntityType) -> bool {
        let kind = self.kinds.get(kind);
        kind.is_some_and(|kind| kind.request_properties == RequestProperties::Ignore)
    }
}
