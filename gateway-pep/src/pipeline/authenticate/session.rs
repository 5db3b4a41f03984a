//! The session of a person with a browser: its cookie instead of a token, whose access token then goes the way
//! of every other; or off to log in, where somebody would see the page.

use std::cell::Cell;
use std::rc::Rc;

use http::header;

use super::destination::Destination;
use super::shown::ShownSession;
use super::{Shown, certificate, has_token_in_query};
use crate::cache::tokens::Swap;
use crate::canonical::CanonicalRequest;
use crate::identity::Identity;
use crate::login::browser::{is_navigation, is_of_own_site};
use crate::login::record::SessionId;
use crate::login::store::Kept;
use crate::login::{Login, Logins, cookies};
use crate::metrics::{LoginOutcome, SwapOutcome};
use crate::pipeline::cors;
use crate::pipeline::login::departure::{Cause, Departure};
use crate::pipeline::record::Record;
use crate::pipeline::refusal::Refusal;
use crate::plan::RoutePlan;
use crate::session::renewal::{Renewed, Unrenewed};
use crate::worker::Worker;

/// A request that is looked at for a session.
struct Visit<'a> {
    worker: &'a Worker,
    request: &'a CanonicalRequest,
    logins: &'a Logins,
    index: usize,
    login: &'a Login,
}

/// Who calls by a session. None: there is no cookie, and there is another credential.
pub(super) async fn known(
    worker: &Worker,
    request: &CanonicalRequest,
    (to, login): (&mut Destination<'_>, usize),
    record: &mut Record,
) -> Result<Option<(Rc<Identity>, Shown)>, Refusal> {
    let visit = Visit::new(worker, request, login).ok_or(Refusal::NoCredentials)?;
    let has_token = has_other_credential(worker, request);
    let shown = cookies::find(request.headers(), &visit.login.cookie);
    match shown.map_err(|_| Refusal::TwoCredentials)? {
        None if has_token || certificate::counts(worker, to.place, record) => Ok(None),
        None => {
            let otherwise = Refusal::NoCredentials;
            Err(visit.leave(Cause::NoSession, record, otherwise).await)
        }
        Some(_) if has_token || has_token_in_query(request.query()) => Err(Refusal::TwoCredentials),
        Some(value) => {
            record.by_login(login);
            visit.known(value, to, record).await.map(Some)
        }
    }
}

/// Whether something else than a session is shown: a token, or the key of a program.
fn has_other_credential(worker: &Worker, request: &CanonicalRequest) -> bool {
    let headers = request.headers();
    let key = worker.core.plan.api_key_header.as_ref();
    headers.contains_key(header::AUTHORIZATION) || key.is_some_and(|key| headers.contains_key(key))
}

/// Off to log in as a route or a decision wants it, where the login that there is does not do. None: nobody
/// would see it, or they have just done that.
pub(in crate::pipeline) async fn again(
    worker: &Worker,
    request: &CanonicalRequest,
    (route, refusal): (&RoutePlan, &Refusal),
    record: &Record,
) -> Option<Refusal> {
    if record.is_of_proxy() {
        return None;
    }
    let wanted = refusal.wanted_login(route)?;
    let visit = Visit::new(worker, request, route.login?)?;
    let shown = cookies::find(request.headers(), &visit.login.cookie);
    let id = SessionId::parse(shown.ok().flatten()?)?;
    let moment = &record.moment;
    let kept = worker
        .sessions
        .find(visit.index, &id, moment)
        .await
        .ok()??;
    if !is_navigation(request) || kept.session.is_fresh(moment.unix) {
        return None;
    }
    let cause = Cause::StepUp(wanted);
    Some(visit.leave(cause, record, Refusal::WeakLogin).await)
}

impl<'a> Visit<'a> {
    fn new(worker: &'a Worker, request: &'a CanonicalRequest, index: usize) -> Option<Self> {
        let logins = worker.core.plan.logins.as_ref()?;
        Some(Self {
            worker,
            request,
            logins,
            index,
            login: logins.all.get(index)?,
        })
    }

    async fn known(
        &self,
        value: &[u8],
        to: &mut Destination<'_>,
        record: &mut Record,
    ) -> Result<(Rc<Identity>, Shown), Refusal> {
        let origin = self.logins.origin(self.request);
        // SECURITY: before the session is looked at, so that nothing happens for a page of another site.
        let is_vouched = |origin| {
            is_of_own_site(self.request, origin)
                || cors::vouches(&self.worker.core, self.request, record)
        };
        if !origin.is_some_and(is_vouched) {
            return Err(Refusal::CrossSite);
        }
        let Some(id) = SessionId::parse(value) else {
            return Err(self.ended(record).await);
        };
        let asked = Cell::new(self.worker.sessions.asked());
        let found = self.worker.sessions.find(self.index, &id, &record.moment);
        let found = found.await.map_err(|error| {
            let request_id = record.id.as_str();
            tracing::warn!(request_id, %error, "a session cannot be read");
            Refusal::SessionStoreUnavailable
        })?;
        let Some(kept) = found.filter(|kept| Some(&*kept.session.origin) == origin) else {
            return Err(self.ended(record).await);
        };
        let now = record.moment.unix;
        let usable = self.worker.sessions.usable(self.index, &id, kept, now);
        let kept = self.still(usable.await, record).await?;
        let (known, kept) = match swapped(self.worker, &kept, to, record).await? {
            Some(known) => (known, kept),
            // Logging in again would bring the same.
            None if kept.session.is_fresh(now) => return Err(Refusal::InvalidToken),
            None => {
                let renewed = self.worker.sessions.renewed(self.index, &id, kept).await;
                let kept = self.still(renewed, record).await?;
                let known = swapped(self.worker, &kept, to, record).await?;
                (known.ok_or(Refusal::InvalidToken)?, kept)
            }
        };
        let login = self.index;
        let shown = Shown::Session(ShownSession {
            login,
            id,
            kept,
            asked,
        });
        Ok((known, shown))
    }

    /// The session, if it has not ended.
    async fn still(&self, renewed: Renewed, record: &Record) -> Result<Rc<Kept>, Refusal> {
        match renewed {
            Ok(Some(kept)) => Ok(kept),
            Ok(None) => Err(self.ended(record).await),
            Err(error) => Err(unrenewed(error, record)),
        }
    }

    async fn ended(&self, record: &Record) -> Refusal {
        self.leave(Cause::SessionEnded, record, Refusal::SessionEnded)
            .await
    }

    /// Off to the provider, where somebody would see its page; otherwise a refusal.
    async fn leave(&self, cause: Cause<'_>, record: &Record, otherwise: Refusal) -> Refusal {
        if !is_navigation(self.request) {
            return otherwise;
        }
        let back = (self.request.target().as_str(), cause);
        let plan = (self.logins, self.login);
        let departure = Departure::prepare(plan, self.request, back, record.moment.unix);
        match departure.await {
            Ok(Some(departure)) => {
                if !record.is_aside() {
                    let metrics = &self.worker.core.metrics;
                    metrics.login(self.index, LoginOutcome::Begun);
                }
                Refusal::LogIn(Box::new(departure))
            }
            Ok(None) => otherwise,
            Err(fault) => {
                let (login, request_id) = (&*self.login.name, record.id.as_str());
                tracing::warn!(login, request_id, %fault, "nobody can log in");
                Refusal::IssuerUnavailable
            }
        }
    }
}

/// Who has the session now, for what has begun with it and lasts.
pub(super) async fn still(
    worker: &Worker,
    shown: &ShownSession,
    to: &mut Destination<'_>,
    record: &mut Record,
) -> Result<Rc<Identity>, Refusal> {
    let (login, id) = (shown.login, &shown.id);
    let asked = worker.sessions.asked();
    let found = worker.sessions.find(login, id, &record.moment).await;
    let found = found.map_err(|_| Refusal::SessionStoreUnavailable)?;
    let kept = found.ok_or(Refusal::SessionEnded)?;
    let now = record.moment.unix;
    let usable = worker.sessions.usable(login, id, kept, now).await;
    let kept = usable.map_err(|error| unrenewed(error, record))?;
    let kept = kept.ok_or(Refusal::SessionEnded)?;
    let known = swapped(worker, &kept, to, record).await?;
    shown.asked.set(asked);
    known.ok_or(Refusal::InvalidToken)
}

fn unrenewed(error: Unrenewed, record: &Record) -> Refusal {
    let request_id = record.id.as_str();
    tracing::warn!(request_id, %error, "a session is not renewed");
    match error {
        Unrenewed::Store => Refusal::SessionStoreUnavailable,
        Unrenewed::Provider => Refusal::IssuerUnavailable,
    }
}

/// By the way of every token. None: it is worth nothing.
async fn swapped(
    worker: &Worker,
    kept: &Kept,
    to: &mut Destination<'_>,
    record: &mut Record,
) -> Result<Option<Rc<Identity>>, Refusal> {
    let token = kept.session.tokens.access.reveal().as_bytes();
    let (swap, source, issuer) = super::swap(worker, token, to, record).await?;
    let metrics = &worker.core.metrics;
    let Swap::Live(live) = swap else {
        metrics.swapped(issuer, source, SwapOutcome::Inactive);
        return Ok(None);
    };
    metrics.swapped(issuer, source, SwapOutcome::Live);
    // A browser has no key to prove.
    match &live.vouched.confirmation {
        None => {}
        Some(oauth::Confirmation::DpopKey(_)) => return Err(Refusal::BoundToKey),
        Some(oauth::Confirmation::Certificate(_)) => return Err(Refusal::BoundToCertificate),
    }
    record.authenticated(live.clone(), source);
    Ok(Some(live))
}
