//! Decisions: what the PDP answered to exactly this question.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use authzen::{
    Asked, DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest,
    Semantic,
};
use service_kit::UnixTime;

use super::flight::Flights;
use super::generations::Generations;
use super::keyed::KeyedHash;
use super::sealed::{Entry, SealedAccess};
use super::validity::Validity;
use super::verdict::{Verdict, max_age};
use super::{Moment, Source};
use crate::events::Purge;
use crate::identity::Identity;
use crate::plan::Plan;
use crate::question::{NamedBy, Parts, Question, Whose};

/// The key of a question, twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// Stands for this question alone.
    pub(crate) whole: &'a [u8],
    /// What the answer is remembered under.
    pub(crate) kept: &'a [u8],
    /// The parts that `kept` has: an answer that can depend on others is not remembered.
    pub(crate) parts: Parts,
    pub(crate) named: NamedBy,
    pub(crate) whose: Whose<'a>,
}

/// What the answers for a route and a type of subject were seen to depend on. No more than a
/// guess at the next answer: each is remembered only where what it says itself allows it.
#[derive(Debug)]
struct Learned(
    /// By route.
    Vec<Vec<Lesson>>,
);

/// What all answers of one generation together depend on: one alone may depend on less than the
/// next, and keys that came and went with that would find nothing.
#[derive(Debug)]
struct Lesson {
    subject_kind: Box<str>,
    parts: Parts,
    generation: u64,
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
    plan: Arc<Plan>,
    known: RefCell<Generations<Known>>,
    flights: Flights<VerdictResult>,
    learned: RefCell<Learned>,
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
    caller: Rc<Identity>,
    route: usize,
}

/// Types of subjects that are told apart for one route, at most.
const KINDS: usize = 8;

/// What is asked.
struct Ask {
    request: EvaluationRequest,
    key: Box<[u8]>,
    parts: Parts,
    named: NamedBy,
    generation: u64,
    purges: u64,
    trusted_from: UnixTime,
    moment: Moment,
    caller: Rc<Identity>,
    route: usize,
}

impl Learned {
    fn of(routes: usize) -> Self {
        Self((0..routes).map(|_| Vec::new()).collect())
    }
}

impl DecisionCache {
    pub(crate) fn new(
        decisions: Arc<dyn DecisionPoint>,
        shared: Option<SealedAccess>,
        limits: DecisionLimits,
        (hash, plan): (KeyedHash, Arc<Plan>),
        validity: Rc<RefCell<Validity>>,
    ) -> Self {
        Self(Rc::new(Inner {
            decisions,
            shared,
            limits,
            hash,
            learned: RefCell::new(Learned::of(plan.routes.len())),
            plan,
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
            // What it says of itself is not stretched: by then, another answer is the right one.
            && now.since(found.as_of) <= found.verdict.max_age.unwrap_or(max_age).min(max_age)
            && found.generation == self.0.validity.borrow().decisions().generation;
        holds.then(|| found.verdict.clone())
    }

    /// The parts to look an answer up by.
    pub(crate) fn parts(&self, route: usize, subject_kind: &str) -> Parts {
        let learned = self.0.learned.borrow();
        let kinds = learned.0.get(route).map_or(&[][..], Vec::as_slice);
        let known = kinds
            .iter()
            .find(|lesson| *lesson.subject_kind == *subject_kind);
        known.map_or(Parts::WHOLE, |lesson| lesson.parts)
    }

    /// Takes note of what an answer depends on, and files it where the next question looks.
    pub(crate) fn learn(&self, question: &Question<'_>, keys: &Keys<'_>, verdict: &Verdict) {
        let mut parts = Parts::of(keys.named, verdict.vary.as_deref());
        if parts == keys.parts {
            return;
        }
        let generation = self.0.validity.borrow().decisions().generation;
        let mut learned = self.0.learned.borrow_mut();
        let Some(kinds) = learned.0.get_mut(question.route) else {
            return;
        };
        let subject_kind = question.caller.subject.kind.as_str();
        let known = kinds
            .iter()
            .find(|lesson| *lesson.subject_kind == *subject_kind);
        if let Some(lesson) = known.filter(|lesson| lesson.generation == generation) {
            parts = parts.joined(lesson.parts);
            if parts == lesson.parts {
                return;
            }
        }
        if kinds.len() >= KINDS {
            // Whoever makes up types of subjects gains nothing but whole keys for a while.
            kinds.clear();
        }
        kinds.retain(|lesson| *lesson.subject_kind != *subject_kind);
        kinds.push(Lesson {
            subject_kind: subject_kind.into(),
            parts,
            generation,
        });
        if !keys.parts.cover(parts) {
            return;
        }
        let mut key = Vec::new();
        question.key(parts, &mut key);
        let mut known = self.0.known.borrow_mut();
        let kept = self.0.hash.of(keys.kept);
        let again = known
            .find(kept)
            // What is filed there may be another answer by now, to this same question.
            .filter(|found| *found.key == *keys.kept)
            .filter(|found| parts.cover(Parts::of(keys.named, found.verdict.vary.as_deref())))
            .map(|found| Known {
                key: key.as_slice().into(),
                verdict: found.verdict.clone(),
                as_of: found.as_of,
                until: found.until,
                generation: found.generation,
                caller: found.caller.clone(),
                route: found.route,
            });
        if let Some(again) = again {
            known.remove(kept);
            known.insert(self.0.hash.of(&key), again);
        }
    }

    /// Asks, once for all who want to know. `keys.whole` must stand for the whole of `request`.
    pub(crate) async fn ask(
        &self,
        request: EvaluationRequest,
        keys: &Keys<'_>,
        moment: Moment,
    ) -> VerdictResult {
        let epoch = self.0.validity.borrow().decisions();
        let ask = Ask {
            request,
            key: keys.kept.into(),
            parts: keys.parts,
            named: keys.named,
            generation: epoch.generation,
            purges: self.0.validity.borrow().purges(),
            trusted_from: epoch.trusted_from,
            moment,
            caller: keys.whose.caller.clone(),
            route: keys.whose.route,
        };
        if !moment.trusted {
            let evaluation = self.evaluate(&ask).await?;
            let until = moment.unix.plus(self.ttl(&evaluation));
            return Ok((Rc::new(self.verdict(&evaluation, until)), Source::Remote));
        }
        let asking = self.clone();
        // SECURITY: only the same question waits for the same answer. What the answer depends on
        // is not known before it is there.
        let flight = (self.0.hash.of(keys.whole), ask.generation, ask.purges);
        let answer = self.0.flights.join(flight, move || asking.find(ask)).await;
        answer.unwrap_or_else(|| Err(Rc::new(DecisionError::Unavailable(None))))
    }

    /// Asks whoever answers at once: nobody has to wait for the same answer, and what is shared with other gateways
    /// would take longer to find. None: there is nobody, and [`DecisionCache::ask`] asks. `keys` must stand for `asked`.
    pub(crate) fn ask_now(
        &self,
        asked: &Asked<'_>,
        keys: &Keys<'_>,
        moment: Moment,
    ) -> Option<VerdictResult> {
        let evaluation = match self.0.decisions.evaluate_now(asked)? {
            Ok(evaluation) => evaluation,
            Err(error) => return Some(Err(Rc::new(error))),
        };
        let verdict = self.taken(&evaluation, keys, self.heard(), moment);
        Some(Ok((verdict, Source::Remote)))
    }

    /// An answer of the decision point to a question that was asked when that much was `known`: remembered, where it
    /// may be.
    fn taken(
        &self,
        evaluation: &Evaluation,
        keys: &Keys<'_>,
        known: (u64, u64),
        moment: Moment,
    ) -> Rc<Verdict> {
        let ttl = self.ttl(evaluation);
        let until = moment.unix.plus(ttl);
        let verdict = Rc::new(self.verdict(evaluation, until));
        if moment.trusted && !ttl.is_zero() {
            self.remember(keys, known, &verdict, (moment.unix, until));
        }
        verdict
    }

    /// What was heard so far: what voids all answers, and what voids some.
    fn heard(&self) -> (u64, u64) {
        let validity = self.0.validity.borrow();
        (validity.decisions().generation, validity.purges())
    }

    /// Forgets what a purge is about. `route`: whether a route is meant. Whose token it was, decisions do not say.
    pub(crate) fn purge(&self, purge: &Purge, route: impl Fn(usize) -> bool) {
        let of = |known: &Known| match purge {
            Purge::Subject(subject) => known.caller.subject.id == *subject,
            Purge::Client(client) => known.caller.vouched.facts.client_id == *client,
            Purge::Route(_) => route(known.route),
            Purge::Token(_) => false,
            Purge::Everything => true,
        };
        self.0.known.borrow_mut().retain(|known| !of(known));
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
                let verdict = Rc::new(self.verdict(&entry.answer, latest));
                self.remember(
                    &ask.keys(),
                    (ask.generation, ask.purges),
                    &verdict,
                    (entry.as_of, latest),
                );
                return Ok((verdict, Source::L2));
            }
        }
        let evaluation = self.evaluate(&ask).await?;
        let as_of = ask.moment.unix;
        let ttl = self.ttl(&evaluation);
        let verdict = Rc::new(self.verdict(&evaluation, as_of.plus(ttl)));
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
            self.remember(
                &ask.keys(),
                (ask.generation, ask.purges),
                &verdict,
                (as_of, as_of.plus(ttl)),
            );
        }
        Ok((verdict, Source::Remote))
    }

    fn verdict(&self, evaluation: &Evaluation, until: UnixTime) -> Verdict {
        Verdict::of(evaluation, &self.0.plan.abilities, until)
    }

    /// Asks many at once. They are asked anew by each who wants to know; what is answered is remembered, each as
    /// the answer to its own question. With `until_denied`, there are no answers after the first deny.
    pub(crate) async fn ask_many(
        &self,
        asks: Vec<(EvaluationRequest, Keys<'_>)>,
        until_denied: bool,
        moment: Moment,
    ) -> Result<Vec<Rc<Verdict>>, Rc<DecisionError>> {
        let known = self.heard();
        let (entries, keys): (Vec<_>, Vec<_>) = asks.into_iter().unzip();
        let semantic = if until_denied {
            Semantic::DenyOnFirstDeny
        } else {
            Semantic::ExecuteAll
        };
        let request = EvaluationsRequest {
            entries: entries.into_iter().map(Ok).collect(),
            semantic,
        };
        let answers = self.0.decisions.evaluate_many(&request);
        let answers = tokio::time::timeout(self.0.limits.ask, answers)
            .await
            .unwrap_or(Err(DecisionError::Timeout))
            .map_err(Rc::new)?;
        if answers.len() > keys.len() {
            return Err(Rc::new(DecisionError::Internal {
                message: "there are more answers than questions".into(),
            }));
        }
        let answers = keys.iter().zip(&answers);
        let verdicts =
            answers.map(|(keys, evaluation)| self.taken(evaluation, keys, known, moment));
        Ok(verdicts.collect())
    }

    /// For how long an answer may be used.
    fn ttl(&self, evaluation: &Evaluation) -> Duration {
        let longest = self.0.limits.ttl;
        max_age(evaluation).map_or(longest, |age| age.min(longest))
    }

    async fn evaluate(&self, ask: &Ask) -> Result<Evaluation, Rc<DecisionError>> {
        let answer = self.0.decisions.evaluate(&ask.request);
        tokio::time::timeout(self.0.limits.ask, answer)
            .await
            .unwrap_or(Err(DecisionError::Timeout))
            .map_err(Rc::new)
    }

    fn remember(
        &self,
        keys: &Keys<'_>,
        (generation, purges): (u64, u64),
        verdict: &Rc<Verdict>,
        (as_of, until): (UnixTime, UnixTime),
    ) {
        // Policies changed while we asked: the answer may be from before that.
        let validity = self.0.validity.borrow();
        if validity.decisions().generation != generation || validity.purges() != purges {
            return;
        }
        drop(validity);
        // SECURITY: a key must not be narrower than what the answer can depend on.
        if !keys
            .parts
            .cover(Parts::of(keys.named, verdict.vary.as_deref()))
        {
            return;
        }
        let known = Known {
            key: keys.kept.into(),
            verdict: verdict.clone(),
            as_of,
            until,
            generation,
            caller: keys.whose.caller.clone(),
            route: keys.whose.route,
        };
        self.0
            .known
            .borrow_mut()
            .insert(self.0.hash.of(keys.kept), known);
    }
}

impl Ask {
    /// Nobody waits for it by its whole key any more.
    fn keys(&self) -> Keys<'_> {
        Keys {
            whole: &self.key,
            kept: &self.key,
            parts: self.parts,
            named: self.named,
            whose: Whose {
                caller: &self.caller,
                route: self.route,
            },
        }
    }
}
