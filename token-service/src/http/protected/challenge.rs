//! Why nobody is known by a token: challenges of RFC 6750 section 3 and RFC 9449 section 7.1.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use oauth::{BearerChallenge, BearerError, DpopChallenge, Scope};

use super::Endpoint;
use crate::core::Core;
use crate::http::dpop;
use crate::refusal::ErrorCode;

/// What whoever asked is told.
#[derive(Debug)]
pub(in crate::http) enum Challenge {
    NoToken,
    Error(BearerError, &'static str),
    /// In those of RFC 9449.
    Dpop(ErrorCode, &'static str),
}

const REALM: &str = "cedargate";

impl Challenge {
    /// The token has not the scope of the endpoint.
    pub(in crate::http) fn lacks_scope() -> Self {
        Self::Error(BearerError::InsufficientScope, "the token lacks the scope")
    }

    /// Counts and renders.
    pub(in crate::http) fn answer(&self, core: &Core, endpoint: Endpoint) -> Response {
        match self {
            Self::NoToken => by_bearer(core, endpoint, None),
            Self::Error(error, text) => by_bearer(core, endpoint, Some((*error, text))),
            Self::Dpop(code, text) => by_dpop(core, endpoint, *code, text),
        }
    }
}

fn by_bearer(core: &Core, endpoint: Endpoint, error: Option<(BearerError, &str)>) -> Response {
    let (status, outcome) = match error {
        None => (StatusCode::UNAUTHORIZED, "no_token"),
        Some((error, _)) => (error.status(), error.as_str()),
    };
    core.meter.request(endpoint.name, outcome);
    let scope = Scope::parse(endpoint.scope).unwrap_or_default();
    let needs_scope = error.is_some_and(|(error, _)| error == BearerError::InsufficientScope);
    let header_text = BearerChallenge {
        realm: REALM,
        error,
        scope: needs_scope.then_some(&scope),
        step_up: None,
        resource_metadata: None,
    }
    .to_string();
    let mut response = status.into_response();
    challenge_with(&mut response, &header_text);
    if error.is_none() {
        let also = DpopChallenge {
            realm: REALM,
            ..DpopChallenge::default()
        };
        challenge_with(&mut response, &also.to_string());
    }
    response
}

fn by_dpop(core: &Core, endpoint: Endpoint, code: ErrorCode, text: &str) -> Response {
    core.meter.request(endpoint.name, code.as_str());
    let challenge = DpopChallenge {
        realm: REALM,
        error: Some((code.as_str(), text)),
        ..DpopChallenge::default()
    };
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    challenge_with(&mut response, &challenge.to_string());
    if code == ErrorCode::UseDpopNonce {
        dpop::add_nonce(core, &mut response);
    }
    response
}

fn challenge_with(response: &mut Response, text: &str) {
    if let Ok(value) = HeaderValue::try_from(text) {
        response
            .headers_mut()
            .append(header::WWW_AUTHENTICATE, value);
    }
}
