//! What every endpoint does first and last: take in a body within its bounds, and turn what is no
//! answer into a problem.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use authzen::{DecisionError, RequestError};
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use service_kit::serve::{Peer, RequestId};
use service_kit::{Problem, TraceContext};

use crate::callers::Caller;
use crate::decision_log::Asker;
use crate::pdp::Inner;

/// A caller gets this long to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes in the whole body within its bounds, so that a slow one holds up nobody else.
pub(super) async fn gather(inner: &Inner, request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, inner.limits.body_bytes);
    match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => {
            let body = body.to_bytes();
            let deepest = inner.limits.json_depth;
            if depth(&body) > deepest {
                return Err(
                    Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(format!(
                        "arrays and objects must not be nested deeper than {deepest} levels \
                         (`pdp.max_json_depth`)"
                    )),
                );
            }
            Ok(Request::from_parts(parts, Body::from(body)))
        }
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

/// How deep arrays and objects are nested, whatever else may be wrong with the text.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    let mut in_text = false;
    while let Some(byte) = bytes.next() {
        match (byte, in_text) {
            // Whatever follows, it does not end the text.
            (b'\\', true) => {
                bytes.next();
            }
            (b'"', _) => in_text = !in_text,
            (b'[' | b'{', false) => {
                now += 1;
                deepest = deepest.max(now);
            }
            (b']' | b'}', false) => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Checks the content type; gives the body, which is here already.
pub(super) async fn receive(request: Request) -> Result<(Asker, Bytes), Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request")
            .detail("`Content-Type` must be `application/json`"));
    }
    let asker = asker(&request);
    match request.into_body().collect().await {
        Ok(body) => Ok((asker, body.to_bytes())),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request")
            .detail("the body could not be read")),
    }
}

fn asker(request: &Request) -> Asker {
    let extensions = request.extensions();
    let caller = match (extensions.get::<Caller>(), extensions.get::<Peer>()) {
        (Some(caller), _) => caller.name.clone(),
        (None, Some(peer)) => peer.0.to_string(),
        (None, None) => "unknown".to_owned(),
    };
    let request_id = extensions
        .get::<RequestId>()
        .map(|id| String::from_utf8_lossy(id.0.as_bytes()).into_owned());
    // Where nothing is recorded, the caller's own context ties the log to its trace.
    let trace = extensions.get::<TraceContext>().cloned();
    Asker {
        caller,
        request_id,
        trace: trace.or_else(|| TraceContext::from_headers(request.headers())),
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
    Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(error.to_string())
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

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn depth_is_that_of_arrays_and_objects_outside_of_texts() {
        for (json, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{}],"b":[[]]}"#, 3),
            (r#"["[[[", "\"[[", "\\", []]"#, 2),
            ("]]]][", 1),
            (r#""\"#, 0),
        ] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}
