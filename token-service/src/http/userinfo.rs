//! `GET|POST /userinfo` (OpenID Connect Core section 5.3), challenges as in RFC 6750 section 3 and
//! RFC 9449 section 7.1.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use oauth::{BearerChallenge, BearerError, DpopChallenge, DpopRequest, Scope, SubjectKind};
use serde_json::{Map, Value};

use super::{certificate, dpop, render};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::phantom::{self, Inactive, Live, Resolved};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::User;

/// Why there is no answer, in the words of RFC 6750.
enum Challenge {
    NoToken,
    Error(BearerError, &'static str),
    /// In those of RFC 9449.
    Dpop(ErrorCode, &'static str),
}

/// What a request brings.
struct Brought<'a> {
    token: &'a str,
    /// By the scheme `DPoP`: a proof belongs to it.
    is_bound: bool,
}

const REALM: &str = "cedargate";
const SCOPE: &str = "openid";

pub(super) async fn get(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(&core, &parts).await
}

/// The same: a token in the body is not read.
pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(&core, &parts).await
}

async fn answer(core: &Core, parts: &Parts) -> Response {
    match told(core, parts).await {
        Ok(Ok(claims)) => {
            core.meter.request("userinfo", "ok");
            render::json(&claims)
        }
        Ok(Err(challenge)) => challenged(core, &challenge),
        Err(trouble) => render::finish(core, "userinfo", Err(Refusal::Trouble(trouble))),
    }
}

type Told = Result<Map<String, Value>, Challenge>;

async fn told(core: &Core, parts: &Parts) -> Result<Told, Trouble> {
    let brought = match brought(&parts.headers) {
        Ok(brought) => brought,
        Err(challenge) => return Ok(Err(challenge)),
    };
    let registry = core.registry();
    let live = match phantom::find(core, &registry, brought.token).await? {
        Resolved::Live(live) => live,
        Resolved::Inactive(reason) => {
            let challenge = inactive(&reason);
            return Ok(Err(if brought.is_bound {
                Challenge::Dpop(ErrorCode::InvalidToken, "the token is not valid")
            } else {
                challenge
            }));
        }
    };
    // SECURITY: before anything is told. Whoever has the token alone may have found it.
    if let Err(challenge) = confirmed(core, parts, &brought, &live).await? {
        return Ok(Err(challenge));
    }
    Ok(claims(&live))
}

/// Whether a token came in the way that it has to, with the proof that it is bound to.
async fn confirmed(
    core: &Core,
    parts: &Parts,
    brought: &Brought<'_>,
    live: &Live,
) -> Result<Result<(), Challenge>, Trouble> {
    let refused = |reason: &dyn std::fmt::Display, challenge: Challenge| {
        audit!(
            "userinfo_refused",
            client = live.token.client_id,
            reason = reason
        );
        Ok(Err(challenge))
    };
    let invalid = |text| Challenge::Dpop(ErrorCode::InvalidToken, text);
    let wanted = live.token.certificate.as_ref();
    if wanted.is_some_and(|wanted| certificate::thumbprint(parts).as_ref() != Some(wanted)) {
        let text = "the token is bound to a certificate, which is not shown";
        let challenge = Challenge::Error(BearerError::InvalidToken, text);
        return refused(&"not the certificate that it is bound to", challenge);
    }
    let key = match (&live.token.key, brought.is_bound) {
        (None, false) => return Ok(Ok(())),
        // RFC 9449 section 7.2: else a proof could be left out.
        (Some(_), false) => {
            return refused(
                &"bound, and without a proof",
                invalid("the token is bound to a key"),
            );
        }
        (None, true) => {
            return refused(
                &"a proof of what is not bound",
                invalid("the token is not bound"),
            );
        }
        (Some(key), true) => key,
    };
    let url = certificate::url(core, parts, "/userinfo");
    let request = DpopRequest {
        method: &parts.method,
        url: &url,
        access_token: Some(brought.token),
    };
    match dpop::prove(core, &parts.headers, &request).await? {
        Ok(Some(shown)) if shown.thumbprint == *key => Ok(Ok(())),
        Ok(Some(_)) => refused(
            &"the proof of another key",
            invalid("the token is bound to another key"),
        ),
        Ok(None) => {
            let challenge = Challenge::Dpop(ErrorCode::InvalidDpopProof, "there is no DPoP proof");
            refused(&"no proof", challenge)
        }
        Err(unproven) => match Refusal::from(unproven) {
            Refusal::Denied(code, text) => refused(&unproven, Challenge::Dpop(code, text)),
            _ => refused(&unproven, invalid("the proof is not good")),
        },
    }
}

/// The token of the Authorization header. Never one of the query or the body.
fn brought(headers: &HeaderMap) -> Result<Brought<'_>, Challenge> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Challenge::NoToken);
    };
    let malformed =
        || Challenge::Error(BearerError::InvalidRequest, "one access token is expected");
    if values.next().is_some() {
        return Err(malformed());
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(malformed)?;
    let is_bound = scheme.eq_ignore_ascii_case("dpop");
    if !is_bound && !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Challenge::NoToken);
    }
    Ok(Brought { token, is_bound })
}

fn claims(live: &Live) -> Result<Map<String, Value>, Challenge> {
    if live.token.restricted {
        audit!(
            "userinfo_refused",
            client = live.token.client_id,
            reason = "for other resources"
        );
        return Err(Challenge::Error(
            BearerError::InvalidToken,
            "the token is not for this service",
        ));
    }
    let scope = &live.facts.scope;
    if live.facts.kind != SubjectKind::User || !scope.contains(SCOPE) {
        return Err(Challenge::Error(
            BearerError::InsufficientScope,
            "the token lacks the scope",
        ));
    }
    let user = live
        .user
        .as_ref()
        .ok_or_else(|| inactive(&Inactive::UserGone))?;
    Ok(user_claims(user, scope))
}

/// OpenID Connect Core sections 5.1 and 5.4.
fn user_claims(user: &User, scope: &Scope) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".into(), user.sub.as_str().into());
    if scope.contains("profile") {
        claims.insert("preferred_username".into(), user.username.as_str().into());
        if let Some(name) = &user.name {
            claims.insert("name".into(), name.as_str().into());
        }
    }
    if let Some(email) = user.email.as_ref().filter(|_| scope.contains("email")) {
        claims.insert("email".into(), email.as_str().into());
    }
    claims
}

fn inactive(reason: &Inactive) -> Challenge {
    audit!("userinfo_refused", reason = reason);
    Challenge::Error(BearerError::InvalidToken, "the token is not valid")
}

fn challenged(core: &Core, challenge: &Challenge) -> Response {
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
