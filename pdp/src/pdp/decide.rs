//! One question, from what was asked to what is answered: read, completed, decided, counted and
//! logged.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use authzen::{
    DecisionError, Evaluation, EvaluationRequest, EvaluationsRequest, RequestError, Semantic,
};
use futures_util::StreamExt as _;
use futures_util::stream;
use service_kit::TraceContext;
use service_kit::traces::Span;
use tokio::time::Instant;

use super::Inner;
use crate::attributes::{Held, Incomplete, Unavailable};
use crate::decision_log::Asker;
use crate::engine::Question;
use crate::native::Whole;
use crate::second_opinion::Taken;
use crate::snapshot::{Answered, Failure, Read, Snapshot};
use crate::traced;

/// Where attributes are fetched, a batch is answered within so long or not at all.
const MANY: Duration = Duration::from_secs(10);

impl Inner {
    /// Answers one question from one snapshot, counts it and logs it.
    pub(crate) async fn decide(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &EvaluationRequest,
        asker: &Asker,
    ) -> Result<Evaluation, DecisionError> {
        let started = Instant::now();
        let mut span = asker.part("decide");
        let answered = self.answer(snapshot, request, asker, span.as_mut()).await;
        traced::finish(span, answered.as_ref().err());
        let mut answered = answered?;
        self.account(snapshot, request, &mut answered, asker, started.elapsed());
        Ok(answered.evaluation)
    }

    async fn answer(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &EvaluationRequest,
        asker: &Asker,
        mut span: Option<&mut Span>,
    ) -> Result<Answered, DecisionError> {
        let sampled = self.second_opinion.is_wanted();
        let id = self.ids.next();
        let read = snapshot.read(request, self.clock.now()).inspect_err(|_| {
            self.meters.rejected.inc();
        })?;
        let answered = match read {
            Read::Unknown { status, message } => snapshot.unasked(status, &message, id),
            Read::Question(mut mapped) => {
                traced::about(span.as_deref_mut(), request);
                let within = asker.within(span.as_deref());
                match self
                    .complete(snapshot, &mut mapped.question, within)
                    .await?
                {
                    Err(unavailable) => snapshot.unavailable(&unavailable, id),
                    Ok(held) => {
                        let mut answered = snapshot.decide_mapped(request, mapped, id, sampled)?;
                        held.limit(&mut answered.evaluation);
                        answered
                    }
                }
            }
        };
        traced::decided(span, &answered.evaluation);
        Ok(answered)
    }

    /// Answers one question in Cedar's words, counted and logged like any; also says which
    /// policies could not be evaluated, and why.
    pub(crate) async fn authorize(
        &self,
        snapshot: &Arc<Snapshot>,
        asked: Whole,
        asker: &Asker,
    ) -> Result<(Evaluation, Vec<Failure>), DecisionError> {
        let started = Instant::now();
        let Whole { question, shown } = asked;
        let mut span = asker.part("decide");
        traced::about(span.as_mut(), &shown);
        let within = asker.within(span.as_ref());
        let answered = self.answer_whole(snapshot, question, within).await;
        if let Ok(answered) = &answered {
            traced::decided(span.as_mut(), &answered.evaluation);
        }
        traced::finish(span, answered.as_ref().err());
        let mut answered = answered?;
        self.account(snapshot, &shown, &mut answered, asker, started.elapsed());
        Ok((answered.evaluation, answered.failures))
    }

    async fn answer_whole(
        &self,
        snapshot: &Arc<Snapshot>,
        mut question: Question,
        within: Option<&TraceContext>,
    ) -> Result<Answered, DecisionError> {
        let sampled = self.second_opinion.is_wanted();
        let id = self.ids.next();
        match self.complete(snapshot, &mut question, within).await? {
            Ok(_) => snapshot.decide(question, id, sampled),
            Err(unavailable) => Ok(snapshot.unavailable(&unavailable, id)),
        }
    }

    /// Fetches what policies read of a question and providers have.
    pub(crate) async fn complete(
        &self,
        snapshot: &Snapshot,
        question: &mut Question,
        within: Option<&TraceContext>,
    ) -> Result<Result<Held, Unavailable>, DecisionError> {
        if self.providers.is_empty() {
            return Ok(Ok(Held::default()));
        }
        match self.providers.complete(snapshot, question, within).await {
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
        let (span, asker) = traced::batch(asker, request.entries.len());
        let many = self.decide_each(request, &asker);
        let answers = self.in_time(many).await.unwrap_or_else(Err);
        traced::finish(span, answers.as_ref().err());
        answers
    }

    /// Bounds a batch: what is fetched for one entry after the other could take forever.
    pub(crate) async fn in_time<T>(
        &self,
        many: impl Future<Output = T>,
    ) -> Result<T, DecisionError> {
        if self.providers.is_empty() {
            return Ok(many.await);
        }
        let many = tokio::time::timeout(MANY, many).await;
        many.map_err(|_| DecisionError::Timeout)
    }

    async fn decide_each(
        &self,
        request: &EvaluationsRequest,
        asker: &Asker,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        let snapshot = &self.snapshot.load_full();
        let mut evaluations = Vec::with_capacity(request.entries.len());
        let entries = request.entries.iter();
        let answers: Vec<_> = entries
            .map(|entry| self.decide_entry(snapshot, entry, asker))
            .collect();
        // One whose answer may not be wanted is not decided, so that none is logged.
        let at_once = if request.semantic == Semantic::ExecuteAll {
            self.at_once()
        } else {
            1
        };
        let mut answers = pin!(stream::iter(answers).buffered(at_once));
        while let Some(evaluation) = answers.next().await {
            let evaluation = evaluation?;
            let decision = evaluation.decision;
            evaluations.push(evaluation);
            if request.semantic.stops_at(decision) {
                break;
            }
        }
        Ok(evaluations)
    }

    async fn decide_entry(
        &self,
        snapshot: &Arc<Snapshot>,
        entry: &Result<EvaluationRequest, RequestError>,
        asker: &Asker,
    ) -> Result<Evaluation, DecisionError> {
        match entry {
            Ok(entry) => match self.decide(snapshot, entry, asker).await {
                Err(DecisionError::Rejected { message }) => Ok(Evaluation::refused(&message)),
                answer => answer,
            },
            Err(error) => Ok(Evaluation::refused(&error.to_string())),
        }
    }

    /// So many entries of a batch are completed at once.
    pub(crate) fn at_once(&self) -> usize {
        if self.providers.is_empty() { 1 } else { 64 }
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
