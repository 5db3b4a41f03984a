//! `POST /par` (RFC 9126): a client sends its authorization request itself, and the browser brings
//! only its name. Whoever is at the browser can neither read nor change what was asked.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::check::{self, Flaw, Received, Way};
use crate::audit::audit;
use crate::core::Core;
use crate::http::limits::{self, Limited};
use crate::http::{client_auth, dpop, render, request};
use crate::params::Params;
use crate::record::{self, PushedRequest};
use crate::refusal::{ErrorCode, Refusal};
use crate::token::Kind;

/// What names of pushed requests begin with (RFC 9126 section 2.2).
const URN: &str = "urn:ietf:params:oauth:request_uri:";

/// What authenticates the client. It is not kept, and `client_id` is written anew: HTTP Basic need
/// not repeat it.
const CREDENTIALS: [&str; 4] = [
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

pub(in crate::http) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    render::finish(&core, "par", answer(&core, request).await)
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = request::posted(request).await?;
    let registry = core.registry();
    let client = client_auth::client(core, &registry, &parts, &params).await?;
    limits::check(core, &parts, Limited::PushedRequest, &client).await?;
    if params.get("request_uri").is_some() {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "`request_uri` cannot be pushed",
        ));
    }
    // RFC 9449 section 10.1: a proof says which key the code is to be bound to, as `dpop_jkt` does.
    let shown = dpop::shown(core, &parts, &client, "/par").await?;
    let named = params.get("dpop_jkt");
    if let (Some(shown), Some(named)) = (&shown, named)
        && shown.thumbprint != named
    {
        return Err(Refusal::Denied(
            ErrorCode::InvalidDpopProof,
            "`dpop_jkt` is not the key of the DPoP proof",
        ));
    }
    let key = shown.as_ref().map(|shown| shown.thumbprint.as_str());
    let form = kept(&params, &client.id, key.filter(|_| named.is_none()));
    // Section 2.1: what would be refused later is refused now, where the client hears of it.
    let whole = request::read(form.as_bytes())?;
    let received = Received {
        client: Some(&client),
        params: &whole,
        way: Way::Pushed,
    };
    check::check(core, &registry, received).map_err(|flaw| match flaw {
        Flaw::Page(text) => Refusal::Denied(ErrorCode::InvalidRequest, text),
        Flaw::Redirect { code, text, .. } => Refusal::Denied(code, text),
    })?;
    let pushed = PushedRequest {
        client_id: client.id.clone(),
        form,
        exp: core.now().plus(core.ttl.pushed_request),
    };
    let minted = Kind::PushedRequest.mint(&core.secrets)?;
    let id = minted.handle.as_str();
    record::keep(&*core.store, id, &pushed, pushed.exp, core.now()).await?;
    let mut response = render::json(&json!({
        "request_uri": format!("{URN}{}", minted.reveal()),
        "expires_in": core.ttl.pushed_request.as_secs(),
    }));
    *response.status_mut() = StatusCode::CREATED;
    if shown.is_some() {
        dpop::add_nonce(core, &mut response);
    }
    Ok(response)
}

/// What is kept of a request, with what the client has shown instead of written.
fn kept(params: &Params, client: &str, key: Option<&str>) -> String {
    let form = params.to_form(&CREDENTIALS);
    let more = key.map(|key| ("dpop_jkt", key));
    let more = more.into_iter().chain([("client_id", client)]);
    url::form_urlencoded::Serializer::for_suffix(form, 0)
        .extend_pairs(more)
        .finish()
}

/// The request that the browser's parameters name, if they name one that was pushed. It is gone
/// then: whoever comes second, with a link that was copied or leaked, gets nothing.
pub(super) async fn pushed(core: &Core, params: &Params) -> Result<Option<Params>, Refusal> {
    let Some(name) = params
        .get("request_uri")
        .and_then(|uri| uri.strip_prefix(URN))
    else {
        return Ok(None);
    };
    let client = params.get("client_id");
    let gone = |reason: &str| {
        audit!(
            "pushed_request_refused",
            client = client.unwrap_or_default(),
            reason = reason
        );
        Refusal::Denied(
            ErrorCode::InvalidRequestUri,
            "this link has been used or is too old; please start again at the application",
        )
    };
    let handle = Kind::PushedRequest
        .read(name, &core.secrets)
        .map_err(|error| gone(&error.to_string()))?;
    // Looked at before it is taken: another client's guess must not use it up.
    let stored = record::load::<PushedRequest>(&*core.store, handle.as_str())
        .await?
        .ok_or_else(|| gone("unknown, or used"))?;
    if client != Some(stored.record.client_id.as_str()) {
        return Err(gone("pushed by another client"));
    }
    let taken = record::take::<PushedRequest>(&*core.store, handle.as_str())
        .await?
        .filter(|taken| core.now() < taken.exp)
        .ok_or_else(|| gone("used, or too old"))?;
    request::read(taken.form.as_bytes()).map(Some)
}
