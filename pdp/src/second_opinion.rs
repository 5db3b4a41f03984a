//! A decision service that checks itself: a sample of the decisions is taken again by Cedar's plain
//! authorizer, off the request path. A disagreement is a defect of ours: it is counted and logged
//! loudly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prometheus::{IntCounter, IntCounterVec};
use service_kit::metrics::MetricError;
use service_kit::{Metrics, Tasks};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::Sample;
use crate::engine::{Question, Verdict};
use crate::snapshot::Snapshot;

/// Takes decisions to be taken again.
#[derive(Debug)]
pub(crate) struct SecondOpinion {
    sample: Sample,
    decisions: AtomicU64,
    /// One is being taken, or the time that it took is not made up for yet.
    is_busy: Arc<AtomicBool>,
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

impl SecondOpinion {
    /// Begins to listen, where there is a runtime to listen in.
    pub(crate) fn start(
        sample: Sample,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, MetricError> {
        let results = Results(metrics.counters(
            "pdp_second_opinions_total",
            "Sampled decisions by what Cedar's plain authorizer says of them: `agrees`, \
             `disagrees` (a defect: see the log), `failed`, or `skipped` since they would take too much time.",
            &["result"],
        )?);
        let skipped = results.0.with_label_values(&["skipped"]);
        for result in ["agrees", "disagrees", "failed"] {
            results.0.with_label_values(&[result]).inc_by(0);
        }
        let (queue, mut waiting) = mpsc::channel::<Taken>(1);
        let is_busy = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&is_busy);
        if sample.every > 0 && tokio::runtime::Handle::try_current().is_ok() {
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
                    let started = Instant::now();
                    // Walking every policy takes its time: not on a thread that answers.
                    let asked = tokio::task::spawn_blocking(move || results.compare(&taken));
                    if asked.await.is_err() {
                        tracing::error!("a second opinion could not be taken");
                    }
                    let rest = sample.percent.rest(started.elapsed());
                    if draining
                        .run_until_cancelled(tokio::time::sleep(rest))
                        .await
                        .is_none()
                    {
                        return;
                    }
                    busy.store(false, Ordering::Relaxed);
                }
            });
        }
        Ok(Self {
            sample,
            decisions: AtomicU64::new(0),
            is_busy,
            queue,
            skipped,
        })
    }

    /// Whether this decision is one of the sample.
    pub(crate) fn is_wanted(&self) -> bool {
        let every = self.sample.every;
        if every == 0
            || !self
                .decisions
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(every)
        {
            return false;
        }
        let is_busy = self.is_busy.load(Ordering::Relaxed);
        if is_busy {
            self.skipped.inc();
        }
        !is_busy
    }

    /// Hands a decision over and does not wait.
    pub(crate) fn take(&self, taken: Taken) {
        let is_busy = self.is_busy.swap(true, Ordering::Relaxed);
        if is_busy || self.queue.try_send(taken).is_err() {
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
    use std::time::Duration;

    use authzen::EvaluationRequest;
    use serde_json::json;
    use service_kit::UnixTime;

    use super::*;
    use crate::config::Percent;
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
        let (question, mut verdict) = *answered.unwrap().decided.unwrap();
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

    fn sample(every: u64, percent: f64) -> Sample {
        let percent = Percent::new(percent).unwrap();
        Sample { every, percent }
    }

    #[tokio::test]
    async fn the_sample_is_as_thin_as_configured_and_nothing_waits() {
        let tasks = Tasks::new();
        let start = |every| SecondOpinion::start(sample(every, 100.0), &Metrics::new(), &tasks);
        let opinion = start(3).unwrap();
        let wanted: Vec<bool> = (0..7).map(|_| opinion.is_wanted()).collect();
        assert_eq!(wanted, [true, false, false, true, false, false, true]);
        let never = start(0).unwrap();
        assert!((0..100).all(|_| !never.is_wanted()));
        // Nobody listens to an opinion that never starts: what is handed over is dropped.
        for _ in 0..3 {
            never.take(taken(|_| ()).1);
        }
        assert_eq!(never.skipped.get(), 3);
    }

    /// How many of so many decisions, a millisecond after each other, are taken again, and skipped.
    async fn taken_again(percent: f64, decisions: u64) -> (u64, u64) {
        let (metrics, tasks) = (Metrics::new(), Tasks::new());
        let opinion = SecondOpinion::start(sample(1, percent), &metrics, &tasks).unwrap();
        let (_fixture, taken) = taken(|_| ());
        // Made at its first use.
        taken.snapshot.by_cedar(&taken.question).unwrap();
        for _ in 0..decisions {
            if opinion.is_wanted() {
                let (snapshot, question) = (Arc::clone(&taken.snapshot), taken.question.clone());
                opinion.take(Taken {
                    id: taken.id.clone(),
                    snapshot,
                    question,
                    verdict: taken.verdict.clone(),
                });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let skipped = opinion.skipped.get();
        (decisions - skipped, skipped)
    }

    #[tokio::test]
    async fn many_decisions_take_no_more_than_their_part_of_the_time() {
        let (all, _) = taken_again(100.0, 300).await;
        let (few, skipped) = taken_again(1.0, 300).await;
        assert!(few >= 1 && skipped > 0, "{few} and {skipped}");
        assert!(few * 3 < all, "{few} of {all}");
    }
}
