//! Decisions: what the PDP answered to exactly this question.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use authzen::{DecisionError, DecisionPoint, Evaluation, EvaluationRequest};
use service_kit::UnixTime;

use super::flight::Flights;
use super::generations::Generations;
use super::keyed::KeyedHash;
use super::sealed::{Entry, SealedAccess};
use super::validity::Validity;
use super::{Moment, Source};
use crate::obligation::Obligations;

/// An answer, understood.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// Names the decision-log record.
    pub(crate) id: Option<String>,
    /// The policy version that decided.
    pub(crate) version: Option<String>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Outcome {
    Permit(Obligations),
    Deny,
    /// Permitted on a condition that this gateway cannot fulfil: a deny.
    UnknownObligation,
}

/// An answer, or why there is none; shared by all who asked.
pub(crate) type VerdictResult = Result<(Rc<Verdict>, Source), Rc<DecisionError>>;

/// How long answers may be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecisionLimits {
    pub(crate) capacity: usize,
    pub(crate) ttl: Duration,
    pub(crate) ask: Duration,
}

/// One worker's decisions. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct DecisionCache(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    decisions: Arc<dyn DecisionPoint>,
    shared: Option<SealedAccess>,
    limits: DecisionLimits,
    hash: KeyedHash,
    known: RefCell<Generations<Known>>,
    flights: Flights<VerdictResult>,
    validity: Rc<RefCell<Validity>>,
}

#[derive(Debug)]
struct Known {
    /// The whole key: equal hashes alone are no proof.
    key: Box<[u8]>,
    verdict: Rc<Verdict>,
    as_of: UnixTime,
    until: UnixTime,
    generation: u64,
}

/// What is asked.
struct Ask {
    request: EvaluationRequest,
    hash: u128,
    key: Box<[u8]>,
    generation: u64,
    trusted_from: UnixTime,
    moment: Moment,
}

impl DecisionCache {
    pub(crate) fn new(
        decisions: Arc<dyn DecisionPoint>,
        shared: Option<SealedAccess>,
        limits: DecisionLimits,
        hash: KeyedHash,
        validity: Rc<RefCell<Validity>>,
    ) -> Self {
        Self(Rc::new(Inner {
            decisions,
            shared,
            limits,
            hash,
            known: RefCell::new(Generations::new(limits.capacity)),
            flights: Flights::default(),
            validity,
        }))
    }

    /// What is remembered for a key, if that may be used now.
    pub(crate) fn recall(&self, key: &[u8], moment: &Moment) -> Option<Rc<Verdict>> {
        if !moment.trusted {
            return None;
        }
        let mut known = self.0.known.borrow_mut();
        let found = known.find(self.0.hash.of(key))?;
        let holds = *found.key == *key
            && moment.unix < found.until
            && found.generation == self.0.validity.borrow().decisions().generation;
        holds.then(|| found.verdict.clone())
    }

    /// The last answer, when nobody can be asked. Never one that a policy change has voided.
    pub(crate) fn recall_stale(
        &self,
        key: &[u8],
        now: UnixTime,
        max_age: Duration,
    ) -> Option<Rc<Verdict>> {
        let mut known = self.0.known.borrow_mut();
        let found = known.find(self.0.hash.of(key))?;
        let holds = *found.key == *key
            && now.since(found.as_of) <= max_age
            && found.generation == self.0.validity.borrow().decisions().generation;
        holds.then(|| found.verdict.clone())
    }

    /// Asks, once for all who want to know. `key` must stand for the whole of `request`.
    pub(crate) async fn ask(
        &self,
        request: EvaluationRequest,
        key: &[u8],
        moment: Moment,
    ) -> VerdictResult {
        let epoch = self.0.validity.borrow().decisions();
        let ask = Ask {
            request,
            hash: self.0.hash.of(key),
            key: key.into(),
            generation: epoch.generation,
            trusted_from: epoch.trusted_from,
            moment,
        };
        if !moment.trusted {
            let evaluation = self.evaluate(&ask).await?;
            return Ok((Rc::new(Verdict::of(&evaluation)), Source::Remote));
        }
        let asking = self.clone();
        let flight = (ask.hash, ask.generation);
        let answer = self.0.flights.join(flight, move || asking.find(ask)).await;
        answer.unwrap_or_else(|| Err(Rc::new(DecisionError::Unavailable(None))))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.known.borrow().len()
    }

    async fn find(self, ask: Ask) -> VerdictResult {
        let question = self
            .0
            .shared
            .as_ref()
            .and_then(|_| serde_json::to_vec(&ask.request).ok());
        let shared = self.0.shared.as_ref().zip(question);
        if let Some((shared, question)) = &shared
            && let Some(entry) = shared.find::<Evaluation>(question, ask.trusted_from).await
        {
            let latest = entry.as_of.min(ask.moment.unix).plus(shared.ttl());
            if ask.moment.unix < latest {
                let verdict = Rc::new(Verdict::of(&entry.answer));
                self.remember(ask, &verdict, entry.as_of, latest);
                return Ok((verdict, Source::L2));
            }
        }
        let evaluation = self.evaluate(&ask).await?;
        let verdict = Rc::new(Verdict::of(&evaluation));
        let as_of = ask.moment.unix;
        let ttl = max_age(&evaluation).map_or(self.0.limits.ttl, |age| age.min(self.0.limits.ttl));
        if !ttl.is_zero() {
            if let Some((shared, question)) = shared
                && ttl >= shared.ttl()
            {
                let shared = shared.clone();
                let entry = Entry {
                    as_of,
                    answer: evaluation,
                };
                tokio::task::spawn_local(async move { shared.share(&question, &entry).await });
            }
            self.remember(ask, &verdict, as_of, as_of.plus(ttl));
        }
        Ok((verdict, Source::Remote))
    }

    async fn evaluate(&self, ask: &Ask) -> Result<Evaluation, Rc<DecisionError>> {
        let answer = self.0.decisions.evaluate(&ask.request);
        tokio::time::timeout(self.0.limits.ask, answer)
            .await
            .unwrap_or(Err(DecisionError::Timeout))
            .map_err(Rc::new)
    }

    fn remember(&self, ask: Ask, verdict: &Rc<Verdict>, as_of: UnixTime, until: UnixTime) {
        // Policies changed while we asked: the answer may be from before that.
        if self.0.validity.borrow().decisions().generation != ask.generation {
            return;
        }
        let known = Known {
            key: ask.key,
            verdict: verdict.clone(),
            as_of,
            until,
            generation: ask.generation,
        };
        self.0.known.borrow_mut().insert(ask.hash, known);
    }
}

impl Verdict {
    pub(crate) fn of(evaluation: &Evaluation) -> Self {
        let outcome = if evaluation.decision.is_permit() {
            match Obligations::understand(&evaluation.context.obligations) {
                Ok(obligations) => Outcome::Permit(obligations),
                Err(unknown) => {
                    tracing::warn!(%unknown, "a permit is refused");
                    Outcome::UnknownObligation
                }
            }
        } else {
            Outcome::Deny
        };
        let version = evaluation.context.snapshot.as_ref();
        Self {
            outcome,
            id: evaluation.context.id.clone(),
            version: version.map(|snapshot| snapshot.version.clone()),
        }
    }

    pub(crate) fn is_permit(&self) -> bool {
        matches!(self.outcome, Outcome::Permit(_))
    }
}

/// A decision point may say for how many seconds its answer holds (`context.max_age`).
fn max_age(evaluation: &Evaluation) -> Option<Duration> {
    let said = evaluation.context.other.get("max_age")?;
    Some(Duration::from_secs(said.as_u64().unwrap_or(0)))
}
