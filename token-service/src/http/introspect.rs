//! `POST /introspect` (RFC 7662), which is also the swap.
//!
//! SECURITY: the order is fixed. Who calls, then whether they may ask about this resource, then
//! the token. Every kind of "no" about a token is one and the same answer.

mod accept;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use oauth::{SWAP_MEDIA_TYPE, SwapAnswer};
use serde_json::{Value, json};

use super::{client_auth, render, request};
use crate::audit::audit;
use crate::core::Core;
use crate::jws::{Claims, Typ};
use crate::params::Params;
use crate::phantom::{self, Live, Resolved};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{Registry, Resource, ResourceServer};
use accept::Form;

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let started = tokio::time::Instant::now();
    let (parts, body) = request.into_parts();
    let result = match request::form(&parts, body).await {
        Ok(params) => answer(&core, &parts, &params).await,
        // An unreadable body does not hide that the caller is nobody.
        Err(refusal) => Err(stranger(&core, &parts).await.unwrap_or(refusal)),
    };
    core.meter.introspected(started.elapsed());
    render::finish(&core, "introspect", result)
}

async fn stranger(core: &Core, parts: &Parts) -> Option<Refusal> {
    let nothing = Params::parse(b"").ok()?;
    let registry = core.registry();
    let server = client_auth::resource_server(core, &registry, parts, &nothing);
    server.await.err()
}

async fn answer(core: &Core, parts: &Parts, params: &Params) -> Result<Response, Refusal> {
    let registry = core.registry();
    let server = client_auth::resource_server(core, &registry, parts, params).await?;
    let resource = resource(&registry, server, params)?;
    let text = params.get("token").ok_or(Refusal::Denied(
        ErrorCode::InvalidRequest,
        "`token` is missing",
    ))?;
    let resolved = phantom::resolve(core, &registry, text, resource).await?;
    if let Resolved::Inactive(reason) = &resolved {
        audit!(
            "inactive",
            caller = server.id,
            resource = resource.id,
            reason = reason
        );
    }
    let live = match &resolved {
        Resolved::Live(live) => Some(&**live),
        Resolved::Inactive(_) => None,
    };
    match accept::form(&parts.headers) {
        Form::Json => Ok(render::json(&facts(core, live, resource))),
        Form::SignedJson => signed(core, server, live, resource),
        Form::Jwt => jwt(core, live, resource),
        Form::Swap => swap(core, live, resource),
    }
}

/// Which resource is asked about: one that the caller fronts, named unless there is only one.
fn resource<'a>(
    registry: &'a Registry,
    server: &ResourceServer,
    params: &Params,
) -> Result<&'a Resource, Refusal> {
    let id = match (params.resources(), server.resources.as_slice()) {
        ([id], _) => id,
        ([], [only]) => only,
        ([], _) => {
            return Err(Refusal::Denied(
                ErrorCode::InvalidRequest,
                "`resource` is missing: the caller fronts several",
            ));
        }
        (_, _) => {
            return Err(Refusal::Denied(
                ErrorCode::InvalidRequest,
                "`resource` is given twice",
            ));
        }
    };
    registry
        .resource(id)
        .filter(|resource| server.fronts(&resource.id))
        .ok_or_else(|| {
            audit!(
                "introspection_refused",
                caller = server.id,
                reason = "resource not in its list"
            );
            Refusal::Denied(
                ErrorCode::InvalidTarget,
                "the caller may not ask about this resource",
            )
        })
}

/// RFC 7662 section 2.2.
fn facts(core: &Core, live: Option<&Live>, resource: &Resource) -> Value {
    let Some(Live {
        token,
        facts,
        grant,
        ..
    }) = live
    else {
        return json!({ "active": false });
    };
    let mut claims = Claims::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("active", true.into());
    put("scope", facts.scope.to_string().into());
    put("client_id", token.client_id.as_str().into());
    put("token_type", token.token_type().into());
    put("iat", token.issued.as_secs().into());
    put("exp", token.exp.as_secs().into());
    put("sub", facts.sub.as_str().into());
    put("aud", resource.id.as_str().into());
    put("iss", core.issuer.as_str().into());
    put("jti", token.token_ref.as_str().into());
    if let Some(username) = &facts.username {
        put("username", username.as_str().into());
    }
    if let Some(auth_time) = facts.auth_time {
        put("auth_time", auth_time.into());
    }
    if let Some(acr) = &facts.acr {
        put("acr", acr.as_str().into());
    }
    if let Some(act) = &facts.act {
        put("act", act.claim());
    }
    if let Some(login) = &grant.authentication {
        put("sid", login.sid.as_str().into());
    }
    if let Some(confirmation) = token.confirmation() {
        put("cnf", json!(confirmation));
    }
    Value::Object(claims)
}

/// RFC 9701 section 5: the same facts in a signed wrapper, made out to the caller.
fn signed(
    core: &Core,
    server: &ResourceServer,
    live: Option<&Live>,
    resource: &Resource,
) -> Result<Response, Refusal> {
    let mut claims = Claims::new();
    claims.insert("iss".into(), core.issuer.as_str().into());
    claims.insert("aud".into(), server.id.as_str().into());
    claims.insert("iat".into(), core.now().as_secs().into());
    claims.insert("token_introspection".into(), facts(core, live, resource));
    let jws = core.sign(Typ::Introspection, server.introspection_alg, &claims)?;
    let media = "application/token-introspection+jwt";
    Ok(([(header::CONTENT_TYPE, media)], jws).into_response())
}

/// The wire of phantom-token plugins: the bare JWT, or 204. They keep the answer for `max-age`,
/// so this form, alone, has one.
fn jwt(core: &Core, live: Option<&Live>, resource: &Resource) -> Result<Response, Refusal> {
    let Some(live) = live else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    // SECURITY: who asks in this form looks at no proof, and would forward what anybody has found.
    if live.token.confirmation().is_some() {
        audit!(
            "inactive",
            resource = resource.id,
            reason = "bound, and asked about as a bearer token"
        );
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let swapped = phantom::swap(core, live, resource)?;
    let left = swapped.exp.saturating_sub(core.now().as_secs());
    let max_age = left.min(core.ttl.introspection_cache.as_secs());
    let headers = [
        (header::CONTENT_TYPE, "application/jwt".to_owned()),
        (header::CACHE_CONTROL, format!("private, max-age={max_age}")),
    ];
    Ok((headers, swapped.jwt.reveal().to_owned()).into_response())
}

/// Our own gateway's form: facts and JWT at once.
fn swap(core: &Core, live: Option<&Live>, resource: &Resource) -> Result<Response, Refusal> {
    let answer = match live {
        Some(live) => SwapAnswer::active(&phantom::swap(core, live, resource)?),
        None => SwapAnswer::inactive(),
    };
    let mut response = render::json(&answer);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(SWAP_MEDIA_TYPE),
    );
    Ok(response)
}
