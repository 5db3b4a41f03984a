//! What every endpoint does first and last: take in a body within its bounds, and turn what is no
//! answer into a problem.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use authzen::{DecisionError, RequestError};
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use service_kit::serve::{Peer, RequestId};
use service_kit::{Problem, TraceContext};
use strict_json::{JsonError, Members};

use crate::callers::Caller;
use crate::decision_log::Asker;
use crate::pdp::Inner;
use crate::room::Place;

/// A caller gets this long to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes in the whole body within its bounds, so that a slow one holds up nobody else.
pub(super) async fn gather(inner: &Inner, request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, inner.limits.body_bytes);
    match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body.to_bytes()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large").detail(format!(
                    "the body must not be longer than {} bytes",
                    inner.limits.body_bytes
                )),
            )
        }
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request")
            .detail("the body could not be read")),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout")
            .detail("the body did not arrive in time")),
    }
}

/// A request whose body is here and is said to be JSON.
pub(super) struct Received {
    pub(super) asker: Asker,
    body: Bytes,
    /// So deep it may be nested.
    levels: usize,
}

/// Checks the content type; gives the body, which is here already.
pub(super) async fn receive(inner: &Inner, request: Request) -> Result<Received, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request")
            .detail("`Content-Type` must be `application/json`"));
    }
    let asker = asker(&request);
    match request.into_body().collect().await {
        Ok(body) => Ok(Received {
            asker,
            body: body.to_bytes(),
            levels: inner.limits.json_depth,
        }),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request")
            .detail("the body could not be read")),
    }
}

impl Received {
    /// The body, which is an object.
    pub(super) fn object(&self) -> Result<Members<'_>, Problem> {
        Members::parse_within(&self.body, self.levels)
            .map_err(|error| bad_request(&RequestError::Json(error)))
    }
}

fn asker(request: &Request) -> Asker {
    let extensions = request.extensions();
    let caller = match (extensions.get::<Caller>(), extensions.get::<Peer>()) {
        (Some(caller), _) => Arc::clone(&caller.name),
        (None, Some(peer)) => Arc::clone(&peer.name),
        (None, None) => "unknown".into(),
    };
    let request_id = extensions.get::<RequestId>().map(|id| id.0.clone());
    // Where nothing is recorded, the caller's own context ties the log to its trace.
    let trace = extensions.get::<TraceContext>().cloned();
    Asker {
        caller,
        request_id,
        trace: trace.or_else(|| TraceContext::from_headers(request.headers())),
        place: extensions.get::<Place>().cloned(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    value
        .to_str()
        .ok()
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

pub(super) fn bad_request(error: &RequestError) -> Problem {
    let detail = match error {
        RequestError::Json(JsonError::TooDeep { .. }) => format!("{error} (`pdp.max_json_depth`)"),
        _ => error.to_string(),
    };
    Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(detail)
}

/// A caller may not do this: what would let it, and what would let anybody.
pub(super) fn no_right(wanted: &str, right: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden").detail(format!(
        "the caller has no such right: {wanted} of the caller in `pdp.callers` gives it, or \
         `pdp.{right}_without_callers` where there are none"
    ))
}

/// Not knowing is never a decision.
pub(super) fn no_answer(error: &DecisionError) -> Problem {
    match error {
        DecisionError::Rejected { message } => {
            Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(message.clone())
        }
        DecisionError::Unavailable(_) | DecisionError::Timeout => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        DecisionError::Internal { message } => {
            tracing::error!(message, "a question could not be decided");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    }
}
