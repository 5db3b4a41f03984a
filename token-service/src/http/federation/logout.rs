//! `POST /federation/{id}/backchannel_logout` (OpenID Connect Back-Channel Logout 1.0, as the client): an
//! identity provider says that a login there has ended. And `GET /federation/{id}/logged_out`: a browser
//! comes back from logging out there.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::audit::audit;
use crate::core::Core;
use crate::federation::{self, Stop};
use crate::http::{browser, pages, render, request};
use crate::params::Params;
use crate::provider::Fault;
use crate::record::{self, UpstreamLogout};
use crate::refusal::{ErrorCode, Refusal};
use crate::token::Kind;

pub(in crate::http) async fn backchannel(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let result = told(&core, &id, request).await;
    render::finish(&core, "upstream_logout", result)
}

pub(in crate::http) async fn logged_out(
    State(core): State<Arc<Core>>,
    Path(_): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let result = match request::query(&parts) {
        Ok(params) => after(&core, &params).await,
        Err(refusal) => Err(refusal),
    };
    result.unwrap_or_else(|refusal| pages::refusal(&core, "logout", &refusal))
}

async fn told(core: &Core, id: &str, request: Request) -> Result<Response, Refusal> {
    let (_, params) = request::posted(request).await?;
    let registry = core.registry();
    let refused = || {
        Refusal::Denied(
            ErrorCode::InvalidRequest,
            "the logout token is missing or not valid",
        )
    };
    let provider = registry.provider(id).ok_or_else(refused)?;
    let token = params.get("logout_token").ok_or_else(refused)?;
    let farewell = match federation::told(core, provider, token).await {
        Ok(farewell) => farewell,
        Err(Stop::Trouble(trouble)) => return Err(trouble.into()),
        Err(Stop::Fault(fault)) => {
            audit!(
                "upstream_logout_refused",
                provider = provider.id,
                reason = fault
            );
            // Its keys cannot be had: the provider is to say it again.
            if matches!(fault, Fault::Down(_)) {
                return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
            }
            return Err(refused());
        }
    };
    federation::end(core, provider, &farewell).await?;
    audit!("upstream_logout", provider = provider.id);
    Ok(StatusCode::OK.into_response())
}

/// To where the client wanted it, if a client did.
async fn after(core: &Core, params: &Params) -> Result<Response, Refusal> {
    let handle = params
        .get("state")
        .and_then(|text| Kind::UpstreamLogout.read(text, &core.secrets).ok());
    let kept = match handle {
        Some(handle) => record::take::<UpstreamLogout>(&*core.store, handle.as_str()).await?,
        None => None,
    };
    Ok(match kept.filter(|kept| core.now() < kept.exp) {
        Some(kept) => browser::redirect_after_logout(&kept.target, kept.state.as_deref()),
        None => pages::logged_out(),
    })
}
