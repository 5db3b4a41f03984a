//! Many questions, answered from one snapshot: no two entries are decided by different policies.

mod together;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use authzen::{Asked, Decision, DecisionError, Evaluation, RequestError, Semantic};
use futures_util::StreamExt as _;
use futures_util::stream;
use smallvec::SmallVec;
use strict_json::JsonText;
use tokio::time::Instant;

use super::Inner;
use super::decide::Moment;
use crate::answer::{Answer, Id};
use crate::decision_log::{Asker, Lines, Refused};
use crate::mapping::Before;
use crate::snapshot::Snapshot;
use crate::traced;

/// A batch is answered within so long or not at all.
const MANY: Duration = Duration::from_secs(10);

/// After so long others have their turn: one batch must not hold up a thread, which may be the only
/// one.
const TURN: Duration = Duration::from_millis(2);

/// What an entry of a batch turned out to be.
pub(crate) type Entry<'a> = Result<Asked<'a>, RequestError>;

/// What an entry of a batch is answered with.
#[derive(Debug)]
pub(crate) enum Reply<'s> {
    Answer(Answer<'s>),
    /// It is no question, which no policy was asked about.
    Refused(Box<Evaluation>),
}

impl Reply<'_> {
    pub(crate) fn write(&self, text: &mut JsonText) {
        match self {
            Self::Answer(answer) => answer.write(text),
            Self::Refused(evaluation) => text.value(&**evaluation),
        }
    }

    fn decision(&self) -> Decision {
        match self {
            Self::Answer(answer) => answer.decision,
            Self::Refused(evaluation) => evaluation.decision,
        }
    }

    /// `id` names the record of it.
    fn refused(error: &str, id: String) -> Self {
        let mut evaluation = Evaluation::refused(error);
        evaluation.context.id = Some(id);
        Self::Refused(Box::new(evaluation))
    }
}

impl From<Reply<'_>> for Evaluation {
    fn from(reply: Reply<'_>) -> Self {
        match reply {
            Reply::Answer(answer) => answer.into(),
            Reply::Refused(evaluation) => *evaluation,
        }
    }
}

impl Inner {
    pub(crate) async fn decide_many<'s, 'a>(
        &'s self,
        snapshot: &'s Arc<Snapshot>,
        entries: impl ExactSizeIterator<Item = Entry<'a>>,
        semantic: Semantic,
        asker: &Asker,
    ) -> Result<Vec<Reply<'s>>, DecisionError> {
        let (span, asker) = traced::batch(asker, entries.len());
        let replies = if self.knows_all() {
            let many = self.decide_each_now(snapshot, entries, semantic, &asker);
            Self::in_time(many).await
        } else {
            let many = self.decide_each(snapshot, entries.collect(), semantic, &asker);
            Self::in_time(many).await
        };
        let replies = replies.unwrap_or_else(Err);
        traced::finish(span, replies.as_ref().err());
        replies
    }

    async fn decide_each_now<'s, 'a>(
        &'s self,
        snapshot: &'s Arc<Snapshot>,
        mut entries: impl ExactSizeIterator<Item = Entry<'a>>,
        semantic: Semantic,
        asker: &Asker,
    ) -> Result<Vec<Reply<'s>>, DecisionError> {
        let mut batch = together::Batch {
            snapshot,
            asker,
            before: Before::default(),
            lines: self.log.lines(asker),
            replies: Vec::with_capacity(entries.len()),
        };
        // One whose answer may not be wanted is not decided, so that none is logged; and spans are to
        // say how long each took.
        let mut at_once = if semantic == Semantic::ExecuteAll && !asker.is_recorded() {
            together::TOGETHER
        } else {
            1
        };
        // What is asked in one turn is asked at one time.
        let mut turn = self.moment();
        loop {
            let some: SmallVec<[_; together::TOGETHER]> = entries.by_ref().take(at_once).collect();
            if some.is_empty() {
                break;
            }
            let mut moment = Moment {
                started: Instant::now(),
                ..turn
            };
            if moment.started.duration_since(turn.started) > TURN {
                tokio::task::yield_now().await;
                turn = self.moment();
                moment = turn;
            }
            if self.decide_together(&mut batch, &some, moment)? > TURN {
                at_once = 1;
            }
            let last = batch.replies.last();
            if last.is_some_and(|last| semantic.stops_at(last.decision())) {
                break;
            }
        }
        Ok(batch.replies)
    }

    async fn decide_each<'s>(
        &'s self,
        snapshot: &'s Arc<Snapshot>,
        entries: Vec<Entry<'_>>,
        semantic: Semantic,
        asker: &Asker,
    ) -> Result<Vec<Reply<'s>>, DecisionError> {
        let mut replies = Vec::with_capacity(entries.len());
        let asked: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|entry| self.decide_entry(snapshot, entry, asker))
            .collect();
        // One whose answer may not be wanted is not decided, so that none is logged.
        let at_once = if semantic == Semantic::ExecuteAll {
            self.at_once()
        } else {
            1
        };
        let mut decided = pin!(stream::iter(asked).buffered(at_once));
        while let Some(reply) = decided.next().await {
            if is_last(&mut replies, reply?, semantic) {
                break;
            }
        }
        Ok(replies)
    }

    async fn decide_entry<'s>(
        &'s self,
        snapshot: &'s Arc<Snapshot>,
        (at, entry): (usize, &Entry<'_>),
        asker: &Asker,
    ) -> Result<Reply<'s>, DecisionError> {
        let answer = match entry {
            Ok(asked) => self.decide(snapshot, asked, asker).await,
            Err(error) => Err(rejected(error)),
        };
        let (entry, mut lines) = ((at, entry.as_ref().ok()), self.log.lines(asker));
        self.replied(snapshot, entry, answer, &mut lines)
    }

    /// What cannot be used of one entry is no error of the others: it is answered with a deny, and
    /// recorded like any.
    fn replied<'s, 'l, 'a: 'l>(
        &self,
        snapshot: &Snapshot,
        (entry, asked): (usize, Option<&Asked<'a>>),
        answer: Result<Answer<'s>, DecisionError>,
        lines: &mut Lines<'l>,
    ) -> Result<Reply<'s>, DecisionError> {
        let message = match answer {
            Ok(answer) => return Ok(Reply::Answer(answer)),
            Err(DecisionError::Rejected { message }) => message,
            Err(error) => return Err(error),
        };
        let refused = Refused {
            entry,
            asked,
            status: 400,
            message: &message,
        };
        let id = self.refused(snapshot, &refused, lines);
        Ok(Reply::refused(&message, id))
    }

    /// Records an entry of a batch that is no question, and says by which name.
    pub(crate) fn refused<'l>(
        &self,
        snapshot: &Snapshot,
        refused: &Refused<'_, 'l>,
        lines: &mut Lines<'l>,
    ) -> String {
        let (process, count) = self.ids.next_parts();
        let (id, now) = (Id { process, count }, self.clock.now());
        lines.refuse(id, refused, &snapshot.version, now);
        id.to_string()
    }

    /// Bounds a batch: what is read or fetched for one entry after the other could take forever.
    pub(crate) async fn in_time<T>(many: impl Future<Output = T>) -> Result<T, DecisionError> {
        let many = tokio::time::timeout(MANY, many).await;
        many.map_err(|_| DecisionError::Timeout)
    }

    /// So many entries of a batch are completed at once.
    pub(crate) fn at_once(&self) -> usize {
        if self.knows_all() { 1 } else { 64 }
    }
}

/// Takes a reply. True: the batch ends with it.
fn is_last<'s>(replies: &mut Vec<Reply<'s>>, reply: Reply<'s>, semantic: Semantic) -> bool {
    let decision = reply.decision();
    replies.push(reply);
    semantic.stops_at(decision)
}

fn rejected(error: &RequestError) -> DecisionError {
    DecisionError::Rejected {
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
