//! Answers of the endpoints that machines call: JSON, and errors as RFC 6749 section 5.2 wants
//! them. The one place where a [`Refusal`] becomes a status.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use super::dpop;
use crate::core::Core;
use crate::error::Trouble;
use crate::refusal::{ErrorCode, Refusal};

/// When to come back after an outage.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// 200 with JSON.
pub(super) fn json<T: Serialize>(body: &T) -> Response {
    with_json(StatusCode::OK, body)
}

/// Counts and renders what an endpoint came to.
pub(super) fn finish(core: &Core, endpoint: &str, result: Result<Response, Refusal>) -> Response {
    match result {
        Ok(response) => {
            core.meter.request(endpoint, "ok");
            response
        }
        Err(refusal) => {
            core.meter.request(endpoint, outcome(&refusal));
            if let Refusal::Trouble(trouble) = &refusal {
                log(endpoint, trouble);
            }
            let mut response = refused(&refusal);
            if let Refusal::Denied(ErrorCode::UseDpopNonce, _) = &refusal {
                dpop::add_nonce(core, &mut response);
            }
            response
        }
    }
}

/// The word for metrics.
pub(super) fn outcome(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Denied(code, _) => code.as_str(),
        Refusal::TooLarge => "too_large",
        Refusal::TooSlow => "too_slow",
        Refusal::TooMany(_) => "limited",
        Refusal::Trouble(trouble) => trouble.code().as_str(),
    }
}

/// Says in the log what strangers are not told.
pub(super) fn log(endpoint: &str, trouble: &Trouble) {
    tracing::error!(
        endpoint,
        error = trouble.chain(),
        "a request cannot be answered"
    );
}

/// The status that goes with a refusal.
pub(super) fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Denied(ErrorCode::InvalidClient, _) => StatusCode::UNAUTHORIZED,
        Refusal::Denied(_, _) => StatusCode::BAD_REQUEST,
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Trouble(trouble) if trouble.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Trouble(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Adds `Retry-After` where coming back may help.
pub(super) fn add_retry_after(response: &mut Response, refusal: &Refusal) {
    match refusal {
        Refusal::TooMany(window) => come_back(response, *window),
        Refusal::Trouble(trouble) if trouble.is_outage() => come_back(response, SOON),
        _ => {}
    }
}

/// Says when to come back.
pub(super) fn come_back(response: &mut Response, wait: Duration) {
    let after = HeaderValue::from(wait.as_secs());
    response.headers_mut().insert(header::RETRY_AFTER, after);
}

fn refused(refusal: &Refusal) -> Response {
    let (code, description) = match refusal {
        Refusal::Denied(code, description) => (*code, *description),
        Refusal::TooLarge => (ErrorCode::InvalidRequest, "the body is too long"),
        Refusal::TooSlow => (ErrorCode::InvalidRequest, "the body is too slow"),
        Refusal::TooMany(_) => (ErrorCode::TemporarilyUnavailable, "too many requests"),
        Refusal::Trouble(trouble) if trouble.is_outage() => {
            (trouble.code(), "try again in a moment")
        }
        Refusal::Trouble(trouble) => (trouble.code(), "the request cannot be answered"),
    };
    let body = json!({ "error": code.as_str(), "error_description": description });
    let mut response = with_json(status(refusal), &body);
    add_retry_after(&mut response, refusal);
    if code == ErrorCode::InvalidClient {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"cedargate\", charset=\"UTF-8\""),
        );
    }
    response
}

fn with_json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
