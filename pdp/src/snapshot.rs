//! A snapshot: schema, rules and entities that belong together and never change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use authzen::{CacheAdvice, DecisionError, Evaluation, EvaluationRequest, SnapshotVersion};

use crate::attributes::Unavailable;
use crate::contract::Contract;
use crate::engine::{Oracle, Question, Verdict};
use crate::entities::{Circle, EntityStore, Origin, Row, fit};
use crate::folder::Folder;
use crate::load::{Loaded, load};
use crate::mapping::{self, Mapped, NotAsked};
use crate::{PdpError, PolicyIssue, RequestProperties};

/// What decides, as one thing. A change of entities makes a new one that shares the rest.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: SnapshotVersion,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) store: EntityStore,
    /// The plain authorizer, for a sample of the decisions. Made at its first use.
    oracle: Arc<OnceLock<Oracle>>,
    /// What answers depend on.
    pub(crate) contracts: Arc<[Contract]>,
}

/// An answer and what only logs and metrics see of it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) evaluation: Evaluation,
    pub(crate) unknown_attributes: u64,
    /// Policies that could not be evaluated, and why.
    pub(crate) failures: Vec<Failure>,
    pub(crate) denied_by_failure: bool,
    /// What policies were asked and what they said, where they were.
    pub(crate) decided: Option<(Question, Verdict)>,
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
#[expect(
    clippy::large_enum_variant,
    reason = "nearly always the large one, and not kept"
)]
pub(crate) enum Read {
    Question(Mapped),
    /// The answer is no.
    Unknown {
        status: u16,
        message: String,
    },
}

impl Answered {
    /// Policies were not asked.
    fn without_policies(evaluation: Evaluation) -> Self {
        Self {
            evaluation,
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
        overrides: &BTreeMap<String, RequestProperties>,
        epoch: u64,
        before: Option<&Self>,
    ) -> Result<Self, PdpError> {
        let mut loaded = load(folder, overrides)?;
        let stated = std::mem::take(&mut loaded.stated);
        let store = if let Some(before) = before {
            before.restated(&mut loaded, stated)?
        } else {
            loaded.stated_uids = stated.iter().map(|row| Arc::clone(row.uid())).collect();
            EntityStore::of_rows(stated).map_err(|circle| circular(folder, &circle))?
        };
        Ok(Self {
            version: SnapshotVersion {
                version: loaded.version.clone(),
                epoch,
                revision: before.map_or(0, |before| before.version.revision),
            },
            oracle: Arc::default(),
            contracts: Contract::all(&loaded, &store).into(),
            store,
            loaded: Arc::new(loaded),
        })
    }

    /// The same policies over other entities.
    pub(crate) fn with_entities(&self, store: EntityStore, revision: u64) -> Self {
        Self {
            version: SnapshotVersion {
                revision,
                ..self.version.clone()
            },
            loaded: Arc::clone(&self.loaded),
            store,
            oracle: Arc::clone(&self.oracle),
            contracts: Arc::clone(&self.contracts),
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
            loaded.stated_uids.clone_from(&self.loaded.stated_uids);
            return Ok(self.store.clone());
        }
        let mut store = self.store.clone();
        for uid in &self.loaded.stated_uids {
            store.remove(uid);
        }
        let mut issues = Vec::new();
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
            loaded.stated_uids.push(Arc::clone(row.uid()));
            if let Err(circle) = store.upsert(row) {
                issues.push(fit::issue(&circle.entity, &circle.to_string()));
            }
        }
        if issues.is_empty() {
            Ok(store)
        } else {
            Err(PdpError::Policies(issues))
        }
    }

    /// Reads and understands a folder.
    pub(crate) fn open(
        folder: &Path,
        overrides: &BTreeMap<String, RequestProperties>,
        epoch: u64,
    ) -> Result<Self, PdpError> {
        Self::build(&Folder::read(folder)?, overrides, epoch, None)
    }

    /// What the answer to a question can depend on.
    fn advice(&self, request: &EvaluationRequest) -> Option<CacheAdvice> {
        let kind = (
            &*request.subject.kind,
            &*request.action.name,
            &*request.resource.kind,
        );
        let at = self
            .contracts
            .binary_search_by(|contract| contract.kind().cmp(&kind));
        let contract = at.ok().and_then(|at| self.contracts.get(at));
        contract.map(|contract| contract.advice.clone())
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
    pub(crate) fn read(&self, request: &EvaluationRequest) -> Result<Read, DecisionError> {
        match self.loaded.vocabulary.question(request, &self.store) {
            Ok(mapped) => Ok(Read::Question(mapped)),
            Err(NotAsked::Deny { status, message }) => Ok(Read::Unknown { status, message }),
            Err(NotAsked::Unusable { field, message }) => Err(DecisionError::Rejected {
                message: authzen::RequestError::Unusable { field, message }.to_string(),
            }),
        }
    }

    /// Answers one question by what is known here alone. `id` names the decision. `keep` asks for
    /// what a second opinion needs.
    pub(crate) fn answer(
        &self,
        request: &EvaluationRequest,
        id: String,
        keep: bool,
    ) -> Result<Answered, DecisionError> {
        match self.read(request)? {
            Read::Question(mapped) => self.decide_mapped(request, mapped, id, keep),
            Read::Unknown { status, message } => Ok(self.unasked(status, &message, id)),
        }
    }

    /// The answer to a question about something unknown.
    pub(crate) fn unasked(&self, status: u16, message: &str, id: String) -> Answered {
        let version = self.version.clone();
        Answered::without_policies(mapping::unasked(status, message, id, version))
    }

    /// The answer to a question whose attributes cannot be had.
    pub(crate) fn unavailable(&self, error: &Unavailable, id: String) -> Answered {
        Answered::without_policies(mapping::unavailable(error, id, self.version.clone()))
    }

    /// Decides what has been read of a question.
    pub(crate) fn decide_mapped(
        &self,
        request: &EvaluationRequest,
        mapped: Mapped,
        id: String,
        keep: bool,
    ) -> Result<Answered, DecisionError> {
        let mut answered = self.decide(mapped.question, id, keep)?;
        answered.unknown_attributes = mapped.unknown_attributes;
        answered.evaluation.context.cache = self.advice(request);
        Ok(answered)
    }

    /// Decides a question in Cedar's words.
    pub(crate) fn decide(
        &self,
        question: Question,
        id: String,
        keep: bool,
    ) -> Result<Answered, DecisionError> {
        let loaded = &self.loaded;
        let outcome = loaded
            .rules
            .decide(&question, &self.store)
            .map_err(|error| DecisionError::Internal {
                message: error.to_string(),
            })?;
        let missing = if outcome.failures.is_empty() {
            Vec::new()
        } else {
            loaded.vocabulary.missing(&question, &self.store)
        };
        Ok(Answered {
            evaluation: mapping::evaluation(&outcome, id, self.version.clone(), &missing),
            unknown_attributes: 0,
            failures: outcome
                .failures
                .iter()
                .map(|(rule, error)| Failure {
                    policy: rule.reason.policy.clone(),
                    message: error.clone(),
                    place: rule.place(),
                })
                .collect(),
            denied_by_failure: outcome.denied_by_failure,
            decided: keep
                .then(|| Verdict::of(&outcome))
                .map(|verdict| (question, verdict)),
        })
    }
}

/// Cedar has read these entities, and refuses circles itself.
fn circular(folder: &Folder, circle: &Circle) -> PdpError {
    PdpError::Policies(vec![PolicyIssue::of_file(&folder.path, circle.to_string())])
}
