//! The store of entities: shared immutable rows, and the small slice that one question needs.
//!
//! Every row carries all its ancestors, so that a slice never has to close a hierarchy again.
//! `cedar_policy::Entities` is used to read and validate a folder and to hold one slice, never
//! as the store: changing it costs as much as all that it holds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, PartialValue};
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
pub(crate) struct EntityStore(HashMap<EntityUID, Row>);

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
}

impl EntityStore {
    /// Takes entities whose hierarchy is closed and validated.
    pub(crate) fn from_closed(entities: &Entities) -> Self {
        Self(
            entities
                .iter()
                .map(|entity| (entity.uid().clone(), Row::new(entity.clone())))
                .collect(),
        )
    }

    pub(crate) fn row(&self, uid: &EntityUID) -> Option<&Row> {
        self.0.get(uid)
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
                let Some(row) = overlays.get(uid).or_else(|| self.0.get(uid)) else {
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
