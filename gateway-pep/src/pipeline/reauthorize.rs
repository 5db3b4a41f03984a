//! Steps 3 and 4 once more, for a request that has long been permitted and still goes on.

use std::pin::Pin;
use std::rc::Rc;

use super::authenticate;
use super::authorize;
use super::held::{Held, Standing};
use super::record::Record;
use super::refusal::Refusal;
use crate::body::LONG;
use crate::cache::Moment;
use crate::cache::Source;
use crate::cache::verdict::Verdict;
use crate::streams::{Found, Lasting, Times};
use crate::withdrawn::Withdrawn;
use crate::worker::Worker;

/// Why what goes on may not, or nobody knows.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// By which decision, where it was one.
    No(Withdrawn, Option<(Rc<Verdict>, Source)>),
    Unanswered,
}

impl Lasting for Held {
    fn look(&self, moment: &Moment, times: Times) -> Found {
        Self::look(self, moment, times)
    }

    fn is_due(&self) -> bool {
        Self::is_due(self)
    }

    fn ask(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let worker = self.worker();
            let counter = &worker.core.metrics.streams_asked;
            match reauthorize(worker, &self).await {
                Ok(standing) => {
                    counter.permit.inc();
                    self.stand(standing);
                }
                Err(Unknown::No(withdrawn, decision)) => {
                    counter.deny.inc();
                    self.withdraw(withdrawn, decision);
                }
                Err(Unknown::Unanswered) => {
                    counter.unknown.inc();
                    self.try_later(worker.core.clock.now());
                }
            }
        })
    }

    fn give_up(&self) {
        self.withdraw(Withdrawn::Unanswered, None);
    }
}

/// Whether it would be permitted now: the same caller by the same token, the same question.
async fn reauthorize(worker: &Rc<Worker>, held: &Held) -> Result<Standing, Unknown> {
    let mut record = Record::again(worker.clone(), held.connection.clone(), held.id);
    match ask(worker, held, &mut record).await {
        Ok(standing) => Ok(standing),
        Err(refusal) => Err(match withdrawn(&refusal) {
            Some(withdrawn) => Unknown::No(withdrawn, record.take_decision()),
            None => Unknown::Unanswered,
        }),
    }
}

/// What was long in coming is passed on only where it would be permitted now, too.
pub(super) async fn confirm(worker: &Rc<Worker>, record: &mut Record) -> Result<(), Refusal> {
    // It is looked at since it was tried again, or sent for long: whoever waits is told, while that is possible.
    if let Some(withdrawn) = record.ended() {
        return Err(refusal(withdrawn));
    }
    if record.moment.instant.elapsed() <= LONG {
        return Ok(());
    }
    confirm_now(worker, record).await
}

/// What is to be done again is done only where it would be permitted now.
pub(super) async fn confirm_now(worker: &Rc<Worker>, record: &mut Record) -> Result<(), Refusal> {
    let Some(held) = record.hold().cloned() else {
        return Ok(());
    };
    let now = worker.moment();
    if !held.stands(&now) {
        match reauthorize(worker, &held).await {
            Ok(standing) => held.stand(standing),
            Err(Unknown::No(withdrawn, _)) => return Err(refusal(withdrawn)),
            Err(Unknown::Unanswered) => return Err(Refusal::DecisionPointUnavailable),
        }
    }
    record.moment = now;
    Ok(())
}

async fn ask(worker: &Rc<Worker>, held: &Held, record: &mut Record) -> Result<Standing, Refusal> {
    if !record.is_admitted() {
        return Err(Refusal::Misdirected);
    }
    let caller = authenticate::again(worker, &held.permitted, record).await?;
    let verdict = authorize::again(worker, &held.permitted, (&caller, held.began), record).await?;
    Ok(Standing::of((&caller, &verdict), &record.moment))
}

/// None: nobody knows.
fn withdrawn(refusal: &Refusal) -> Option<Withdrawn> {
    match refusal {
        Refusal::TokenServiceUnavailable
        | Refusal::IssuerUnavailable
        | Refusal::DecisionPointUnavailable
        | Refusal::ProofStoreUnavailable
        | Refusal::SessionStoreUnavailable
        | Refusal::RateUnknown
        | Refusal::RequestTimeout
        | Refusal::UpstreamFull
        | Refusal::TooManyConnections
        | Refusal::UpstreamUnhealthy
        | Refusal::UpstreamFailed
        | Refusal::UpstreamTimeout => None,
        Refusal::NoCredentials
        | Refusal::TwoCredentials
        | Refusal::MalformedToken
        | Refusal::InvalidToken
        | Refusal::BoundToKey
        | Refusal::BoundToCertificate
        | Refusal::UnboundToken
        | Refusal::OtherKey
        | Refusal::OtherCertificate
        | Refusal::UncertifiedToken
        | Refusal::SessionEnded
        | Refusal::LogIn(_)
        | Refusal::LogoutToken
        | Refusal::CrossSite
        | Refusal::Unproven(_) => Some(Withdrawn::Token),
        Refusal::Obligation | Refusal::Unmaskable(_) => Some(Withdrawn::Obligation),
        Refusal::Ambiguous(_)
        | Refusal::Unread(_)
        | Refusal::Misdirected
        | Refusal::NotFound
        | Refusal::MethodNotAllowed { .. }
        | Refusal::InsufficientScope { .. }
        | Refusal::WeakLogin
        | Refusal::LoginWanted { .. }
        | Refusal::TooOften { .. }
        | Refusal::Denied
        | Refusal::CrossOrigin
        | Refusal::UpgradeNotAllowed
        | Refusal::UntrustedProxy => Some(Withdrawn::Denied),
    }
}

/// What whoever still waits for an answer is told.
pub(super) fn refusal(withdrawn: Withdrawn) -> Refusal {
    match withdrawn {
        Withdrawn::Token => Refusal::InvalidToken,
        Withdrawn::Denied => Refusal::Denied,
        Withdrawn::Obligation => Refusal::Obligation,
        Withdrawn::Unanswered => Refusal::DecisionPointUnavailable,
    }
}
