//! `POST /token` (RFC 6749 section 3.2).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::{certificate, client_auth, dpop, render, request};
use crate::clients;
use crate::config::GrantType;
use crate::core::Core;
use crate::grant::{self, TokenRequest};
use crate::refusal::{ErrorCode, Refusal};

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    render::finish(&core, "token", answer(&core, request).await)
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = request::posted(request).await?;
    let registry = core.registry();
    let client = client_auth::client(core, &registry, &parts, &params).await?;
    let shown = dpop::shown(core, &parts, &client, "/token").await?;
    let word = params.get("grant_type").ok_or(Refusal::Denied(
        ErrorCode::InvalidRequest,
        "`grant_type` is missing",
    ))?;
    let grant_type = GrantType::from_wire(word).ok_or(Refusal::Denied(
        ErrorCode::UnsupportedGrantType,
        "the grant type is not supported",
    ))?;
    let certificate = certificate::thumbprint(&parts);
    let request = TokenRequest {
        core,
        registry: &registry,
        client: &client,
        params: &params,
        key: shown.as_ref().map(|shown| shown.thumbprint.as_str()),
        certificate: certificate.as_deref(),
    };
    let answer = grant::exchange(request, grant_type).await?;
    if !clients::used(core, &registry, &client).await? {
        return Err(Refusal::Denied(
            ErrorCode::InvalidClient,
            "the caller is not authenticated",
        ));
    }
    let mut response = render::json(&answer);
    if shown.is_some() {
        dpop::add_nonce(core, &mut response);
    }
    Ok(response)
}
