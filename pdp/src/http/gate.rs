//! What every request passes before it is answered: its caller is known, is within its rate, has sent
//! the whole body; entities are as fresh as it demands; and there is room for it.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service_kit::traces::CallerName;
use service_kit::{ClientCertificate, Problem, TraceContext};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::receive::gather;
use crate::callers::{Caller, Refusal};
use crate::pdp::Inner;

/// The header by which a request demands entities of at least some revision.
const AT_LEAST: &str = "cedargate-at-least-revision";

/// A request that is turned away is answered so.
type Passed<T> = Result<T, Box<Response>>;

/// Middleware before every route.
pub(super) async fn pass(
    State(inner): State<Arc<Inner>>,
    request: Request,
    next: Next,
) -> Response {
    // SECURITY: before anything is read of the body.
    let certificate = request.extensions().get();
    let caller = match authenticate(&inner, request.headers(), certificate).await {
        Ok(caller) => caller,
        Err(response) => return *response,
    };
    let trace = request.extensions().get::<TraceContext>();
    let is_recorded = trace.is_some_and(TraceContext::is_recorded);
    let named = caller.as_ref().filter(|_| is_recorded);
    let named = named.map(|caller| CallerName(caller.name.to_string()));
    let mut response = match admit(&inner, request, caller).await {
        // A place among requests is held until the answer is there.
        Ok((request, _place)) => next.run(request).await,
        Err(response) => *response,
    };
    if let Some(named) = named {
        response.extensions_mut().insert(named);
    }
    response
}

/// Takes a request on: it is whole, and there is room for it.
async fn admit(
    inner: &Inner,
    mut request: Request,
    caller: Option<Caller>,
) -> Passed<(Request, Option<SemaphorePermit<'_>>)> {
    if let Some(caller) = caller {
        within_rate(inner, &caller)?;
        request.extensions_mut().insert(caller);
    }
    let gathered = gather(inner, request).await;
    let mut request = gathered.map_err(|problem| Box::new(problem.into_response()))?;
    // Before there is a place for it: who waits does nothing, and must not keep others out.
    fresh(inner, request.headers()).await?;
    let place = find_room(inner, &mut request).await?;
    Ok((request, place))
}

/// Who asks, where callers are configured.
async fn authenticate(
    inner: &Inner,
    headers: &HeaderMap,
    certificate: Option<&ClientCertificate>,
) -> Passed<Option<Caller>> {
    let identified = inner
        .callers
        .identify(headers, certificate, inner.clock.now());
    match identified.await {
        Ok(caller) => Ok(caller),
        Err(Refusal::Unknown(challenges)) => {
            let mut response = Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated")
                .detail("send the credentials of a configured caller")
                .into_response();
            for challenge in challenges {
                let challenge = HeaderValue::from_static(challenge);
                response
                    .headers_mut()
                    .append(header::WWW_AUTHENTICATE, challenge);
            }
            Err(Box::new(response))
        }
        Err(Refusal::NoKeys) => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
                .detail("the keys of the token's issuer are not known yet; ask again");
            Err(Box::new(later(problem, Duration::from_secs(1))))
        }
    }
}

fn within_rate(inner: &Inner, caller: &Caller) -> Passed<()> {
    let Some(Err(wait)) = caller.rate.as_ref().map(|rate| rate.take(Instant::now())) else {
        return Ok(());
    };
    inner.meters.turned_away("rate");
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests")
        .detail("the caller asks more often than it may (`rate_per_second`)");
    Err(Box::new(later(problem, wait)))
}

/// Finds a place. That of a search goes with the request, and from there with the work.
async fn find_room<'r>(
    inner: &'r Inner,
    request: &mut Request,
) -> Passed<Option<SemaphorePermit<'r>>> {
    let path = request.uri().path();
    let is_search = [
        "/search/",
        "/cedar/v1/partial",
        "/cedar/v1/filter",
        "/cedar/v1/explain",
    ]
    .into_iter()
    .any(|part| path.contains(part));
    if is_search {
        if let Some(place) = inner.room.for_search().await {
            request.extensions_mut().insert(place);
            return Ok(None);
        }
    } else if let Some(place) = inner.room.for_request().await {
        return Ok(Some(place));
    }
    let kind = if is_search { "searches" } else { "requests" };
    inner.meters.turned_away(kind);
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy")
        .detail("too many requests are being answered; ask again");
    Err(Box::new(later(problem, Duration::from_secs(1))))
}

/// Waits, within bounds, for the revision that a request demands.
async fn fresh(inner: &Inner, headers: &HeaderMap) -> Passed<()> {
    let mut wanted = headers.get_all(AT_LEAST).iter();
    let revision = match (wanted.next(), wanted.next()) {
        (None, _) => return Ok(()),
        (Some(value), None) => value.to_str().ok().and_then(|value| value.parse().ok()),
        (Some(_), Some(_)) => None,
    };
    let Some(revision) = revision else {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "bad-request")
            .detail(format!("`{AT_LEAST}` must be one whole number"));
        return Err(Box::new(problem.into_response()));
    };
    inner.at_least(revision).await.map_err(|late| {
        let problem =
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-fresh-enough").detail(format!(
                "entities are at revision {}, and {} was demanded",
                late.reached, late.wanted
            ));
        Box::new(later(problem, Duration::from_secs(1)))
    })
}

/// Says when to ask again.
fn later(problem: Problem, wait: Duration) -> Response {
    let mut response = problem.into_response();
    // Whole seconds, and never too few.
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    if let Ok(seconds) = HeaderValue::try_from(seconds.to_string()) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests;
