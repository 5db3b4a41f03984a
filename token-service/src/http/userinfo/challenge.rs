//! Why there is no answer: challenges of RFC 6750 section 3 and RFC 9449 section 7.1.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use oauth::{BearerChallenge, BearerError, DpopChallenge, Scope};

use crate::core::Core;
use crate::http::dpop;
use crate::refusal::ErrorCode;

#[derive(Debug)]
pub(super) enum Challenge {
    NoToken,
    Error(BearerError, &'static str),
    /// In those of RFC 9449.
    Dpop(ErrorCode, &'static str),
}

const REALM: &str = "cedargate";
pub(super) const SCOPE: &str = "openid";

pub(super) fn challenged(core: &Core, challenge: &Challenge) -> Response {
    let (status, outcome, error) = match challenge {
        Challenge::NoToken => (StatusCode::UNAUTHORIZED, "no_token", None),
        Challenge::Error(error, text) => (error.status(), error.as_str(), Some((*error, *text))),
        Challenge::Dpop(code, text) => return challenged_dpop(core, *code, text),
    };
    core.meter.request("userinfo", outcome);
    let scope = Scope::parse(SCOPE).unwrap_or_default();
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

fn challenged_dpop(core: &Core, code: ErrorCode, text: &str) -> Response {
    core.meter.request("userinfo", code.as_str());
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
