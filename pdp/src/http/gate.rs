//! What every request passes before it is answered: its caller is known, is within its rate, has sent
//! the whole body; entities are as fresh as it demands; and there is room for it.

use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use service_kit::serve::{Client, RequestId};
use service_kit::traces::CallerName;
use service_kit::{ClientCertificate, Problem, TraceContext};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::receive::{Gathered, Ungathered, Whole, gather};
use crate::callers::{Caller, Refusal};
use crate::decision_log::Asker;
use crate::pdp::Inner;
use crate::room::BodyRoom;

/// The header by which a request demands entities of at least some revision.
const AT_LEAST: HeaderName = HeaderName::from_static(AT_LEAST_REVISION);
const AT_LEAST_REVISION: &str = "cedargate-at-least-revision";

/// Which headers a request has of those that are seldom sent: each is looked up only where it is there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seldom {
    request_id: bool,
    trace: bool,
    at_least: bool,
}

impl Seldom {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                RequestId::HEADER => found.request_id = true,
                TraceContext::HEADER => found.trace = true,
                AT_LEAST_REVISION => found.at_least = true,
                _ => {}
            }
        }
        found
    }

    /// What the request says that it is called.
    pub(super) fn request_id(self, headers: &HeaderMap) -> Option<RequestId> {
        self.request_id.then(|| RequestId::of(headers))
    }
}

/// A request that is turned away is answered so.
type Passed<T> = Result<T, Box<Response>>;

/// What a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    Little,
    /// What it asks for may walk through much.
    Much,
}

/// What is known of a request that it does not say itself.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) client: Option<Client>,
    pub(super) request_id: Option<RequestId>,
    pub(super) cost: Cost,
    pub(super) seldom: Seldom,
}

/// A request that may be answered.
#[derive(Debug)]
pub(super) struct Admitted<'r> {
    pub(super) body: Bytes,
    /// Room for the body, where it came in pieces, held until the answer is there.
    _room: BodyRoom<'r>,
    pub(super) asker: Asker,
    pub(super) caller: Option<Caller>,
    /// For the request's span, where it is recorded.
    pub(super) named: Option<CallerName>,
    /// A place among requests, held until the answer is there.
    _place: Option<SemaphorePermit<'r>>,
}

/// Middleware before every route: an [`Asker`] and, where callers are configured, a [`Caller`] go
/// with the request.
pub(super) async fn pass(
    State(inner): State<Arc<Inner>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let arrived = Arrived {
        client: parts.extensions.get().cloned(),
        request_id: parts.extensions.get().cloned(),
        cost: Cost::of(parts.uri.path()),
        seldom: Seldom::of(&parts.headers),
    };
    let admitted = match enter(&inner, arrived, &parts, body).await {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    parts.extensions.insert(admitted.asker);
    if let Some(caller) = admitted.caller {
        parts.extensions.insert(caller);
    }
    parts.extensions.insert(Whole(admitted.body));
    let request = Request::from_parts(parts, Body::empty());
    let mut response = next.run(request).await;
    leave(&mut response, admitted.named);
    response
}

/// Takes a request in that may be answered.
pub(super) async fn enter<'r, B>(
    inner: &'r Inner,
    arrived: Arrived,
    parts: &Parts,
    body: B,
) -> Passed<Admitted<'r>>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    // SECURITY: before anything is read of the body.
    let caller = if inner.callers.are_configured() {
        let certificate = arrived.client.as_ref();
        let certificate = certificate.and_then(|client| client.certificate.as_deref());
        Box::pin(authenticate(inner, &parts.headers, certificate)).await?
    } else {
        None
    };
    let trace = parts.extensions.get::<TraceContext>();
    let is_recorded = trace.is_some_and(TraceContext::is_recorded);
    let named = caller.as_ref().filter(|_| is_recorded);
    let named = named.map(|caller| CallerName(caller.name.to_string()));
    let told = |mut response: Box<Response>| {
        leave(&mut response, named.clone());
        response
    };
    if let Some(caller) = &caller {
        within_rate(inner, caller).map_err(told)?;
    }
    let most = inner.limits.body_bytes;
    let gathered = gather(body, most, &inner.room).await;
    let Gathered { bytes, room } =
        gathered.map_err(|why| told(Box::new(not_received(inner, &why))))?;
    // Before there is a place for it: who waits does nothing, and must not keep others out.
    if arrived.seldom.at_least {
        let fresh = Box::pin(fresh(inner, &parts.headers));
        fresh.await.map_err(told)?;
    }
    let cost = arrived.cost;
    let mut asker = asker(parts, caller.as_ref(), arrived);
    let mut place = None;
    if cost == Cost::Little {
        place = inner.room.for_request_now();
    }
    if place.is_none() {
        let room = Box::pin(find_room(inner, cost, &mut asker));
        place = room.await.map_err(told)?;
    }
    Ok(Admitted {
        body: bytes,
        _room: room,
        asker,
        caller,
        named,
        _place: place,
    })
}

/// To a request whose body is not here.
fn not_received(inner: &Inner, why: &Ungathered) -> Response {
    let problem = why.problem(inner.limits.body_bytes);
    if matches!(why, Ungathered::NoRoom) {
        inner.meters.turned_away("bodies");
        later(problem, Duration::from_secs(1))
    } else {
        problem.into_response()
    }
}

/// Says whose request it was that is answered, where that is recorded.
pub(super) fn leave(response: &mut Response, named: Option<CallerName>) {
    if let Some(named) = named {
        response.extensions_mut().insert(named);
    }
}

fn asker(parts: &Parts, caller: Option<&Caller>, arrived: Arrived) -> Asker {
    let Arrived {
        client,
        request_id,
        seldom,
        ..
    } = arrived;
    // Where nothing is recorded, the caller's own context ties the log to its trace.
    let trace = parts.extensions.get::<TraceContext>().cloned();
    let sent = || TraceContext::from_headers(&parts.headers);
    Asker {
        caller: match (caller, client) {
            (Some(caller), _) => Arc::clone(&caller.name),
            (None, Some(client)) => client.name,
            (None, None) => "unknown".into(),
        },
        request_id: request_id.map(|id| id.0),
        trace: trace.or_else(|| seldom.trace.then(sent).flatten()),
        place: None,
        may_read: false,
    }
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

impl Cost {
    fn of(path: &str) -> Self {
        let is_much = [
            "/search/",
            "/cedar/v1/partial",
            "/cedar/v1/filter",
            "/cedar/v1/explain",
        ]
        .into_iter()
        .any(|part| path.contains(part));
        if is_much { Self::Much } else { Self::Little }
    }
}

/// Finds a place. That of a search goes with whoever asks, and from there with the work.
async fn find_room<'r>(
    inner: &'r Inner,
    cost: Cost,
    asker: &mut Asker,
) -> Passed<Option<SemaphorePermit<'r>>> {
    let kind = match cost {
        Cost::Much => {
            asker.place = inner.room.for_search().await;
            if asker.place.is_some() {
                return Ok(None);
            }
            "searches"
        }
        Cost::Little => {
            if let Some(place) = inner.room.for_request().await {
                return Ok(Some(place));
            }
            "requests"
        }
    };
    inner.meters.turned_away(kind);
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy")
        .detail("too many requests are being answered; ask again");
    Err(Box::new(later(problem, Duration::from_secs(1))))
}

/// Waits, within bounds, for the revision that a request demands.
async fn fresh(inner: &Inner, headers: &HeaderMap) -> Passed<()> {
    let mut wanted = headers.get_all(&AT_LEAST).iter();
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
pub(super) mod tests;
