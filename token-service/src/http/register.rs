//! `POST /register` (RFC 7591): a client registers itself, with an initial access token, or without one
//! where that is allowed. It gets no more than whoever lets it in may give.
//!
//! SECURITY: before anything of the body is read, it is known who lets the client in.

pub(super) mod manage;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use oauth::{BearerChallenge, BearerError};
use serde_json::{Map, Value, json};

use super::{not_found, render, request};
use crate::audit::audit;
use crate::client_metadata::{ClientMetadata, Said};
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{RegisteredClient, Registrar};
use crate::refusal::{ErrorCode, Refusal};
use crate::registration::{self, Registered};
use crate::registry::{Registration, Registry};

/// Why nothing is registered, changed or told.
pub(super) enum No {
    Refused(Refusal),
    /// Whoever asks has not shown that it may (RFC 6750 section 3).
    Stranger {
        shown: bool,
    },
    /// Too often, or too many; when to come again.
    TooMany(Duration),
}

/// So long an answer stands that there are too many clients.
const LATER: Duration = Duration::from_hours(1);

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    finish(&core, "register", answer(&core, request).await)
}

/// Where nobody may register, there is nothing here.
pub(super) async fn where_on(
    State(core): State<Arc<Core>>,
    request: Request,
    next: Next,
) -> Response {
    if core.registry().registration.is_none() {
        return not_found().await;
    }
    next.run(request).await
}

async fn answer(core: &Core, request: Request) -> Result<Response, No> {
    let (parts, body) = request.into_parts();
    let registry = core.registry();
    let registration = registration_of(&registry)?;
    let by = registrar(core, registration, &parts).await?;
    let said = request::json(&parts, body, ErrorCode::InvalidClientMetadata).await?;
    let metadata = checked(&registry, &by, said)?;
    let registered = registration::register(core, registration, by, metadata).await?;
    let registered = registered.ok_or(No::TooMany(LATER))?;
    let metadata = &registered.kept.metadata;
    Ok(answered(core, StatusCode::CREATED, &registered, metadata))
}

pub(super) fn registration_of(registry: &Registry) -> Result<&Registration, No> {
    let registration = registry.registration.as_ref();
    registration.ok_or(No::Stranger { shown: false })
}

/// Who lets the client in.
async fn registrar(
    core: &Core,
    registration: &Registration,
    parts: &Parts,
) -> Result<Registrar, No> {
    if let Some(token) = bearer(&parts.headers)? {
        return registration.registrar(token, core.now()).ok_or_else(|| {
            audit!(
                "registration_refused",
                reason = "unknown or old initial access token"
            );
            No::Stranger { shown: true }
        });
    }
    let open = registration.open.as_ref();
    let open = open.ok_or(No::Stranger { shown: false })?;
    let network = request::peer_network(parts);
    let key = format!("registrations:{network}");
    if core.store.count(&key, open.window).await? > open.attempts {
        audit!(
            "registration_refused",
            reason = "too many attempts",
            address = network
        );
        return Err(No::TooMany(open.window));
    }
    Ok(Registrar::Open)
}

/// What a client says of itself, within what it may have.
pub(super) fn checked(
    registry: &Registry,
    by: &Registrar,
    said: Map<String, Value>,
) -> Result<ClientMetadata, No> {
    let registration = registration_of(registry)?;
    let bounds = registration.bounds(by);
    let bounds = bounds.ok_or(No::Stranger { shown: true })?;
    let said = Said::read(said).ok_or(Refusal::Denied(
        ErrorCode::InvalidClientMetadata,
        "a member has a value of another type than it must have",
    ))?;
    let checked = bounds.checked(registry, said);
    checked.map_err(|(code, text)| No::Refused(Refusal::Denied(code, text)))
}

/// The one token of the Authorization header, where there is such a header. Never one of the query or
/// the body.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, No> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let pair = value.to_str().ok().and_then(|text| text.split_once(' '));
    match (pair, values.next()) {
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token)),
        _ => Err(No::Stranger { shown: true }),
    }
}

/// RFC 7591 section 3.2.1.
pub(super) fn answered(
    core: &Core,
    status: StatusCode,
    registered: &Registered,
    metadata: &ClientMetadata,
) -> Response {
    let Registered {
        id,
        kept,
        secret,
        token,
    } = registered;
    let mut members = described(core, id, kept, metadata);
    if let Some(secret) = secret {
        members.insert("client_secret".into(), secret.as_str().into());
    }
    members.insert("registration_access_token".into(), token.reveal().into());
    let mut response = render::json(&members);
    *response.status_mut() = status;
    response
}

/// What is said of a client, without what only its owner has.
pub(super) fn described(
    core: &Core,
    id: &str,
    kept: &RegisteredClient,
    metadata: &ClientMetadata,
) -> Map<String, Value> {
    let mut members = metadata.members();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("client_id", id.into());
    put("client_id_issued_at", kept.issued.as_secs().into());
    if let Some(secret) = &kept.secret {
        let exp = secret.exp.map_or(0, service_kit::UnixTime::as_secs);
        put("client_secret_expires_at", exp.into());
    }
    let uri = core.issuer.endpoint(&format!("/register/{id}"));
    put("registration_client_uri", uri.into());
    members
}

/// Counts and renders.
pub(super) fn finish(core: &Core, endpoint: &str, result: Result<Response, No>) -> Response {
    let result = match result {
        Ok(response) => Ok(response),
        Err(No::Refused(refusal)) => Err(refusal),
        Err(No::Stranger { shown }) => {
            core.meter.request(endpoint, "invalid_token");
            return challenged(shown);
        }
        Err(No::TooMany(wait)) => {
            core.meter.request(endpoint, "limited");
            return too_many(wait);
        }
    };
    render::finish(core, endpoint, result)
}

fn challenged(shown: bool) -> Response {
    let text = "the token is not valid here";
    let challenge = BearerChallenge {
        realm: "cedargate",
        error: shown.then_some((BearerError::InvalidToken, text)),
        scope: None,
        step_up: None,
        resource_metadata: None,
    };
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    if shown {
        response = render::json(&json!({ "error": "invalid_token", "error_description": text }));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    if let Ok(value) = HeaderValue::try_from(challenge.to_string()) {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

fn too_many(wait: Duration) -> Response {
    let mut response = render::json(&json!({
        "error": ErrorCode::TemporarilyUnavailable.as_str(),
        "error_description": "there are too many registrations; come again later",
    }));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    render::come_back(&mut response, wait);
    response
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Trouble> for No {
    fn from(trouble: Trouble) -> Self {
        Self::Refused(trouble.into())
    }
}

impl From<store::StoreError> for No {
    fn from(error: store::StoreError) -> Self {
        Self::Refused(error.into())
    }
}
