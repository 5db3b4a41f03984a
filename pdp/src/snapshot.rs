//! A snapshot: schema, rules and entities that belong together and never change.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use authzen::{Asked, DecisionError, SnapshotVersion};
use service_kit::UnixTime;

use crate::answer::{Advice, Answer, Id, Unavailable};
use crate::config::Reading;
use crate::contract::Contracts;
use crate::engine::{KindPlace, Oracle, Question, Rule, Verdict};
use crate::entities::{Circle, EntityStore, Origin, Row, fit};
use crate::folder::Folder;
use crate::load::{Edited, Loaded, edited, load};
use crate::mapping::{Before, Mapped, NotAsked, Readable};
use crate::reads::Reads;
use crate::spelled::Spelled;
use crate::{PdpError, PolicyIssue};

/// What decides, as one thing. A change of entities makes a new one that shares the rest.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: Spelled<SnapshotVersion>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) store: EntityStore,
    /// The plain authorizer, for a sample of the decisions. Made at its first use.
    oracle: Arc<OnceLock<Oracle>>,
    /// What answers depend on.
    pub(crate) contracts: Arc<Contracts>,
    /// What it was understood from, where that is to be handed on.
    pub(crate) files: Option<Arc<Folder>>,
}

/// An answer and what only logs and metrics see of it.
#[derive(Debug)]
pub(crate) struct Answered<'s> {
    pub(crate) answer: Answer<'s>,
    pub(crate) unknown_attributes: u64,
    /// Policies that could not be evaluated, and why.
    pub(crate) failures: Vec<Failure>,
    pub(crate) denied_by_failure: bool,
    /// What policies were asked and what they said, where they were.
    pub(crate) decided: Option<Box<(Question, Verdict)>>,
}

/// A policy that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) policy: String,
    pub(crate) message: String,
    /// File, line and column of the policy, where it is in a file.
    pub(crate) place: Option<String>,
}

/// A question as policies are asked it, or why they are not.
#[derive(Debug)]
pub(crate) enum Read {
    Question(Mapped),
    /// The answer is no.
    Unknown {
        status: u16,
        message: String,
    },
}

impl<'s> Answered<'s> {
    /// Policies were not asked.
    fn without_policies(answer: Answer<'s>) -> Self {
        Self {
            answer,
            unknown_attributes: 0,
            failures: Vec::new(),
            denied_by_failure: false,
            decided: None,
        }
    }
}

impl Snapshot {
    /// Understands what was read. Entities that were written while `before` decided go on.
    pub(crate) fn build(
        folder: &Folder,
        reading: &Reading,
        epoch: u64,
        before: Option<&Self>,
    ) -> Result<Self, PdpError> {
        let files = reading.keeps_files.then(|| Arc::new(folder.clone()));
        if let Some(before) = before
            && let Some(edited) = edited(&before.loaded, folder)
        {
            return Ok(before.with_policies(edited, epoch, files));
        }
        let mut loaded = load(folder, reading)?;
        let stated = std::mem::take(&mut loaded.stated);
        let store = if let Some(before) = before {
            before.restated(&mut loaded, stated)?
        } else {
            loaded.stated_uids = stated.iter().map(|row| row.uid().clone()).collect();
            EntityStore::of_rows(stated).map_err(|circle| circular(folder, &circle))?
        };
        Ok(Self {
            version: Spelled::from(SnapshotVersion {
                version: loaded.version.clone(),
                epoch,
                revision: before.map_or(0, |before| before.version.revision),
            }),
            oracle: Arc::default(),
            contracts: Arc::new(Contracts::new(&loaded, &store)),
            files,
            store,
            loaded: Arc::new(loaded),
        })
    }

    /// The same entities under other policies.
    fn with_policies(&self, edited: Edited, epoch: u64, files: Option<Arc<Folder>>) -> Self {
        let Edited {
            loaded,
            removed,
            added,
        } = edited;
        let added = added.iter().filter_map(|at| loaded.rules.get(*at));
        Self {
            version: Spelled::from(SnapshotVersion {
                version: loaded.version.clone(),
                epoch,
                revision: self.version.revision,
            }),
            contracts: Arc::new(self.contracts.changed(&removed, added)),
            oracle: Arc::default(),
            files,
            store: self.store.clone(),
            loaded: Arc::new(loaded),
        }
    }

    /// The same policies over other entities.
    pub(crate) fn with_entities(&self, store: EntityStore, revision: u64) -> Self {
        Self {
            version: Spelled::from(SnapshotVersion {
                revision,
                ..self.version.value()
            }),
            loaded: Arc::clone(&self.loaded),
            store,
            oracle: Arc::clone(&self.oracle),
            files: self.files.clone(),
            contracts: Arc::clone(&self.contracts),
        }
    }

    /// The same under another number.
    pub(crate) fn numbered(&self, version: SnapshotVersion) -> Self {
        Self {
            version: Spelled::from(version),
            ..self.with_entities(self.store.clone(), 0)
        }
    }

    /// What the folder states alone.
    pub(crate) fn without_written(&self) -> EntityStore {
        let mut store = self.store.clone();
        let written = self
            .store
            .rows()
            .filter(|row| row.origin() == Origin::Written);
        for row in written {
            store.remove(row.uid());
        }
        store
    }

    /// This snapshot's entities, with those of a new folder in the place of the old one's.
    fn restated(&self, loaded: &mut Loaded, stated: Vec<Row>) -> Result<EntityStore, PdpError> {
        if self.loaded.stated_version == loaded.stated_version {
            loaded.stated_uids = Arc::clone(&self.loaded.stated_uids);
            return Ok(self.store.clone());
        }
        let mut store = self.store.clone();
        for uid in &*self.loaded.stated_uids {
            store.remove(uid);
        }
        let mut issues = Vec::new();
        let mut uids = Vec::with_capacity(stated.len());
        if self.loaded.schema_version != loaded.schema_version {
            issues.extend(fit::misfits(&store, &loaded.schema));
        }
        for row in stated {
            if store.row(row.uid()).is_some() {
                issues.push(fit::issue(
                    row.uid(),
                    "has been written by the entities API, too",
                ));
                continue;
            }
            uids.push(row.uid().clone());
            if let Err(circle) = store.upsert(row) {
                issues.push(fit::issue(&circle.entity, &circle.to_string()));
            }
        }
        loaded.stated_uids = uids.into();
        if issues.is_empty() {
            Ok(store)
        } else {
            Err(PdpError::Policies(issues))
        }
    }

    /// Reads and understands a folder.
    pub(crate) fn open(folder: &Path, reading: &Reading, epoch: u64) -> Result<Self, PdpError> {
        Self::build(&Folder::read(folder)?, reading, epoch, None)
    }

    /// What Cedar's plain authorizer says. Walks every policy.
    pub(crate) fn by_cedar(&self, question: &Question) -> Result<Verdict, DecisionError> {
        let oracle = self.oracle.get_or_init(|| Oracle::new(&self.loaded.rules));
        oracle
            .decide(question, &self.store)
            .map_err(|error| DecisionError::Internal {
                message: error.to_string(),
            })
    }

    /// Puts a question into Cedar's words. One about something unknown is answered at once.
    pub(crate) fn read<'s, 'a>(
        &'s self,
        asked: &Asked<'a>,
        now: UnixTime,
        before: &mut Before<'s, 'a>,
    ) -> Result<Read, DecisionError> {
        self.read_some(asked, now, before, |_| Readable::ALL)
    }

    /// The same where it is to be decided, and no more: what no policy can read is not kept.
    pub(crate) fn read_to_decide<'s, 'a>(
        &'s self,
        asked: &Asked<'a>,
        now: UnixTime,
        before: &mut Before<'s, 'a>,
    ) -> Result<Read, DecisionError> {
        self.read_some(asked, now, before, |kind| self.contracts.readable(kind))
    }

    fn read_some<'s, 'a>(
        &'s self,
        asked: &Asked<'a>,
        now: UnixTime,
        before: &mut Before<'s, 'a>,
        readable: impl FnOnce(Option<KindPlace>) -> Readable,
    ) -> Result<Read, DecisionError> {
        let vocabulary = &self.loaded.vocabulary;
        let of_kind = |kind| {
            let place = self.contracts.place(kind);
            (place, readable(place))
        };
        match vocabulary.question(asked, &self.store, before, of_kind) {
            Ok(mut mapped) => {
                vocabulary.tell_time(&mut mapped.question, now);
                Ok(Read::Question(mapped))
            }
            Err(NotAsked::Deny { status, message }) => Ok(Read::Unknown { status, message }),
            Err(NotAsked::Unusable { field, message }) => Err(DecisionError::Rejected {
                message: authzen::RequestError::Unusable { field, message }.to_string(),
            }),
        }
    }

    /// The answer to a question about something unknown.
    pub(crate) fn unasked<'s>(&'s self, status: u16, message: &str, id: Id<'s>) -> Answered<'s> {
        Answered::without_policies(Answer::unasked(status, message, id, &self.version))
    }

    /// The answer to a question whose attributes cannot be had.
    pub(crate) fn unavailable<'s>(&'s self, error: &Unavailable, id: Id<'s>) -> Answered<'s> {
        Answered::without_policies(Answer::unavailable(error, id, &self.version))
    }

    /// Decides what has been read of a question.
    pub(crate) fn decide_mapped<'s>(
        &'s self,
        mapped: Mapped,
        id: Id<'s>,
        keep: bool,
    ) -> Result<Answered<'s>, DecisionError> {
        let Mapped {
            question,
            kind,
            unknown_attributes,
        } = mapped;
        let advice = |reads, lasts| self.contracts.advice(kind?, reads, lasts);
        self.decide((question, kind), unknown_attributes, id, keep, advice)
    }

    /// Decides a question that was asked in Cedar's words, with entities or without.
    pub(crate) fn decide_native<'s>(
        &'s self,
        question: Question,
        brings_entities: bool,
        id: Id<'s>,
        keep: bool,
    ) -> Result<Answered<'s>, DecisionError> {
        let advice = self.contracts.native_advice(&question, brings_entities);
        let advice = |reads, lasts| Some(advice(reads, lasts));
        self.decide((question, None), 0, id, keep, advice)
    }

    /// Decides a question in Cedar's words. `advice` says what its answer depends on.
    fn decide<'s>(
        &'s self,
        (question, kind): (Question, Option<KindPlace>),
        unknown_attributes: u64,
        id: Id<'s>,
        keep: bool,
        advice: impl FnOnce(Reads, Option<u64>) -> Option<Advice>,
    ) -> Result<Answered<'s>, DecisionError> {
        let loaded = &*self.loaded;
        let outcome = match kind {
            Some(kind) => loaded.rules.decide_of_kind(kind, &question, &self.store),
            None => loaded.rules.decide(&question, &self.store),
        };
        let outcome = outcome.map_err(|error| DecisionError::Internal {
            message: error.to_string(),
        })?;
        let missing = if outcome.failures.is_empty() {
            Vec::new()
        } else {
            let readable = self.contracts.readable(kind);
            loaded.vocabulary.missing(&question, &self.store, readable)
        };
        let failure = |(rule, error): &(&Rule, String)| Failure {
            policy: rule.reason.policy.clone(),
            message: error.clone(),
            place: rule.place(),
        };
        Ok(Answered {
            unknown_attributes,
            failures: outcome.failures.iter().map(failure).collect(),
            denied_by_failure: outcome.denied_by_failure,
            decided: keep.then(|| Box::new((question, Verdict::of(&outcome)))),
            answer: {
                let cache = advice(outcome.reads, outcome.lasts);
                Answer::of(outcome, id, &self.version, &missing, cache)
            },
        })
    }
}

/// Cedar has read these entities, and refuses circles itself.
fn circular(folder: &Folder, circle: &Circle) -> PdpError {
    PdpError::Policies(vec![PolicyIssue::of_file(&folder.path, circle.to_string())])
}
