//! The store of entities: shared immutable rows, and the small slice that one question needs.
//!
//! Every row carries all its ancestors, so that a slice never has to close a hierarchy again.
//! `cedar_policy::Entities` is used to read and validate a folder and to hold one slice, never
//! as the store: changing it costs as much as all that it holds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityType, EntityUID, PartialValue};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;

/// One entity and whom its attributes name.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) entity: Arc<Entity>,
    references: Vec<EntityUID>,
}

/// Every entity of a snapshot, actions and their groups included.
#[derive(Debug, Default)]
pub(crate) struct EntityStore {
    rows: HashMap<EntityUID, Row>,
    /// In the order of their ids: searches walk them page by page.
    by_type: HashMap<EntityType, Vec<EntityUID>>,
    /// The entities whose attributes or tags name this one.
    referrers: HashMap<EntityUID, Vec<EntityUID>>,
    /// The entities that have this one as a parent.
    children: HashMap<EntityUID, Vec<EntityUID>>,
}

/// Why a slice cannot be made. Cannot happen with rows that are unique and closed.
#[derive(Debug, thiserror::Error)]
#[error("the entities of the question cannot be put together: {0}")]
pub(crate) struct SliceError(String);

impl Row {
    pub(crate) fn new(entity: Entity) -> Self {
        let mut references: Vec<EntityUID> = entity
            .attrs()
            .chain(entity.tags())
            .filter_map(|(_, value)| match value {
                PartialValue::Value(value) => Some(value.all_literal_uids()),
                PartialValue::Residual(_) => None,
            })
            .flatten()
            .collect();
        references.sort_unstable();
        references.dedup();
        Self {
            entity: Arc::new(entity),
            references,
        }
    }

    /// The entities that its attributes and tags name, at any depth of sets and records.
    pub(crate) fn references(&self) -> &[EntityUID] {
        &self.references
    }
}

impl EntityStore {
    /// Takes entities whose hierarchy is closed and validated.
    pub(crate) fn from_closed(entities: &Entities) -> Self {
        let mut store = Self::default();
        for entity in entities.iter() {
            let uid = entity.uid();
            let row = Row::new(entity.clone());
            for referred in &row.references {
                store
                    .referrers
                    .entry(referred.clone())
                    .or_default()
                    .push(uid.clone());
            }
            for parent in entity.parents() {
                store
                    .children
                    .entry(parent.clone())
                    .or_default()
                    .push(uid.clone());
            }
            store
                .by_type
                .entry(uid.entity_type().clone())
                .or_default()
                .push(uid.clone());
            store.rows.insert(uid.clone(), row);
        }
        for uids in store.by_type.values_mut() {
            uids.sort_unstable_by(|one, other| id(one).cmp(id(other)));
        }
        store
    }

    pub(crate) fn row(&self, uid: &EntityUID) -> Option<&Row> {
        self.rows.get(uid)
    }

    /// Every entity of a type, in the order of their ids.
    pub(crate) fn of_type(&self, kind: &EntityType) -> &[EntityUID] {
        self.by_type.get(kind).map_or(&[], Vec::as_slice)
    }

    /// The entities whose attributes or tags name this one.
    pub(crate) fn referrers(&self, uid: &EntityUID) -> &[EntityUID] {
        self.referrers.get(uid).map_or(&[], Vec::as_slice)
    }

    /// The entities directly in this one.
    pub(crate) fn children(&self, uid: &EntityUID) -> &[EntityUID] {
        self.children.get(uid).map_or(&[], Vec::as_slice)
    }

    /// The entities that a question can reach: `roots`, and whatever `depth` steps over
    /// attributes lead to. `overlays` stand in for rows of the same name.
    pub(crate) fn slice<'a>(
        &'a self,
        roots: impl Iterator<Item = &'a EntityUID>,
        overlays: &'a HashMap<EntityUID, Row>,
        depth: usize,
    ) -> Result<Entities, SliceError> {
        let mut seen: HashSet<&EntityUID> = HashSet::new();
        let mut picked: Vec<Arc<Entity>> = Vec::new();
        let mut frontier: Vec<&EntityUID> = roots.collect();
        for step in 0..=depth {
            let mut next = Vec::new();
            for uid in frontier {
                if !seen.insert(uid) {
                    continue;
                }
                let Some(row) = overlays.get(uid).or_else(|| self.rows.get(uid)) else {
                    continue;
                };
                picked.push(Arc::clone(&row.entity));
                if step < depth {
                    next.extend(&row.references);
                }
            }
            if next.is_empty() {
                break;
            }
            frontier = next;
        }
        Entities::new()
            .add_entities(
                picked,
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .map_err(|error| SliceError(error.to_string()))
    }
}

/// An entity's id as it sorts.
pub(crate) fn id(uid: &EntityUID) -> &str {
    uid.eid().as_ref()
}
