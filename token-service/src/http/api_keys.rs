//! `POST /api-keys`, `GET /api-keys`, `DELETE /api-keys/{id}`: a person or a client makes keys for its programs,
//! sees them and ends them, by an access token with the scope `api_keys`.
//!
//! A key is told once. It comes with no more than the access token has that made it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use oauth::Scope;
use serde_json::{Map, Value, json};

use super::protected::{Challenge, Endpoint};
use super::{not_found, render, request};
use crate::api_keys::{self, Made, Unmade, Wanted};
use crate::core::Core;
use crate::error::Trouble;
use crate::phantom::Live;
use crate::record::ApiKey;
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{API_KEYS, ApiKeyRules};

const ENDPOINT: Endpoint = Endpoint {
    name: "api_keys",
    path: "/api-keys",
    scope: API_KEYS,
};

/// A subject may make so many in an hour, ended ones included: each leaves something in the store.
const MOST_MADE: u64 = 60;
const MADE_WINDOW: Duration = Duration::from_hours(1);

/// Characters.
const LONGEST_NAME: usize = 100;

/// Why there is no answer.
enum No {
    Nobody(Challenge),
    Refused(Refusal),
    NotThere,
}

/// Where there are no keys, there is nothing here.
pub(super) async fn where_on(
    State(core): State<Arc<Core>>,
    request: Request,
    next: Next,
) -> Response {
    if core.registry().api_keys.is_none() {
        return not_found().await;
    }
    next.run(request).await
}

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let made = make(&core, request).await;
    finish(&core, made).await
}

pub(super) async fn get(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let listed = list(&core, &parts).await;
    finish(&core, listed).await
}

pub(super) async fn delete(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let ended = end(&core, &parts, &id).await;
    finish(&core, ended).await
}

async fn make(core: &Core, request: Request) -> Result<Response, No> {
    let (parts, body) = request.into_parts();
    let caller = caller(core, &parts, "").await?;
    let registry = core.registry();
    let rules = registry.api_keys.as_ref().ok_or(No::NotThere)?;
    let said = request::json(&parts, body, ErrorCode::InvalidRequest).await?;
    let wanted = wanted(rules, said)?;
    let key = format!(
        "api-keys:{}:{}",
        caller.facts.kind.as_str(),
        caller.facts.sub
    );
    if core
        .store
        .count(&key, MADE_WINDOW)
        .await
        .map_err(Trouble::from)?
        > MOST_MADE
    {
        return Err(Refusal::TooMany(MADE_WINDOW).into());
    }
    let Made { text, key } = api_keys::make(core, (&registry, rules), &caller, wanted)
        .await?
        .map_err(refused)?;
    let mut members = described(&key);
    members.insert("api_key".into(), text.reveal().into());
    let mut response = render::json(&members);
    *response.status_mut() = StatusCode::CREATED;
    let location = core
        .issuer
        .endpoint(&format!("{}/{}", ENDPOINT.path, key.id));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn list(core: &Core, parts: &Parts) -> Result<Response, No> {
    let caller = caller(core, parts, "").await?;
    let keys = api_keys::list(core, &caller.grant.subject).await?;
    let keys: Vec<_> = keys.iter().map(described).collect();
    Ok(render::json(&json!({ "api_keys": keys })))
}

async fn end(core: &Core, parts: &Parts, id: &str) -> Result<Response, No> {
    let caller = caller(core, parts, &format!("/{id}")).await?;
    if api_keys::end(core, &caller.grant.subject, id).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(No::NotThere)
    }
}

async fn caller(core: &Core, parts: &Parts, path: &str) -> Result<Box<Live>, No> {
    let caller = ENDPOINT.caller(core, parts, (None, path)).await?;
    caller.map_err(No::Nobody)
}

/// What is asked for, understood whole or refused.
fn wanted(rules: &ApiKeyRules, mut said: Map<String, Value>) -> Result<Wanted, Refusal> {
    let name = match said.remove("name") {
        Some(Value::String(name)) if is_name(&name) => name,
        _ => return Err(invalid("`name` must be a text of 1 to 100 characters")),
    };
    let scope = match said.remove("scope") {
        None => None,
        Some(Value::String(text)) => Some(
            Scope::parse(&text)
                .map_err(|_| Refusal::Denied(ErrorCode::InvalidScope, "the scope is malformed"))?,
        ),
        Some(_) => return Err(invalid("`scope` must be a text")),
    };
    let resources = match said.remove("resource") {
        None => Vec::new(),
        Some(Value::String(id)) => vec![id],
        Some(Value::Array(ids)) => ids
            .into_iter()
            .map(|id| match id {
                Value::String(id) => Ok(id),
                _ => Err(invalid("`resource` must be a text, or a list of texts")),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(invalid("`resource` must be a text, or a list of texts")),
    };
    let life = match said.remove("expires_in") {
        None => rules.default_life,
        Some(secs) => secs
            .as_u64()
            .map(Duration::from_secs)
            .filter(|life| !life.is_zero() && *life <= rules.max_life)
            .ok_or_else(|| invalid("`expires_in` must be seconds, and no more than is allowed"))?,
    };
    if !said.is_empty() {
        return Err(invalid("there is a member that is not known"));
    }
    Ok(Wanted {
        name,
        scope,
        resources,
        life,
    })
}

fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=LONGEST_NAME).contains(&length) && !name.chars().any(char::is_control)
}

/// What is told of a key after it was made.
fn described(key: &ApiKey) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("id", key.id.as_str().into());
    put("name", key.name.as_str().into());
    put("client_id", key.client_id.as_str().into());
    put("scope", key.scope.to_string().into());
    put("resource", key.resources.clone().into());
    put("created_at", key.created.as_secs().into());
    put("expires_at", key.exp.as_secs().into());
    members
}

fn invalid(text: &'static str) -> Refusal {
    Refusal::Denied(ErrorCode::InvalidRequest, text)
}

fn refused(unmade: Unmade) -> No {
    let (code, text) = match unmade {
        Unmade::Exchanged => (
            ErrorCode::AccessDenied,
            "a token that was exchanged makes no keys",
        ),
        Unmade::Bound => (
            ErrorCode::UnauthorizedClient,
            "the client's tokens are bound, and a key would not be",
        ),
        Unmade::Scope => (
            ErrorCode::InvalidScope,
            "a key has some of the scope of the token that makes it",
        ),
        Unmade::Denied => (ErrorCode::InvalidScope, "nothing of the scope is granted"),
        Unmade::Resource => (
            ErrorCode::InvalidTarget,
            "a resource is unknown, or the scope means nothing there",
        ),
        Unmade::TooMany => (
            ErrorCode::InvalidRequest,
            "there are as many keys as there may be: end one",
        ),
        Unmade::Ended => return No::Nobody(ENDPOINT.inactive(&"revoked while a key was made")),
    };
    Refusal::Denied(code, text).into()
}

async fn finish(core: &Core, result: Result<Response, No>) -> Response {
    match result {
        Ok(response) => render::finish(core, ENDPOINT.name, Ok(response)),
        Err(No::Refused(refusal)) => render::finish(core, ENDPOINT.name, Err(refusal)),
        Err(No::Nobody(challenge)) => challenge.answer(core, ENDPOINT),
        Err(No::NotThere) => {
            core.meter.request(ENDPOINT.name, "not_found");
            not_found().await
        }
    }
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
