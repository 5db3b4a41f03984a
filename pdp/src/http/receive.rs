//! What every endpoint does first and last: take in a body within its bounds, and turn what is no
//! answer into a problem.

use std::task::Poll;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use authzen::{DecisionError, RequestError};
use axum::BoxError;
use axum::body::HttpBody;
use axum::extract::Request;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use service_kit::Problem;
use strict_json::{Arena, JsonError, Members};

use crate::answer::Unavailable;
use crate::decision_log::Asker;
use crate::pdp::Inner;
use crate::room::{BodyRoom, Room};

/// A caller gets this long to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A whole body.
#[derive(Debug)]
pub(super) struct Gathered<'r> {
    pub(super) bytes: Bytes,
    /// Held for as long as the body is. None of what came in one piece: no connection reads more
    /// ahead than that.
    pub(super) room: BodyRoom<'r>,
}

/// Why there is no body.
#[derive(Debug)]
pub(super) enum Ungathered {
    /// Others hold too much.
    NoRoom,
    TooLong,
    Broken,
    TooLate,
}

/// Takes in a whole body of at most so many bytes, so that a slow one holds up nobody else.
pub(super) async fn gather<B>(body: B, most: usize, room: &Room) -> Result<Gathered<'_>, Ungathered>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let mut body = Limited::new(body, most);
    // Nearly always it has come with the head, and in one piece.
    let mut first = Bytes::new();
    if let Poll::Ready(frame) = futures_util::poll!(body.frame()) {
        match frame {
            Some(frame) => first = data(frame)?,
            None => return Ok(alone(first)),
        }
        if !first.is_empty() && body.is_end_stream() {
            return Ok(alone(first));
        }
    }
    // In a box of its own: every request's future has room for it, and is moved with it.
    let gathered = tokio::time::timeout(BODY_TIMEOUT, whole(first, body, room));
    let gathered = Box::pin(gathered).await;
    gathered.unwrap_or(Err(Ungathered::TooLate))
}

/// A body that came in one piece is not copied.
fn alone(bytes: Bytes) -> Gathered<'static> {
    Gathered { bytes, room: None }
}

async fn whole<B>(
    mut first: Bytes,
    mut body: Limited<B>,
    room: &Room,
) -> Result<Gathered<'_>, Ungathered>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    while first.is_empty() {
        match body.frame().await {
            Some(frame) => first = data(frame)?,
            None => return Ok(alone(first)),
        }
    }
    if body.is_end_stream() {
        return Ok(alone(first));
    }
    // SECURITY: many who send slowly, each within its bounds, must not fill the memory.
    let mut held = None;
    let mut bytes = Vec::from(first);
    loop {
        if !room.grow(&mut held, bytes.len()) {
            return Err(Ungathered::NoRoom);
        }
        match body.frame().await {
            Some(frame) => bytes.extend_from_slice(&data(frame)?),
            None => break,
        }
    }
    Ok(Gathered {
        bytes: bytes.into(),
        room: held,
    })
}

fn data(frame: Result<Frame<Bytes>, BoxError>) -> Result<Bytes, Ungathered> {
    match frame {
        Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
        Err(error) if error.is::<LengthLimitError>() => Err(Ungathered::TooLong),
        Err(_) => Err(Ungathered::Broken),
    }
}

impl Ungathered {
    /// `most` is how long a body may be.
    pub(super) fn problem(&self, most: usize) -> Problem {
        match self {
            Self::NoRoom => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy")
                .detail("too much is being received; ask again"),
            Self::TooLong => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large")
                .detail(format!("the body must not be longer than {most} bytes")),
            Self::Broken => Problem::new(StatusCode::BAD_REQUEST, "bad-request")
                .detail("the body could not be read"),
            Self::TooLate => Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout")
                .detail("the body did not arrive in time"),
        }
    }
}

/// A request whose body is here and is said to be JSON.
pub(super) struct Received {
    pub(super) asker: Asker,
    body: Bytes,
    /// So deep it may be nested.
    levels: usize,
}

/// What a request has of its body, which the gate has gathered.
#[derive(Debug, Clone)]
pub(super) struct Whole(pub(super) Bytes);

/// Checks the content type; gives the body, which is here already.
pub(super) fn receive(inner: &Inner, request: Request) -> Result<Received, Problem> {
    let (mut parts, _) = request.into_parts();
    let asker = parts.extensions.remove().unwrap_or_default();
    let Some(Whole(body)) = parts.extensions.remove() else {
        tracing::error!("a request has not come through the gate");
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"));
    };
    Received::of(inner, &parts.headers, asker, body)
}

impl Received {
    /// Checks the content type of what is here.
    pub(super) fn of(
        inner: &Inner,
        headers: &HeaderMap,
        asker: Asker,
        body: Bytes,
    ) -> Result<Self, Problem> {
        if !is_json(headers) {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request")
                .detail("`Content-Type` must be `application/json`"));
        }
        Ok(Self {
            asker,
            body,
            levels: inner.limits.json_depth,
        })
    }

    /// The body, which is an object.
    pub(super) fn object<'a>(&'a self, arena: &'a Arena) -> Result<Members<'a>, Problem> {
        Members::parse_within(&self.body, arena, self.levels)
            .map_err(|error| bad_request(&RequestError::Json(error)))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    value == "application/json"
        || value
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
        DecisionError::Unavailable(cause) => {
            let cause = cause
                .as_ref()
                .map(|cause| cause.downcast_ref::<Unavailable>());
            match cause.flatten() {
                Some(cause) => {
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "attributes-unavailable")
                        .detail(cause.to_string())
                }
                None => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            }
        }
        DecisionError::Timeout => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        DecisionError::Internal { message } => {
            tracing::error!(message, "a question could not be decided");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    }
}
