//! Step 3: who calls. One token, swapped for facts and for the upstream's JWT; beside one that is
//! bound to a key, a proof of the key.

mod credential;
mod proof;

use std::rc::Rc;

use oauth::{OpaqueToken, TokenSyntaxError};

use super::canonical::CanonicalRequest;
use super::presented::Scheme;
use super::record::Record;
use super::respond::Refusal;
use super::route::Routed;
use crate::cache::Source;
use crate::cache::tokens::{Swap, Swapped};
use crate::metrics::SwapOutcome;
use crate::plan::Protection;
use crate::worker::Worker;
use credential::{Credential, has_token_in_query};
use proof::Wanted;

/// A routed request whose caller is known, or need not be.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) request: CanonicalRequest,
    pub(crate) route: usize,
    pub(crate) caller: Caller,
}

/// Who calls.
#[derive(Debug)]
pub(crate) enum Caller {
    /// The route is public; whatever credentials came are not looked at.
    Anonymous,
    Known(Rc<Swapped>),
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
    let caller = match route_plan.protection {
        Protection::Public => Caller::Anonymous,
        Protection::Token { needs_bound, .. } => {
            let upstream = route_plan.upstream;
            Caller::Known(known(worker, &request, (upstream, needs_bound), record).await?)
        }
    };
    Ok(Authenticated {
        request,
        route,
        caller,
    })
}

async fn known(
    worker: &Worker,
    request: &CanonicalRequest,
    (upstream, needs_bound): (usize, bool),
    record: &mut Record,
) -> Result<Rc<Swapped>, Refusal> {
    let core = &worker.core;
    let now = record.moment.unix;
    let dpop = core.plan.dpop.as_ref();
    let Credential { scheme, token } = Credential::of(request.headers(), dpop.is_some())?;
    record.presented(scheme);
    if has_token_in_query(request.query()) {
        return Err(Refusal::TwoCredentials);
    }
    let proof = match (scheme, dpop) {
        (Scheme::Dpop, Some(dpop)) => Some(proof::of_request(dpop, request, token, now)?),
        _ => None,
    };
    let (swap, source) = swap(worker, token, upstream, record).await?;
    let Swap::Live(live) = swap else {
        core.metrics.swapped(source, SwapOutcome::Inactive);
        return Err(Refusal::InvalidToken);
    };
    core.metrics.swapped(source, SwapOutcome::Live);
    let wanted = Wanted {
        proofs: &core.proofs,
        needs_bound,
        now,
        request_id: &record.id,
    };
    proof::confirm(&live.token, proof, wanted).await?;
    record.authenticated(live.clone(), source);
    Ok(live)
}

async fn swap(
    worker: &Worker,
    token: &[u8],
    upstream: usize,
    record: &Record,
) -> Result<(Swap, Source), Refusal> {
    if let Some(swap) = worker.tokens.recall(token, upstream, &record.moment) {
        return Ok((swap, Source::L1));
    }
    let text = std::str::from_utf8(token).map_err(|_| Refusal::MalformedToken)?;
    let token = OpaqueToken::parse(text).map_err(|error| match error {
        TokenSyntaxError::Empty => Refusal::MalformedToken,
        // A JWT from outside, say: no token of ours looks like it.
        TokenSyntaxError::TooLong | TokenSyntaxError::Alphabet => Refusal::InvalidToken,
    })?;
    let upstream_plan = worker
        .core
        .plan
        .upstreams
        .get(upstream)
        .ok_or(Refusal::NotFound)?;
    worker
        .tokens
        .ask(token, upstream, &upstream_plan.resource, record.moment)
        .await
        .map_err(|error| {
            worker
                .core
                .metrics
                .swapped(Source::Remote, SwapOutcome::Unknown);
            tracing::warn!(request_id = record.id.as_str(), error = %error, "no token swap");
            Refusal::TokenServiceUnavailable
        })
}
