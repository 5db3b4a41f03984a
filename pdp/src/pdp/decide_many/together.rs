//! A few entries of a batch at once: all of them are read, then all decided, then all recorded. What one
//! step takes of code fits into the processor's cache. What the three take does not: entry by entry, all
//! of it would be fetched anew for each.

use std::sync::Arc;
use std::time::Duration;

use authzen::{Asked, DecisionError, RequestError};

use super::{Entry, Reply, rejected};
use crate::answer::Answer;
use crate::decision_log::{Asker, Lines};
use crate::mapping::Before;
use crate::pdp::Inner;
use crate::pdp::decide::{Begun, Moment};
use crate::snapshot::{Answered, Read, Snapshot};

/// So many at most: what is read of more would not fit into the cache either.
pub(super) const TOGETHER: usize = 16;

/// A question between two steps, with what the last one gave.
struct Step<'e, 's, 'a, T> {
    asked: &'e Asked<'a>,
    begun: Begun<'s>,
    so_far: Result<T, DecisionError>,
}

/// What all entries share.
pub(super) struct Batch<'s, 'l, 'a> {
    pub(super) snapshot: &'s Arc<Snapshot>,
    pub(super) asker: &'l Asker,
    /// Of the question before.
    pub(super) before: Before<'s, 'a>,
    pub(super) lines: Lines<'l>,
    pub(super) replies: Vec<Reply<'s>>,
}

impl Inner {
    /// Answers the entries that follow those that are answered. Says how long it took.
    pub(super) fn decide_together<'s, 'l, 'a: 'l>(
        &'s self,
        batch: &mut Batch<'s, 'l, 'a>,
        entries: &[Entry<'a>],
        moment: Moment,
    ) -> Result<Duration, DecisionError> {
        let snapshot = batch.snapshot;
        let read = |asked| Step {
            asked,
            begun: self.begin(moment, batch.asker),
            so_far: snapshot.read_to_decide(asked, moment.now, &mut batch.before),
        };
        let read: Vec<_> = each(entries.iter().map(Entry::as_ref), read);
        let answered: Vec<_> = each(read, |step| step.answered(snapshot));
        let took = moment.started.elapsed();
        let share = took / u32::try_from(entries.len()).unwrap_or(u32::MAX).max(1);
        for step in answered {
            let (asked, answer) = match step {
                Ok(step) => (Some(step.asked), self.recorded(step, share, batch)),
                Err(error) => (None, Err(rejected(error))),
            };
            let entry = (batch.replies.len(), asked);
            let reply = self.replied(snapshot, entry, answer, &mut batch.lines)?;
            batch.replies.push(reply);
        }
        Ok(took)
    }

    fn recorded<'s, 'l, 'a: 'l>(
        &self,
        mut step: Step<'_, 's, 'a, Answered<'s>>,
        took: Duration,
        batch: &mut Batch<'s, 'l, 'a>,
    ) -> Result<Answer<'s>, DecisionError> {
        let Step {
            asked,
            begun,
            so_far,
        } = &mut step;
        self.conclude(begun, took, batch.snapshot, asked, so_far, &mut batch.lines);
        step.so_far.map(|answered| answered.answer)
    }
}

impl<'e, 's, 'a> Step<'e, 's, 'a, Read> {
    fn answered(mut self, snapshot: &'s Snapshot) -> Step<'e, 's, 'a, Answered<'s>> {
        Step {
            so_far: Inner::answer_read(snapshot, self.asked, self.so_far, &mut self.begun),
            asked: self.asked,
            begun: self.begun,
        }
    }
}

/// Takes a step with each that is a question.
fn each<'e, T, U>(
    entries: impl IntoIterator<Item = Result<T, &'e RequestError>>,
    mut step: impl FnMut(T) -> U,
) -> Vec<Result<U, &'e RequestError>> {
    let entries = entries.into_iter();
    entries.map(|entry| entry.map(&mut step)).collect()
}
