//! Step 3: who calls. One token, of an issuer that the route accepts, that says who calls and what the
//! upstream gets; beside one that is bound to a key, a proof of the key; or the certificate of the connection.

mod bearer;
mod certificate;
pub(crate) mod credential;
mod destination;
mod proof;
pub(super) mod session;
pub(crate) mod shown;

use std::rc::Rc;

use oauth::Confirmation;
use service_kit::Secret;

use super::authorize::permitted::Permitted;
use super::presented::Scheme;
use super::record::{Record, SWAP};
use super::refusal::Refusal;
use crate::cache::Source;
use crate::cache::tokens::{Place, Swap};
use crate::canonical::CanonicalRequest;
use crate::identity::Identity;
use crate::metrics::SwapOutcome;
use crate::plan::{Binding, Protection};
use crate::route::Routed;
use crate::worker::Worker;
pub(super) use bearer::Bearer;
use credential::{Credential, has_token_in_query};
use destination::Destination;
use proof::Wanted;
use shown::Shown;

/// A routed request whose caller is known, or need not be.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) request: CanonicalRequest,
    pub(crate) route: usize,
    /// Whose JWT it has: where it is sent, and nowhere else.
    pub(crate) upstream: usize,
    pub(crate) caller: Caller,
    /// What was shown, for as long as what it was shown for lasts.
    pub(crate) shown: Option<Shown>,
}

/// Who calls.
#[derive(Debug)]
pub(crate) enum Caller {
    /// The route is public; whatever credentials came are not looked at.
    Anonymous,
    Known(Rc<Identity>),
}

/// Finds out who calls.
pub(crate) async fn authenticate(
    worker: &Worker,
    routed: Routed,
    record: &mut Record,
) -> Result<Authenticated, Refusal> {
    let Routed { request, route } = routed;
    let plan = &worker.core.plan;
    let route_plan = plan.routes.get(route).ok_or(Refusal::NotFound)?;
    let mut to = Destination::of(route_plan, &request, record);
    let (caller, shown) = match route_plan.protection {
        Protection::Public => (Caller::Anonymous, None),
        Protection::Token {
            accepted, binding, ..
        } => {
            to.place.accepted = accepted;
            let to = &mut to;
            let login = route_plan.login.filter(|_| !record.is_of_proxy());
            let by_session = match login {
                Some(login) => session::known(worker, &request, (to, login), record).await?,
                None => None,
            };
            let (known, shown) = if let Some(known) = by_session {
                known
            } else if let Some(known) = certificate::known(worker, &request, to, record)? {
                known
            } else {
                known(worker, &request, (to, binding), record).await?
            };
            (Caller::Known(known), Some(shown))
        }
    };
    Ok(Authenticated {
        request,
        route,
        upstream: to.place.upstream,
        caller,
        shown,
    })
}

/// Who calls with the same token, now. A proof beside it was looked at when the request came: it was of this
/// connection, and the token must still be bound to the same key.
pub(crate) async fn again(
    worker: &Worker,
    permitted: &Permitted,
    record: &mut Record,
) -> Result<Rc<Identity>, Refusal> {
    let plan = &worker.core.plan;
    let route_plan = plan.routes.get(permitted.route());
    let route_plan = route_plan.ok_or(Refusal::NotFound)?;
    let Protection::Token { accepted, .. } = route_plan.protection else {
        return Err(Refusal::NotFound);
    };
    let mut to = Destination {
        place: Place {
            accepted,
            upstream: permitted.upstream(),
        },
        by_subject: None,
    };
    let to = &mut to;
    let known = permitted.caller().zip(permitted.shown());
    let (before, shown) = known.ok_or(Refusal::NoCredentials)?;
    let live = match shown {
        Shown::Session(shown) => session::still(worker, shown, to, record).await?,
        Shown::Certificate(shown) => certificate::still(worker, shown, record)?,
        Shown::Token(_) | Shown::Key(_) => {
            let token = shown.token()?.ok_or(Refusal::NoCredentials)?;
            let (swap, source, issuer) = swap(worker, token, to, record).await?;
            let metrics = &worker.core.metrics;
            let Swap::Live(live) = swap else {
                metrics.swapped(issuer, source, SwapOutcome::Inactive);
                return Err(Refusal::InvalidToken);
            };
            metrics.swapped(issuer, source, SwapOutcome::Live);
            let confirmation = &live.vouched.confirmation;
            if matches!(confirmation, Some(Confirmation::Certificate(_)))
                && record.certificate().is_none()
            {
                return Err(Refusal::BoundToCertificate);
            }
            live
        }
    };
    if is_same(&live, before) {
        Ok(live)
    } else {
        Err(Refusal::InvalidToken)
    }
}

fn is_same(now: &Identity, before: &Identity) -> bool {
    now.issuer == before.issuer
        && now.subject.kind == before.subject.kind
        && now.subject.id == before.subject.id
        && now.vouched.confirmation == before.vouched.confirmation
}

async fn known(
    worker: &Worker,
    request: &CanonicalRequest,
    (to, binding): (&mut Destination<'_>, Binding),
    record: &mut Record,
) -> Result<(Rc<Identity>, Shown), Refusal> {
    let core = &worker.core;
    let now = record.moment.unix;
    let dpop = core.plan.dpop.as_ref();
    let api_key = core.plan.api_key_header.as_ref();
    let Credential { scheme, token } = Credential::of(request.headers(), dpop.is_some(), api_key)?;
    record.presented(scheme);
    if has_token_in_query(request.query()) {
        return Err(Refusal::TwoCredentials);
    }
    let proof = match (scheme, dpop) {
        (Scheme::Dpop, Some(dpop)) => Some(proof::of_request(dpop, request, token, now)?),
        _ => None,
    };
    let (swap, source, issuer) = swap(worker, token, to, record).await?;
    let Swap::Live(live) = swap else {
        core.metrics.swapped(issuer, source, SwapOutcome::Inactive);
        return Err(Refusal::InvalidToken);
    };
    core.metrics.swapped(issuer, source, SwapOutcome::Live);
    let wanted = Wanted {
        proofs: &core.proofs,
        binding,
        now,
        request_id: &record.id,
    };
    let confirmation = live.vouched.confirmation.as_ref();
    let shown = match confirmation {
        Some(Confirmation::Certificate(_)) => record.certificate(),
        Some(Confirmation::DpopKey(_)) | None => None,
    };
    proof::confirm(confirmation, (proof, shown.as_deref()), wanted).await?;
    record.authenticated(live.clone(), source);
    let shown = Shown::of(&core.plan, request, scheme).ok_or(Refusal::NoCredentials)?;
    Ok((live, shown))
}

/// What a token is worth where the request goes, who says so, and where that was found. Where who calls decides where
/// it goes, its first upstream has to say so.
async fn swap(
    worker: &Worker,
    token: &[u8],
    to: &mut Destination<'_>,
    record: &Record,
) -> Result<(Swap, Source, usize), Refusal> {
    let swapped = swap_at(worker, token, to.place, record).await?;
    match &swapped.0 {
        Swap::Live(live) if to.settle(live) => swap_at(worker, token, to.place, record).await,
        Swap::Live(_) | Swap::Inactive => Ok(swapped),
    }
}

async fn swap_at(
    worker: &Worker,
    token: &[u8],
    place: Place,
    record: &Record,
) -> Result<(Swap, Source, usize), Refusal> {
    if let Some((swap, issuer)) = worker.tokens.recall(token, place, &record.moment) {
        return Ok((swap, Source::L1, issuer));
    }
    let plan = &worker.core.plan;
    let text = std::str::from_utf8(token).map_err(|_| Refusal::MalformedToken)?;
    let accepted = plan.accepted.get(place.accepted);
    let issuer = accepted.and_then(|accepted| accepted.issuer_of(text, &plan.issuers));
    // Nobody's, as far as this route goes: nobody is asked.
    let issuer = issuer.ok_or(Refusal::InvalidToken)?;
    let upstream = plan
        .upstreams
        .get(place.upstream)
        .ok_or(Refusal::NotFound)?;
    let asked = worker.tokens.ask(
        Secret::new(text),
        issuer,
        (place, &upstream.resource),
        record.moment,
    );
    let asked = record.ask(SWAP, asked, |(_, source)| *source).await;
    match asked {
        Ok((swap, source)) => Ok((swap, source, issuer)),
        Err(unknown) => {
            let metrics = &worker.core.metrics;
            metrics.swapped(issuer, Source::Remote, SwapOutcome::Unknown);
            tracing::warn!(request_id = record.id.as_str(), error = %unknown, "no token swap");
            Err(if plan.is_token_service(issuer) {
                Refusal::TokenServiceUnavailable
            } else {
                Refusal::IssuerUnavailable
            })
        }
    }
}
