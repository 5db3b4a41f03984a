//! An answer of the decision point, as far as the gateway can keep to it.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use authzen::{Evaluation, Vary};
use service_kit::UnixTime;

use crate::obligation::{Abilities, Obligations};

/// An answer, understood.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// Names the decision-log record.
    pub(crate) id: Option<String>,
    /// The policy version that decided.
    pub(crate) version: Option<String>,
    /// What the answer can depend on, where it says so.
    pub(crate) vary: Option<Arc<Vary>>,
    /// For how long it holds, where it says so.
    pub(super) max_age: Option<Duration>,
    /// Until then it may be used without asking again.
    pub(crate) until: UnixTime,
    /// How the access log names it: written once.
    pub(crate) said: OnceCell<Box<[u8]>>,
}

/// What to do.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it stands in a verdict, which is made once for an answer"
)]
pub(crate) enum Outcome {
    Permit(Obligations),
    Deny,
    /// Permitted on a condition that this gateway cannot fulfil: a deny.
    UnknownObligation,
}

impl Verdict {
    pub(super) fn of(evaluation: &Evaluation, abilities: &Abilities, until: UnixTime) -> Self {
        let outcome = if evaluation.decision.is_permit() {
            match Obligations::understand(&evaluation.context.obligations, abilities) {
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
            vary: evaluation
                .context
                .cache
                .as_ref()
                .and_then(|cache| cache.vary.clone()),
            max_age: max_age(evaluation),
            until,
            said: OnceCell::new(),
        }
    }

    /// One permit for all of several, under the conditions of each. None: they cannot all be kept, or one is none.
    pub(crate) fn joined(verdicts: &[Rc<Self>]) -> Option<Self> {
        let mut obligations = Obligations::default();
        let mut until = verdicts.first()?.until;
        for verdict in verdicts {
            let Outcome::Permit(more) = &verdict.outcome else {
                return None;
            };
            obligations.join(more).ok()?;
            until = until.min(verdict.until);
        }
        let first = verdicts.first()?;
        Some(Self {
            outcome: Outcome::Permit(obligations),
            id: first.id.clone(),
            version: first.version.clone(),
            vary: None,
            max_age: None,
            until,
            said: OnceCell::new(),
        })
    }

    pub(crate) fn is_permit(&self) -> bool {
        matches!(self.outcome, Outcome::Permit(_))
    }
}

/// A decision point may say for how many seconds its answer holds.
pub(super) fn max_age(evaluation: &Evaluation) -> Option<Duration> {
    let advice = evaluation.context.cache.as_ref()?;
    advice.max_age.map(Duration::from_secs)
}
