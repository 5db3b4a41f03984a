//! The candidates of a search, each of which is decided like any question: at once, or where
//! policies read of it what a provider has, when that has been fetched.

use std::pin::pin;
use std::time::Duration;

use authzen::{DecisionError, Found};
use cedar_policy_core::ast::{EntityUID, Var};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::Instant;

use super::PageFound;
use super::pager::Pager;
use super::partial::Remainder;
use super::plan::Ground;
use crate::answer::{Answer, Id};
use crate::attributes::Asking;
use crate::engine::Question;
use crate::entities::id;
use crate::snapshot::Snapshot;

/// A page for which providers are asked ends after so long, and says where to go on.
pub(super) const LONGEST: Duration = Duration::from_secs(1);

/// So many candidates are completed at once, where as many results are wanted and their providers
/// take so many.
const AT_ONCE: usize = 64;

/// At least so many are completed at once: of what is fetched ahead, no more is fetched in vain.
const AHEAD: usize = 8;

/// Candidates in their order.
pub(super) struct Candidates<'c> {
    pub(super) candidates: Box<dyn Iterator<Item = &'c EntityUID> + 'c>,
    /// Their type in AuthZEN's words.
    pub(super) kind: &'c str,
    /// Each takes its place in it.
    pub(super) question: Question,
    pub(super) ground: Ground<'c>,
    pub(super) remainder: &'c Remainder,
}

impl Candidates<'_> {
    /// Decides one after the other until the page is full.
    pub(super) fn decide(
        self,
        snapshot: &Snapshot,
        mut page: Pager<'_>,
    ) -> Result<PageFound, DecisionError> {
        let Self {
            candidates,
            kind,
            mut question,
            ground,
            remainder,
        } = self;
        for uid in candidates {
            let is_last = if remainder.plan.admits(uid, ground) {
                put(&mut question, ground.sought, uid);
                let answer = remainder.decide(snapshot, &question)?;
                page.take(id(uid), Some(answer), || found(kind, uid))
            } else {
                page.look(id(uid))
            };
            if is_last {
                break;
            }
        }
        Ok(page.done())
    }

    /// The same, where each is completed first. Some are fetched for ahead; they are decided in
    /// their order all the same. One that cannot be completed is not known to be permitted or not,
    /// and neither is then what belongs on the page.
    pub(super) async fn complete_and_decide(
        self,
        snapshot: &Snapshot,
        asking: &Asking<'_>,
        mut page: Pager<'_>,
    ) -> Result<PageFound, DecisionError> {
        let Self {
            candidates,
            kind,
            question,
            ground,
            remainder,
        } = self;
        page.end_at(Instant::now() + LONGEST);
        let wanted = page.room().saturating_add(1).max(AHEAD);
        let at_once = wanted.min(AT_ONCE).min(ground.known.at_once).max(1);
        let question = &question;
        let completing = candidates.map(|uid| {
            let is_admitted = remainder.plan.admits(uid, ground);
            async move {
                if !is_admitted {
                    return Ok((uid, None));
                }
                let mut question = question.clone();
                put(&mut question, ground.sought, uid);
                asking
                    .complete_candidate(snapshot, &mut question, ground.known)
                    .await?;
                Ok::<_, DecisionError>((uid, Some(question)))
            }
        });
        let mut completed = pin!(stream::iter(completing).buffered(at_once));
        while let Some(next) = completed.next().await {
            let is_last = match next? {
                (uid, Some(question)) => {
                    let answer = remainder.decide(snapshot, &question)?;
                    page.take(id(uid), Some(answer), || found(kind, uid))
                }
                (uid, None) => page.look(id(uid)),
            };
            if is_last {
                break;
            }
        }
        Ok(page.done())
    }
}

impl Remainder {
    fn decide<'s>(
        &self,
        snapshot: &'s Snapshot,
        question: &Question,
    ) -> Result<Answer<'s>, DecisionError> {
        let rules = &snapshot.loaded.rules;
        let outcome = rules
            .decide_among(&self.live, question, &snapshot.store)
            .map_err(|error| DecisionError::Internal {
                message: error.to_string(),
            })?;
        Ok(Answer::of(outcome, Id::NONE, &snapshot.version, &[], None))
    }
}

fn put(question: &mut Question, part: Var, uid: &EntityUID) {
    let place = match part {
        Var::Principal => &mut question.principal,
        _ => &mut question.resource,
    };
    *place = uid.clone().into();
}

fn found(kind: &str, uid: &EntityUID) -> Found {
    Found::Entity {
        kind: kind.to_owned(),
        id: id(uid).to_owned(),
    }
}
