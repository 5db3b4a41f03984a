//! A snapshot: schema, rules and entities that belong together and never change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use authzen::{CacheAdvice, DecisionError, Evaluation, EvaluationRequest, SnapshotVersion};

use crate::contract::Contract;
use crate::engine::{Oracle, Question, Verdict};
use crate::folder::Folder;
use crate::load::{Loaded, load};
use crate::mapping::{self, NotAsked};
use crate::{PdpError, RequestProperties};

/// What decides, as one thing.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: SnapshotVersion,
    pub(crate) loaded: Loaded,
    /// The plain authorizer, for a sample of the decisions. Made at its first use.
    oracle: OnceLock<Oracle>,
    /// What answers depend on.
    pub(crate) contracts: Vec<Contract>,
}

/// An answer and what only logs and metrics see of it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) evaluation: Evaluation,
    pub(crate) unknown_attributes: u64,
    /// Policies that could not be evaluated, and why.
    pub(crate) failures: Vec<(String, String)>,
    pub(crate) denied_by_failure: bool,
    /// What policies were asked and what they said, where they were.
    pub(crate) decided: Option<(Question, Verdict)>,
}

impl Snapshot {
    /// Understands what was read.
    pub(crate) fn build(
        folder: &Folder,
        overrides: &BTreeMap<String, RequestProperties>,
        epoch: u64,
    ) -> Result<Self, PdpError> {
        let loaded = load(folder, overrides)?;
        Ok(Self {
            version: SnapshotVersion {
                version: loaded.version.clone(),
                epoch,
            },
            oracle: OnceLock::new(),
            contracts: Contract::all(&loaded),
            loaded,
        })
    }

    /// Reads and understands a folder.
    pub(crate) fn read(
        folder: &Path,
        overrides: &BTreeMap<String, RequestProperties>,
        epoch: u64,
    ) -> Result<Self, PdpError> {
        Self::build(&Folder::read(folder)?, overrides, epoch)
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
            .decide(question, &self.loaded.store)
            .map_err(|error| DecisionError::Internal {
                message: error.to_string(),
            })
    }

    /// Answers one question. `id` names the decision. `keep` asks for what a second opinion
    /// needs.
    pub(crate) fn answer(
        &self,
        request: &EvaluationRequest,
        id: String,
        keep: bool,
    ) -> Result<Answered, DecisionError> {
        let loaded = &self.loaded;
        let mapped = match loaded.vocabulary.question(request, &loaded.store) {
            Ok(mapped) => mapped,
            Err(NotAsked::Deny { status, message }) => {
                return Ok(Answered {
                    evaluation: mapping::unasked(status, &message, id, self.version.clone()),
                    unknown_attributes: 0,
                    failures: Vec::new(),
                    denied_by_failure: false,
                    decided: None,
                });
            }
            Err(NotAsked::Unusable { field, message }) => {
                return Err(DecisionError::Rejected {
                    message: authzen::RequestError::Unusable { field, message }.to_string(),
                });
            }
        };
        let outcome = loaded
            .rules
            .decide(&mapped.question, &loaded.store)
            .map_err(|error| DecisionError::Internal {
                message: error.to_string(),
            })?;
        let missing = if outcome.failures.is_empty() {
            Vec::new()
        } else {
            loaded.vocabulary.missing(&mapped.question, &loaded.store)
        };
        let mut evaluation = mapping::evaluation(&outcome, id, self.version.clone(), &missing);
        evaluation.context.cache = self.advice(request);
        Ok(Answered {
            evaluation,
            unknown_attributes: mapped.unknown_attributes,
            failures: outcome
                .failures
                .iter()
                .map(|(rule, error)| (rule.reason.policy.clone(), error.clone()))
                .collect(),
            denied_by_failure: outcome.denied_by_failure,
            decided: keep
                .then(|| Verdict::of(&outcome))
                .map(|verdict| (mapped.question, verdict)),
        })
    }
}
