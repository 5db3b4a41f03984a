//! A decision service that checks itself: a sample of the decisions is taken again by Cedar's plain
//! authorizer, off the request path. A disagreement is a defect of ours: it is counted and logged
//! loudly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{IntCounter, IntCounterVec};
use service_kit::metrics::MetricError;
use service_kit::{Metrics, Tasks};
use tokio::sync::mpsc;

use crate::engine::{Question, Verdict};
use crate::snapshot::Snapshot;

/// Takes decisions to be taken again.
#[derive(Debug)]
pub(crate) struct SecondOpinion {
    /// Every so many decisions; 0 is never.
    every: u64,
    decisions: AtomicU64,
    queue: mpsc::Sender<Taken>,
    skipped: IntCounter,
}

/// A decision that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) id: String,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) question: Question,
    pub(crate) verdict: Verdict,
}

/// What became of the second opinions.
#[derive(Debug, Clone)]
struct Results(IntCounterVec);

/// More than these do not wait: the sample is thinned rather than anything delayed.
const WAITING: usize = 64;

impl SecondOpinion {
    /// Begins to listen, where there is a runtime to listen in.
    pub(crate) fn start(every: u64, metrics: &Metrics, tasks: &Tasks) -> Result<Self, MetricError> {
        let results = Results(metrics.counters(
            "pdp_second_opinions_total",
            "Sampled decisions by what Cedar's plain authorizer says of them: `agrees`, \
             `disagrees` (a defect: see the log), `failed`, or `skipped` for lack of time.",
            &["result"],
        )?);
        let skipped = results.0.with_label_values(&["skipped"]);
        for result in ["agrees", "disagrees", "failed"] {
            results.0.with_label_values(&[result]).inc_by(0);
        }
        let (queue, mut waiting) = mpsc::channel::<Taken>(WAITING);
        if every > 0 && tokio::runtime::Handle::try_current().is_ok() {
            let draining = tasks.draining();
            tasks.spawn(async move {
                loop {
                    let taken = tokio::select! {
                        taken = waiting.recv() => taken,
                        () = draining.cancelled() => None,
                    };
                    let Some(taken) = taken else {
                        return;
                    };
                    let results = results.clone();
                    // Walking every policy takes its time: not on a thread that answers.
                    let asked = tokio::task::spawn_blocking(move || results.compare(&taken));
                    if asked.await.is_err() {
                        tracing::error!("a second opinion could not be taken");
                    }
                }
            });
        }
        Ok(Self {
            every,
            decisions: AtomicU64::new(0),
            queue,
            skipped,
        })
    }

    /// Whether this decision is one of the sample.
    pub(crate) fn is_wanted(&self) -> bool {
        self.every > 0
            && self
                .decisions
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(self.every)
    }

    /// Hands a decision over and does not wait.
    pub(crate) fn take(&self, taken: Taken) {
        if self.queue.try_send(taken).is_err() {
            self.skipped.inc();
        }
    }
}

impl Results {
    fn compare(&self, taken: &Taken) {
        let result = match taken.snapshot.by_cedar(&taken.question) {
            Ok(cedar) if taken.verdict.agrees_with(&cedar) => "agrees",
            Ok(cedar) => {
                tracing::error!(
                    decision = taken.id,
                    snapshot = taken.snapshot.version.version,
                    principal = %taken.question.principal,
                    action = %taken.question.action,
                    resource = %taken.question.resource,
                    ours = ?taken.verdict,
                    cedar = ?cedar,
                    "a decision differs from Cedar's own authorizer: report this as a defect"
                );
                "disagrees"
            }
            Err(error) => {
                tracing::error!(%error, "a second opinion could not be taken");
                "failed"
            }
        };
        self.0.with_label_values(&[result]).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use authzen::EvaluationRequest;
    use serde_json::json;
    use service_kit::UnixTime;

    use super::*;
    use crate::fixture::{Fixture, answer};

    fn taken(change: impl FnOnce(&mut Verdict)) -> (Fixture, Taken) {
        let fixture = Fixture::new();
        let pdp = fixture.open();
        let snapshot = pdp.0.snapshot.load_full();
        let request = json!({ "subject": { "type": "user", "id": "ben" },
            "action": { "name": "GET /docs/{id}" },
            "resource": { "type": "urn:x:doc", "id": "d1" } });
        let request = EvaluationRequest::from_json(request.to_string().as_bytes()).unwrap();
        let answered = answer(&snapshot, &request, UnixTime::from_secs(0));
        let (question, mut verdict) = answered.unwrap().decided.unwrap();
        change(&mut verdict);
        let id = "one".into();
        let taken = Taken {
            id,
            snapshot,
            question,
            verdict,
        };
        (fixture, taken)
    }

    fn results() -> Results {
        Results(
            Metrics::new()
                .counters("second_opinions", "of a test", &["result"])
                .unwrap(),
        )
    }

    #[test]
    fn a_disagreement_is_counted() {
        for (change, expected) in [
            ((|_| ()) as fn(&mut Verdict), "agrees"),
            (|verdict| verdict.permitted = false, "disagrees"),
            (
                |verdict| verdict.determining = BTreeSet::from(["public".into()]),
                "disagrees",
            ),
            (
                |verdict| verdict.failing = BTreeSet::from(["barred".into()]),
                "disagrees",
            ),
        ] {
            let (_fixture, taken) = taken(change);
            let results = results();
            results.compare(&taken);
            for result in ["agrees", "disagrees", "failed"] {
                let count = results.0.with_label_values(&[result]).get();
                assert_eq!(count, u64::from(result == expected), "{result}");
            }
        }
    }

    #[tokio::test]
    async fn the_sample_is_as_thin_as_configured_and_nothing_waits() {
        let tasks = Tasks::new();
        let opinion = SecondOpinion::start(3, &Metrics::new(), &tasks).unwrap();
        let wanted: Vec<bool> = (0..7).map(|_| opinion.is_wanted()).collect();
        assert_eq!(wanted, [true, false, false, true, false, false, true]);
        let never = SecondOpinion::start(0, &Metrics::new(), &tasks).unwrap();
        assert!((0..100).all(|_| !never.is_wanted()));
        // Nobody takes anything off the queue of an opinion that never starts.
        for _ in 0..WAITING + 5 {
            never.take(taken(|_| ()).1);
        }
        assert!(never.skipped.get() >= 5);
    }
}
