//! From a document that is believed to what decides here, by the very loader of the decision point.

use std::sync::Arc;

use authzen::SnapshotVersion;

use super::Refused;
use crate::config::Reading;
use crate::folder::Folder;
use crate::handout::{Document, FORMAT, Statement};
use crate::snapshot::Snapshot;
use crate::written::restore_one;

/// Which snapshot is held, and who has said so.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Of its document. Equal ones decide equally.
    pub(super) digest: String,
    instance: String,
    since: u64,
    snapshot: SnapshotVersion,
}

impl Held {
    pub(super) fn of(statement: &Statement) -> Self {
        Self {
            digest: statement.document.clone(),
            instance: statement.instance.clone(),
            since: statement.since,
            snapshot: statement.snapshot.clone(),
        }
    }

    /// Whether a statement is about something older. One process counts; between processes, who began later
    /// to decide by what it says knows more.
    pub(super) fn is_newer_than(&self, statement: &Statement) -> bool {
        let order = |version: &SnapshotVersion| (version.epoch, version.revision);
        if self.instance == statement.instance {
            order(&statement.snapshot) < order(&self.snapshot)
        } else {
            statement.since < self.since
        }
    }

    /// The same content under a later number of the same process: an edit, and back.
    pub(super) fn is_renumbered_by(&self, statement: &Statement) -> bool {
        self.instance == statement.instance && self.snapshot != statement.snapshot
    }
}

/// What a document was understood as.
#[derive(Debug)]
pub(super) struct Understood {
    pub(super) snapshot: Arc<Snapshot>,
    reading: Reading,
}

/// Reads a document and makes what decides of it. Where nothing but written entities is other than `before`,
/// the rest is shared; otherwise it takes as long as starting a decision point.
pub(super) fn understand(
    bytes: &[u8],
    statement: &Statement,
    before: Option<&Understood>,
) -> Result<Understood, Refused> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|_| Refused::Unreadable("its document"))?;
    let said = &statement.snapshot;
    if document.format != FORMAT
        || document.version != said.version
        || document.revision != said.revision
    {
        return Err(Refused::Unreadable("its document"));
    }
    let files = document.files.iter();
    let folder = Folder::of_texts(files.map(|file| (&*file.name, &*file.text)))
        .filter(|folder| folder.version == said.version)
        .ok_or(Refused::Unreadable("its files"))?;
    let reading = Reading {
        request_properties: document.request_properties,
        clock: document.clock,
        keeps_files: false,
    };
    let is_same = |before: &&Understood| {
        before.snapshot.version.version == said.version && before.reading == reading
    };
    let stated = match before.filter(is_same) {
        Some(before) => Arc::clone(&before.snapshot),
        None => Snapshot::build(&folder, &reading, said.epoch, None)
            .map(Arc::new)
            .map_err(|error| Refused::Invalid(error.to_string()))?,
    };
    let mut entities = stated.without_written();
    for text in &document.written {
        restore_one(&mut entities, text.get().as_bytes(), &stated)
            .map_err(|issue| Refused::Invalid(issue.to_string()))?;
    }
    let snapshot = stated.with_entities(entities, said.revision);
    Ok(Understood {
        snapshot: Arc::new(snapshot.numbered(said.clone())),
        reading,
    })
}
