//! `GET|POST /userinfo` (OpenID Connect Core section 5.3), challenges as in RFC 6750 section 3.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use oauth::{BearerChallenge, BearerError, Scope, SubjectKind};
use serde_json::{Map, Value};

use super::render;
use crate::audit::audit;
use crate::core::Core;
use crate::phantom::{self, Inactive, Live, Resolved};
use crate::refusal::Refusal;
use crate::registry::{Registry, User};

/// Why there is no answer, in the words of RFC 6750.
enum Challenge {
    NoToken,
    Error(BearerError, &'static str),
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
    let text = match bearer(&parts.headers) {
        Ok(text) => text,
        Err(challenge) => return challenged(core, &challenge),
    };
    let registry = core.registry();
    match phantom::find(core, &registry, text).await {
        Ok(Resolved::Live(live)) => match claims(&registry, &live) {
            Ok(claims) => {
                core.meter.request("userinfo", "ok");
                render::json(&claims)
            }
            Err(challenge) => challenged(core, &challenge),
        },
        Ok(Resolved::Inactive(reason)) => challenged(core, &inactive(&reason)),
        Err(trouble) => render::finish(core, "userinfo", Err(Refusal::Trouble(trouble))),
    }
}

/// The token of the Authorization header. Never one of the query or the body.
fn bearer(headers: &HeaderMap) -> Result<&str, Challenge> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Challenge::NoToken);
    };
    let malformed =
        || Challenge::Error(BearerError::InvalidRequest, "one bearer token is expected");
    if values.next().is_some() {
        return Err(malformed());
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Challenge::NoToken);
    }
    Ok(token)
}

fn claims(registry: &Registry, live: &Live) -> Result<Map<String, Value>, Challenge> {
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
    let user = registry
        .user(&live.facts.sub)
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
        Challenge::NoToken => (http::StatusCode::UNAUTHORIZED, "no_token", None),
        Challenge::Error(error, text) => (error.status(), error.as_str(), Some((*error, *text))),
    };
    core.meter.request("userinfo", outcome);
    let scope = Scope::parse(SCOPE).unwrap_or_default();
    let needs_scope = error.is_some_and(|(error, _)| error == BearerError::InsufficientScope);
    let header_text = BearerChallenge {
        realm: REALM,
        error,
        scope: needs_scope.then_some(&scope),
    }
    .to_string();
    let mut response = status.into_response();
    if let Ok(value) = HeaderValue::try_from(header_text) {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, value);
    }
    response
}
