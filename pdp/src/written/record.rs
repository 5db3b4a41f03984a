//! What is kept of written entities: a record each, the revision, and the log of changes.

use bytes::Bytes;
use cedar_policy_core::ast::EntityUID;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Change;

/// The log of changes, in the order of their revisions.
pub(super) const LOG: &str = "entities";

/// Where the last revision is.
pub(super) const REVISION: &str = "pdp:entities-revision";

/// What the keys of entities begin with.
pub(super) const PREFIX: &str = "entity:";

/// The longest event that the store takes.
pub(crate) const LARGEST: usize = store::MAX_VALUE_BYTES;

/// One change.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) revision: u64,
    /// Entities in Cedar's JSON format.
    pub(super) upsert: Vec<Box<RawValue>>,
    pub(super) delete: Vec<EntityUID>,
}

impl Event {
    pub(super) fn of(revision: u64, change: &Change) -> Self {
        let texts = change.upserts.iter().filter_map(|(_, text)| {
            let text = String::from_utf8(text.to_vec()).ok()?;
            RawValue::from_string(text).ok()
        });
        Self {
            revision,
            upsert: texts.collect(),
            delete: change.deletes.clone(),
        }
    }

    /// None where it is too long.
    pub(super) fn to_bytes(&self) -> Option<Bytes> {
        let bytes = serde_json::to_vec(self).ok()?;
        (bytes.len() <= LARGEST).then(|| bytes.into())
    }
}

/// The key of an entity. Names have any length and any characters; keys do not.
pub(super) fn key(uid: &EntityUID) -> String {
    let digest = service_kit::digest::sha256_base64url(uid.to_string().as_bytes());
    format!("{PREFIX}{digest}")
}

pub(super) fn revision(number: u64) -> Bytes {
    number.to_string().into()
}
