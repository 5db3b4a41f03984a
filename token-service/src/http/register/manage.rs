//! `GET|PUT|DELETE /register/{client_id}` (RFC 7592): a client looks at itself, changes itself and ends
//! itself, by the registration access token that it got, and that is good for nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value};
use service_kit::Secret;

use super::{No, answered, bearer, checked, described, finish, registration_of};
use crate::audit::audit;
use crate::client_metadata::ClientMetadata;
use crate::core::Core;
use crate::error::Trouble;
use crate::http::{render, request};
use crate::record::{self, KeptSecret, RegisteredClient, Stored};
use crate::refusal::{ErrorCode, Refusal};
use crate::registration;
use crate::registry::{Client, Registry, SecretHash};
use crate::token::Kind;

const ENDPOINT: &str = "registration";

/// A client may be changed so often in an hour: less scope makes gateways forget what they know.
const MOST_CHANGES: u64 = 10;
const CHANGES_WINDOW: Duration = Duration::from_hours(1);

/// Attempts against other writers before giving up.
const ATTEMPTS: usize = 8;

/// A client that has shown its registration access token.
struct Own {
    stored: Stored<RegisteredClient>,
    /// What it may have now.
    client: Client,
}

pub(in crate::http) async fn get(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    finish(&core, ENDPOINT, show(&core, &id, &parts).await)
}

pub(in crate::http) async fn put(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    finish(&core, ENDPOINT, change(&core, &id, request).await)
}

pub(in crate::http) async fn delete(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    finish(&core, ENDPOINT, end(&core, &id, &parts).await)
}

async fn show(core: &Core, id: &str, parts: &Parts) -> Result<Response, No> {
    let registry = core.registry();
    let own = own(core, &registry, id, parts).await?;
    let kept = &own.stored.record;
    let mut members = described(core, id, kept, &own.now());
    // Section 3: it stays as it was shown.
    if let Some(token) = bearer(&parts.headers)? {
        members.insert("registration_access_token".into(), token.into());
    }
    Ok(render::json(&members))
}

async fn change(core: &Core, id: &str, request: Request) -> Result<Response, No> {
    let (parts, body) = request.into_parts();
    let registry = core.registry();
    let own = own(core, &registry, id, &parts).await?;
    let said = request::json(&parts, body, ErrorCode::InvalidClientMetadata).await?;
    is_about(&said, id, own.stored.record.secret.as_ref())?;
    let metadata = checked(&registry, &own.stored.record.by, said)?;
    let registration = registration_of(&registry)?;
    let key = format!("registration-changes:{id}");
    if core.store.count(&key, CHANGES_WINDOW).await? > MOST_CHANGES {
        return Err(No::TooMany(CHANGES_WINDOW));
    }
    let mut stored = own.stored;
    for _ in 0..ATTEMPTS {
        let updated =
            registration::update(core, registration, id, stored, metadata.clone()).await?;
        if let Some(updated) = updated {
            let metadata = &updated.kept.metadata;
            return Ok(answered(core, StatusCode::OK, &updated, metadata));
        }
        // It has got a token at this moment; or its own token has been used up, which is seen now.
        stored = self::own(core, &registry, id, &parts).await?.stored;
    }
    Err(Trouble::Busy.into())
}

async fn end(core: &Core, id: &str, parts: &Parts) -> Result<Response, No> {
    let registry = core.registry();
    for _ in 0..ATTEMPTS {
        let own = own(core, &registry, id, parts).await?;
        if registration::end(core, id, &own.stored).await? {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    Err(Trouble::Busy.into())
}

/// The client, if it is there and the token is its own. Whatever is wrong, the answer is one and the
/// same: also for a client that is disabled or forgotten.
async fn own(core: &Core, registry: &Registry, id: &str, parts: &Parts) -> Result<Own, No> {
    let Some(shown) = bearer(&parts.headers)? else {
        return Err(No::Stranger { shown: false });
    };
    let refused = |reason: &str| {
        audit!("registration_token_refused", reason = reason);
        No::Stranger { shown: true }
    };
    let handle = Kind::RegistrationToken
        .read(shown, &core.secrets)
        .map_err(|error| refused(&error.to_string()))?;
    if !RegisteredClient::is_id(id) {
        return Err(refused("no registered client"));
    }
    let stored = record::load::<RegisteredClient>(&*core.store, id).await?;
    let stored = stored
        .filter(|stored| stored.record.token == handle.as_str())
        .ok_or_else(|| refused("unknown, used up, or another client's"))?;
    let client = registry
        .registered(id, &stored.record, core.now())
        .ok_or_else(|| refused("the client is disabled, forgotten, or may not be there"))?;
    Ok(Own { stored, client })
}

/// RFC 7592 section 2.2: the client says who it is, and may not choose its secret.
fn is_about(
    said: &Map<String, Value>,
    id: &str,
    secret: Option<&KeptSecret>,
) -> Result<(), Refusal> {
    let refuse = |text| Err(Refusal::Denied(ErrorCode::InvalidClientMetadata, text));
    if said.get("client_id").and_then(Value::as_str) != Some(id) {
        return refuse("`client_id` must be the client's own");
    }
    let Some(shown) = said.get("client_secret") else {
        return Ok(());
    };
    let hash = secret.and_then(|kept| SecretHash::parse(&Secret::new(kept.hash.as_str())).ok());
    let is_its_own = hash
        .zip(shown.as_str())
        .is_some_and(|(hash, shown)| hash.is_of(shown));
    if is_its_own {
        Ok(())
    } else {
        refuse("`client_secret` is not the client's: a client cannot choose it")
    }
}

impl Own {
    /// What was registered, as far as it may be had now.
    fn now(&self) -> ClientMetadata {
        ClientMetadata {
            scope: self.client.scope.clone(),
            grant_types: self.client.grant_types.clone(),
            id_token_alg: self.client.id_token_alg,
            ..self.stored.record.metadata.clone()
        }
    }
}
