//! One question, from what was asked to what is answered: read, completed, decided, counted and
//! logged.

use std::sync::Arc;

use authzen::{DecisionError, Evaluation, EvaluationRequest, EvaluationsRequest};
use tokio::time::Instant;

use super::Inner;
use crate::attributes::{Held, Incomplete, Unavailable};
use crate::decision_log::Asker;
use crate::engine::Question;
use crate::native::Whole;
use crate::second_opinion::Taken;
use crate::snapshot::{Answered, Failure, Read, Snapshot};

impl Inner {
    /// Answers one question from one snapshot, counts it and logs it.
    pub(crate) async fn decide(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &EvaluationRequest,
        asker: &Asker,
    ) -> Result<Evaluation, DecisionError> {
        let started = Instant::now();
        let sampled = self.second_opinion.is_wanted();
        let id = self.ids.next();
        let read = snapshot.read(request).inspect_err(|_| {
            self.meters.rejected.inc();
        })?;
        let mut answered = match read {
            Read::Unknown { status, message } => snapshot.unasked(status, &message, id),
            Read::Question(mut mapped) => {
                match self.complete(snapshot, &mut mapped.question).await? {
                    Err(unavailable) => snapshot.unavailable(&unavailable, id),
                    Ok(held) => {
                        let mut answered = snapshot.decide_mapped(request, mapped, id, sampled)?;
                        held.limit(&mut answered.evaluation);
                        answered
                    }
                }
            }
        };
        self.account(snapshot, request, &mut answered, asker, started.elapsed());
        Ok(answered.evaluation)
    }

    /// Answers one question in Cedar's words, counted and logged like any; also says which
    /// policies could not be evaluated, and why.
    pub(crate) async fn authorize(
        &self,
        snapshot: &Arc<Snapshot>,
        mut asked: Whole,
        asker: &Asker,
    ) -> Result<(Evaluation, Vec<Failure>), DecisionError> {
        let started = Instant::now();
        let sampled = self.second_opinion.is_wanted();
        let id = self.ids.next();
        let mut answered = match self.complete(snapshot, &mut asked.question).await? {
            Ok(_) => snapshot.decide(asked.question, id, sampled)?,
            Err(unavailable) => snapshot.unavailable(&unavailable, id),
        };
        let shown = &asked.shown;
        self.account(snapshot, shown, &mut answered, asker, started.elapsed());
        Ok((answered.evaluation, answered.failures))
    }

    /// Fetches what policies read of a question and providers have.
    pub(crate) async fn complete(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
    ) -> Result<Result<Held, Unavailable>, DecisionError> {
        if self.providers.is_empty() {
            return Ok(Ok(Held::default()));
        }
        match self.providers.complete(snapshot, question).await {
            Ok(held) => Ok(Ok(held)),
            Err(Incomplete::Unavailable(unavailable)) => Ok(Err(unavailable)),
            Err(Incomplete::Slice(error)) => Err(DecisionError::Internal {
                message: error.to_string(),
            }),
        }
    }

    /// Answers many from one snapshot: no two entries are decided by different policies.
    pub(crate) async fn decide_many(
        &self,
        request: &EvaluationsRequest,
        asker: &Asker,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        let snapshot = self.snapshot.load_full();
        let mut evaluations = Vec::with_capacity(request.entries.len());
        for entry in &request.entries {
            let evaluation = match entry {
                Ok(entry) => match self.decide(&snapshot, entry, asker).await {
                    Ok(evaluation) => evaluation,
                    Err(DecisionError::Rejected { message }) => Evaluation::refused(&message),
                    Err(error) => return Err(error),
                },
                Err(error) => Evaluation::refused(&error.to_string()),
            };
            let decision = evaluation.decision;
            evaluations.push(evaluation);
            if request.semantic.stops_at(decision) {
                break;
            }
        }
        Ok(evaluations)
    }

    /// Counts an answer, logs it, and hands it on for a second opinion.
    fn account(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &EvaluationRequest,
        answered: &mut Answered,
        asker: &Asker,
        took: std::time::Duration,
    ) {
        if let Some((question, verdict)) = answered.decided.take() {
            self.second_opinion.take(Taken {
                id: answered.evaluation.context.id.clone().unwrap_or_default(),
                snapshot: Arc::clone(snapshot),
                question,
                verdict,
            });
        }
        self.meters.duration.observe(took.as_secs_f64());
        self.meters.decision(answered.evaluation.decision);
        self.meters
            .unknown_attributes
            .inc_by(answered.unknown_attributes);
        self.meters
            .policy_errors
            .inc_by(answered.failures.len() as u64);
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
        self.log
            .record(request, answered, asker, self.clock.now(), took);
        self.meters
            .log_lost(self.log.dropped(), self.log.left_out());
    }
}
