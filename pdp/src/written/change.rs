//! A change of entities, as it is asked for: read strictly, validated against the schema, and
//! applied whole or refused by name.

use std::collections::HashSet;

use authzen::Properties;
use bytes::Bytes;
use cedar_policy::{Entity, EntityUid, Schema};
use cedar_policy_core::ast::EntityUID;
use serde_json::Value;

use crate::cedar_json::{self, Misfit};
use crate::entities::{Circle, EntityStore, Origin, Row, Uid};
use crate::snapshot::Snapshot;
use service_kit::error::chain;

/// What is to be written and what deleted.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Each with the text that is kept.
    pub(crate) upserts: Vec<(Row, Bytes)>,
    pub(crate) deletes: Vec<EntityUID>,
}

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    /// It is not written as it should be.
    #[error("`{field}`: {message}")]
    Unusable { field: String, message: String },
    /// Only the folder changes what it states.
    #[error("`{0}` is stated by the policy folder: change it there")]
    Stated(Uid),
    #[error(transparent)]
    Circle(#[from] Circle),
}

impl Change {
    /// Reads `{"upsert": [entity…], "delete": [{"type": …, "id": …}…]}`, entities in Cedar's
    /// JSON format. Validates each against the schema.
    pub(crate) fn from_json(body: &Properties, schema: &Schema) -> Result<Self, ChangeError> {
        if let Some(name) = body
            .keys()
            .find(|name| !["upsert", "delete"].contains(&name.as_str()))
        {
            return Err(unusable(
                name.clone(),
                "is not known; `upsert` and `delete` are",
            ));
        }
        let mut change = Self::default();
        for (field, value) in items(body, "upsert")? {
            let read = entity(value, schema);
            let (row, text) =
                read.map_err(
                    |message| match cedar_json::in_entity(schema, value, &field) {
                        Some(Misfit { path, message }) => unusable(path, message),
                        None => unusable(field, message),
                    },
                )?;
            change.upserts.push((row, text));
        }
        for (field, value) in items(body, "delete")? {
            let uid = EntityUid::from_json(value.clone())
                .map_err(|error| unusable(field, chain(&error)))?;
            change
                .deletes
                .push(AsRef::<EntityUID>::as_ref(&uid).clone());
        }
        let mut seen = HashSet::new();
        let upserted = change.upserts.iter().map(|(row, _)| &**row.uid());
        if let Some(twice) = upserted
            .chain(&change.deletes)
            .find(|uid| !seen.insert(*uid))
        {
            return Err(unusable(
                "upsert".into(),
                format!("`{twice}` is named twice"),
            ));
        }
        Ok(change)
    }

    /// How many of those that it deletes are there.
    pub(crate) fn deletes_of(&self, snapshot: &Snapshot) -> usize {
        let there = |uid: &&EntityUID| snapshot.store.row(uid).is_some();
        self.deletes.iter().filter(there).count()
    }

    /// The entities of a snapshot after this change.
    pub(crate) fn applied_to(&self, snapshot: &Snapshot) -> Result<EntityStore, ChangeError> {
        let mut store = snapshot.store.clone();
        let uids = self.upserts.iter().map(|(row, _)| &**row.uid());
        for uid in uids.chain(&self.deletes) {
            if let Some(row) = store.row(uid).filter(|row| row.origin() == Origin::Folder) {
                return Err(ChangeError::Stated(row.uid().clone()));
            }
        }
        for uid in &self.deletes {
            store.remove(uid);
        }
        // Out of the way first: an order in which no step makes a circle need not exist otherwise.
        for (row, _) in &self.upserts {
            store.remove(row.uid());
        }
        for (row, _) in &self.upserts {
            store.upsert(row.clone())?;
        }
        Ok(store)
    }
}

/// Reads one entity, and words it as it is kept.
pub(super) fn entity(value: &Value, schema: &Schema) -> Result<(Row, Bytes), String> {
    let entity =
        Entity::from_json_value(value.clone(), Some(schema)).map_err(|error| chain(&error))?;
    let text = entity.to_json_string().map_err(|error| chain(&error))?;
    Ok((Row::new(entity.as_ref(), Origin::Written), text.into()))
}

fn items<'a>(
    body: &'a Properties,
    name: &'static str,
) -> Result<impl Iterator<Item = (String, &'a Value)> + use<'a>, ChangeError> {
    let items = match body.get(name) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items.as_slice(),
        Some(_) => return Err(unusable(name.into(), "must be an array")),
    };
    Ok(items
        .iter()
        .enumerate()
        .map(move |(at, value)| (format!("{name}[{at}]"), value)))
}

fn unusable(field: String, message: impl Into<String>) -> ChangeError {
    ChangeError::Unusable {
        field,
        message: message.into(),
    }
}
