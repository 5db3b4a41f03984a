//! One question, from what was asked to what is answered: read, completed, decided, counted and
//! logged.

use std::sync::Arc;
use std::time::Duration;

use authzen::{Asked, DecisionError, Evaluation};
use service_kit::traces::Span;
use service_kit::{TraceContext, UnixTime};
use strict_json::Arena;
use tokio::time::Instant;

use super::Inner;
use crate::answer::{Answer, Id, Unavailable};
use crate::attributes::{Held, Incomplete};
use crate::decision_log::{Asker, Lines};
use crate::engine::Question;
use crate::mapping::Before;
use crate::native::Whole;
use crate::second_opinion::Taken;
use crate::snapshot::{Answered, Failure, Read, Snapshot};
use crate::traced;

/// When a question is asked: as the calendar says it, and to see how long it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: UnixTime,
    pub(super) started: Instant,
}

/// A question that is being answered.
pub(super) struct Begun<'s> {
    id: Id<'s>,
    moment: Moment,
    /// It is to be answered a second time.
    sampled: bool,
    span: Option<Span>,
}

impl Inner {
    /// Answers one question from one snapshot, counts it and logs it.
    pub(crate) async fn decide<'s>(
        &'s self,
        snapshot: &'s Arc<Snapshot>,
        asked: &Asked<'_>,
        asker: &Asker,
    ) -> Result<Answer<'s>, DecisionError> {
        if self.knows_all() {
            return self.decide_now(snapshot, asked, asker);
        }
        let mut lines = self.log.lines(asker);
        // In a box of its own: every request's future has room for it, and is moved with it.
        Box::pin(self.decide_completed(snapshot, asked, asker, &mut lines)).await
    }

    /// Nothing that policies read is fetched from elsewhere.
    pub(crate) fn knows_all(&self) -> bool {
        self.providers.is_empty()
    }

    /// Answers one question by what is known here, waiting for nobody: all of it, where that is all.
    pub(crate) fn decide_now<'s>(
        &'s self,
        snapshot: &'s Arc<Snapshot>,
        asked: &Asked<'_>,
        asker: &Asker,
    ) -> Result<Answer<'s>, DecisionError> {
        let mut lines = self.log.lines(asker);
        let mut begun = self.begin(self.moment(), asker);
        let read = snapshot.read_to_decide(asked, begun.moment.now, &mut Before::default());
        let mut answered = Self::answer_read(snapshot, asked, read, &mut begun);
        let took = begun.moment.started.elapsed();
        self.conclude(&mut begun, took, snapshot, asked, &mut answered, &mut lines);
        answered.map(|answered| answered.answer)
    }

    /// Answers what has been read of a question.
    pub(super) fn answer_read<'s>(
        snapshot: &'s Snapshot,
        asked: &Asked<'_>,
        read: Result<Read, DecisionError>,
        begun: &mut Begun<'s>,
    ) -> Result<Answered<'s>, DecisionError> {
        match read? {
            Read::Question(mapped) => {
                traced::about(begun.span.as_mut(), asked);
                snapshot.decide_mapped(mapped, begun.id, begun.sampled)
            }
            Read::Unknown { status, message } => Ok(snapshot.unasked(status, &message, begun.id)),
        }
    }

    /// Answers one question, and first has fetched what only providers know.
    async fn decide_completed<'s, 'l, 'a: 'l>(
        &'s self,
        snapshot: &'s Arc<Snapshot>,
        asked: &Asked<'a>,
        asker: &Asker,
        lines: &mut Lines<'l>,
    ) -> Result<Answer<'s>, DecisionError> {
        let mut begun = self.begin(self.moment(), asker);
        let mut answered = self
            .answer_completed(snapshot, asked, asker, &mut begun)
            .await;
        let took = begun.moment.started.elapsed();
        self.conclude(&mut begun, took, snapshot, asked, &mut answered, lines);
        answered.map(|answered| answered.answer)
    }

    async fn answer_completed<'s>(
        &'s self,
        snapshot: &'s Arc<Snapshot>,
        asked: &Asked<'_>,
        asker: &Asker,
        begun: &mut Begun<'s>,
    ) -> Result<Answered<'s>, DecisionError> {
        let id = begun.id;
        let read = snapshot.read(asked, begun.moment.now, &mut Before::default())?;
        let mut mapped = match read {
            Read::Unknown { status, message } => return Ok(snapshot.unasked(status, &message, id)),
            Read::Question(mapped) => mapped,
        };
        traced::about(begun.span.as_mut(), asked);
        let within = asker.within(begun.span.as_ref());
        let completed = self.complete(snapshot, &mut mapped.question, within);
        match completed.await? {
            Err(unavailable) => Ok(snapshot.unavailable(&unavailable, id)),
            Ok(held) => {
                let mut answered = snapshot.decide_mapped(mapped, id, begun.sampled)?;
                held.limit(&mut answered.answer.cache);
                Ok(answered)
            }
        }
    }

    /// Answers one question in Cedar's words, counted and logged like any; also says which
    /// policies could not be evaluated, and why.
    pub(crate) async fn authorize(
        &self,
        snapshot: &Arc<Snapshot>,
        whole: Whole<'_>,
        asker: &Asker,
    ) -> Result<(Evaluation, Vec<Failure>), DecisionError> {
        let Whole {
            mut question,
            shown,
            brought,
        } = whole;
        let arena = Arena::new();
        let lent = shown.lend(&arena);
        let asked = lent.asked();
        let mut lines = self.log.lines(asker).with_entities(brought);
        let mut begun = self.begin(self.moment(), asker);
        traced::about(begun.span.as_mut(), &asked);
        let within = asker.within(begun.span.as_ref());
        // SECURITY: what was sent, and not what was taken of it, which tells what is stored already.
        let brings_entities = !brought.is_empty();
        let mut answered = match self.complete(snapshot, &mut question, within).await {
            Ok(Ok(held)) => {
                let answered =
                    snapshot.decide_native(question, brings_entities, begun.id, begun.sampled);
                answered.map(|mut answered| {
                    held.limit(&mut answered.answer.cache);
                    answered
                })
            }
            Ok(Err(unavailable)) => Ok(snapshot.unavailable(&unavailable, begun.id)),
            Err(error) => Err(error),
        };
        let took = begun.moment.started.elapsed();
        self.conclude(
            &mut begun,
            took,
            snapshot,
            &asked,
            &mut answered,
            &mut lines,
        );
        answered.map(|answered| (answered.answer.into(), answered.failures))
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            now: self.clock.now(),
            started: Instant::now(),
        }
    }

    pub(super) fn begin(&self, moment: Moment, asker: &Asker) -> Begun<'_> {
        let (process, count) = self.ids.next_parts();
        Begun {
            id: Id { process, count },
            moment,
            sampled: self.second_opinion.is_wanted(),
            span: asker.part("decide"),
        }
    }

    /// Counts an answer, logs it, and hands it on for a second opinion.
    pub(super) fn conclude<'l, 'a: 'l>(
        &self,
        begun: &mut Begun<'_>,
        took: Duration,
        snapshot: &Arc<Snapshot>,
        asked: &Asked<'a>,
        answered: &mut Result<Answered<'_>, DecisionError>,
        lines: &mut Lines<'l>,
    ) {
        let mut span = begun.span.take();
        if let Ok(answered) = answered {
            traced::decided(span.as_mut(), &answered.answer);
        }
        traced::finish(span, answered.as_ref().err());
        let answered = match answered {
            Ok(answered) => answered,
            Err(DecisionError::Rejected { .. }) => return self.meters.rejected.inc(),
            Err(_) => return,
        };
        if let Some(decided) = answered.decided.take() {
            let (question, verdict) = *decided;
            self.second_opinion.take(Taken {
                id: begun.id.to_string(),
                snapshot: Arc::clone(snapshot),
                question,
                verdict,
            });
        }
        self.count(answered, took);
        lines.record(asked, answered, begun.moment.now, took);
    }

    fn count(&self, answered: &Answered<'_>, took: Duration) {
        let meters = &self.meters;
        meters.duration.observe(took.as_secs_f64());
        meters.decision(answered.answer.decision);
        if answered.unknown_attributes > 0 {
            meters
                .unknown_attributes
                .inc_by(answered.unknown_attributes);
        }
        if answered.failures.is_empty() {
            return;
        }
        meters.policy_errors.inc_by(answered.failures.len() as u64);
        for failure in &answered.failures {
            let Failure {
                policy,
                message,
                place,
            } = failure;
            let place = place.as_deref().unwrap_or_default();
            if answered.denied_by_failure {
                tracing::warn!(
                    policy,
                    place,
                    error = message,
                    "denied: a policy could not be evaluated"
                );
            } else {
                tracing::debug!(
                    policy,
                    place,
                    error = message,
                    "a policy could not be evaluated"
                );
            }
        }
    }

    /// Fetches what policies read of a question and providers have.
    pub(crate) async fn complete(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
        within: Option<&TraceContext>,
    ) -> Result<Result<Held, Unavailable>, DecisionError> {
        if self.knows_all() {
            return Ok(Ok(Held::default()));
        }
        match self.providers.complete(snapshot, question, within).await {
            Ok(held) => Ok(Ok(held)),
            Err(Incomplete::Unavailable(unavailable)) => Ok(Err(unavailable)),
            Err(error @ Incomplete::Slice(_)) => Err(error.into()),
        }
    }
}
