//! A snapshot as it is handed on: all that it was made from, as JSON; and what is signed about it.

use std::collections::BTreeMap;

use authzen::SnapshotVersion;
use bytes::Bytes;
use cedar_policy_core::entities::EntityJson;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use service_kit::digest;

use crate::config::{Reading, RequestProperties};
use crate::entities::Origin;
use crate::snapshot::Snapshot;

/// Another form has another number, and is not read.
pub(crate) const FORMAT: u32 = 1;

/// `typ` of a statement.
pub(crate) const STATEMENT: &str = "cedargate-snapshot+jwt";

/// The header of an answer that has the statement.
pub(crate) const STATEMENT_HEADER: &str = "cedargate-snapshot-statement";

/// What decides. Equal ones decide equally, whichever process has written them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) format: u32,
    /// Of the files.
    pub(crate) version: String,
    /// Of what was written.
    pub(crate) revision: u64,
    /// How questions are read, beside what the schema says.
    pub(crate) request_properties: BTreeMap<String, RequestProperties>,
    pub(crate) clock: Option<String>,
    /// The policy folder.
    pub(crate) files: Vec<File>,
    /// Entities that were written, in Cedar's JSON format.
    pub(crate) written: Vec<Box<RawValue>>,
}

/// A file of the policy folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What the decision point says of a snapshot at one time, to one who asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Statement {
    /// What was asked with: the statement is younger than the question.
    pub(crate) nonce: String,
    /// SHA-256 of the document, base64url.
    pub(crate) document: String,
    pub(crate) bytes: usize,
    /// Which process of the decision point says so.
    pub(crate) instance: String,
    /// Since when this snapshot decides there. Unix time in milliseconds.
    pub(crate) since: u64,
    pub(crate) snapshot: SnapshotVersion,
}

/// A document as it is sent.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: Bytes,
    pub(crate) digest: String,
    pub(crate) snapshot: SnapshotVersion,
    pub(crate) since: u64,
}

impl Written {
    /// None: the snapshot does not know what it was made from, or has what cannot be written.
    pub(crate) fn of(snapshot: &Snapshot, reading: &Reading, since: u64) -> Option<Self> {
        let files = snapshot.files.as_ref()?.texts().into_iter();
        let rows = snapshot.store.rows();
        let written = rows.filter(|row| row.origin() == Origin::Written);
        let written = written.map(|row| {
            // The format has parents: whose are whose follows from them.
            let json = EntityJson::from_entity(&row.to_entity([])).ok()?;
            serde_json::value::to_raw_value(&json).ok()
        });
        let mut written: Vec<_> = written.collect::<Option<_>>()?;
        // Equal snapshots have equal documents.
        written.sort_unstable_by(|left, right| left.get().cmp(right.get()));
        let version = snapshot.version.value();
        let document = Document {
            format: FORMAT,
            version: version.version.clone(),
            revision: version.revision,
            request_properties: reading.request_properties.clone(),
            clock: reading.clock.clone(),
            files: files
                .map(|(name, text)| File {
                    name: name.to_owned(),
                    text: text.to_owned(),
                })
                .collect(),
            written,
        };
        let bytes = serde_json::to_vec(&document).ok()?;
        Some(Self {
            digest: digest::sha256_base64url(&bytes),
            bytes: bytes.into(),
            snapshot: version,
            since,
        })
    }
}
