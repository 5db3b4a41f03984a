//! `POST /revoke` (RFC 7009). Answers 200 only when the revocation is durable, and the same 200
//! for what was never a token of this client.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::{certificate, client_auth, dpop, render, request};
use crate::audit::audit;
use crate::core::Core;
use crate::record::{self, AccessToken, RefreshToken};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::Client;
use crate::revocation;
use crate::token::Kind;

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    render::finish(&core, "revoke", answer(&core, request).await)
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = request::posted(request).await?;
    let registry = core.registry();
    let client = client_auth::client(core, &registry, &parts, &params).await?;
    let shown = dpop::shown(core, &parts, &client, "/revoke").await?;
    let text = params.get("token").ok_or(Refusal::Denied(
        ErrorCode::InvalidRequest,
        "`token` is missing",
    ))?;
    // The kind is in the token: `token_type_hint` has nothing to add.
    let access = Kind::AccessToken.read(text, &core.secrets);
    if let Ok(handle) = access.or_else(|_| Kind::ApiKey.read(text, &core.secrets)) {
        if let Some(token) = record::load::<AccessToken>(&*core.store, handle.as_str()).await? {
            if token.record.client_id == client.id {
                revocation::revoke_access_token(core, &handle, &token.record).await?;
            } else {
                audit!(
                    "revocation_refused",
                    client = client.id,
                    reason = "another client's"
                );
            }
        }
    } else if let Ok(handle) = Kind::RefreshToken.read(text, &core.secrets)
        && let Some(token) = record::load::<RefreshToken>(&*core.store, handle.as_str()).await?
    {
        if token.record.client_id == client.id {
            let key = shown.as_ref().map(|shown| shown.thumbprint.as_str());
            check_bound(
                &client,
                &token.record,
                key,
                certificate::thumbprint(&parts).as_deref(),
            )?;
            revocation::revoke_grant(core, &token.record.grant, "revoked by its client").await?;
        } else {
            audit!(
                "revocation_refused",
                client = client.id,
                reason = "another client's"
            );
        }
    }
    Ok(StatusCode::OK.into_response())
}

/// A public client's name is no secret: whoever found its refresh token could end the grant.
fn check_bound(
    client: &Client,
    token: &RefreshToken,
    key: Option<&str>,
    certificate: Option<&str>,
) -> Result<(), Refusal> {
    if !token.is_bound_to_other(key, certificate) {
        return Ok(());
    }
    audit!(
        "revocation_refused",
        client = client.id,
        reason = "not the key or certificate that the token is bound to"
    );
    Err(if token.key.is_some() {
        Refusal::Denied(
            ErrorCode::InvalidDpopProof,
            "the refresh token is revoked with a DPoP proof of its key",
        )
    } else {
        Refusal::Denied(
            ErrorCode::InvalidRequest,
            "the refresh token is revoked over a connection with its certificate",
        )
    })
}
