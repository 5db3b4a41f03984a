//! `GET|POST /device` (RFC 8628 section 3.3): a person who is logged in types the code that a device
//! shows. A link may bring the code along; it fills in the form and does nothing else.
//!
//! Whoever guesses is known by name and is slowed down: codes are looked up for people who are
//! logged in alone, and what is unknown, used or too old looks the same.

pub(super) mod confirm;
mod pending;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use service_kit::digest;

use super::authorize::{self, Wish};
use super::browser::{self, LoggedIn};
use super::{pages, request};
use crate::audit::audit;
use crate::config::GrantType;
use crate::core::Core;
use crate::error::Trouble;
use crate::params::Params;
use crate::record::{DeviceCode, DeviceState};
use crate::refusal::{ErrorCode, Refusal};
use crate::token::{Handle, UserCode};
use oauth::Scope;
use pending::Pending;

/// The page, below the issuer; with the code that it begins with.
pub(super) fn endpoint(code: Option<&UserCode>) -> String {
    match code {
        Some(code) => format!("/device?user_code={}", code.shown()),
        None => "/device".to_owned(),
    }
}

/// Sends the browser there.
pub(super) fn go(core: &Core, code: Option<&UserCode>) -> Response {
    browser::see_other(&format!("{}{}", core.issuer.path(), endpoint(code)))
}

pub(super) async fn get(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let result = match request::query(&parts) {
        Ok(params) => show(&core, &parts, &params).await,
        Err(refusal) => Err(refusal),
    };
    result.unwrap_or_else(|refusal| pages::refusal(&core, "device", &refusal))
}

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let result = answer(&core, request).await;
    result.unwrap_or_else(|refusal| pages::refusal(&core, "device", &refusal))
}

/// The form, or the login before it. The code in the link is not looked up: a link says nothing
/// about whether there is such a code.
async fn show(core: &Core, parts: &Parts, params: &Params) -> Result<Response, Refusal> {
    let code = params.get("user_code").and_then(UserCode::read);
    match browser::logged_in(core, parts).await? {
        Some(logged_in) => Ok(pages::device::form(core, &logged_in, code.as_ref(), None)),
        None => authorize::begin_device(core, parts, code.as_ref()).await,
    }
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = &request::posted(request).await?;
    let code = params.get("user_code").and_then(UserCode::read);
    let Some(logged_in) = browser::logged_in(core, parts).await? else {
        return Ok(go(core, code.as_ref()));
    };
    pages::device::check_form(core, &logged_in, params)?;
    let handle = code.as_ref().map(|code| code.handle(&core.secrets));
    if is_over_limit(core, &logged_in, handle.as_ref()).await? {
        return Ok(pages::too_many_attempts(core, "device"));
    }
    let pending = match &handle {
        Some(handle) => pending::find(core, handle).await?,
        None => None,
    };
    let (Some(code), Some(pending)) = (code, pending) else {
        audit!("user_code_refused", sub = logged_in.session.sub);
        return Ok(pages::device::unknown(core, &logged_in));
    };
    match permitted(core, pending.code(), &logged_in).await? {
        Some(scope) => {
            let client = &pending.code().client_id;
            Ok(pages::device::confirm(core, &logged_in, &code, client, &scope).await?)
        }
        None => deny(core, &pending, &logged_in).await,
    }
}

/// What this person may give to the device, as the decision point sees it now: the same question as
/// for an authorization code.
async fn permitted(
    core: &Core,
    code: &DeviceCode,
    logged_in: &LoggedIn,
) -> Result<Option<Scope>, Trouble> {
    let wish = Wish {
        grant_type: GrantType::DeviceCode,
        client_id: &code.client_id,
        scope: &code.scope,
        resources: &code.resources,
    };
    authorize::permitted(core, wish, &logged_in.session).await
}

/// Nothing is permitted: the device hears it, too.
async fn deny(core: &Core, pending: &Pending, logged_in: &LoggedIn) -> Result<Response, Refusal> {
    if !pending::settle(core, pending, DeviceState::Denied).await? {
        return Ok(pages::device::unknown(core, logged_in));
    }
    Err(Refusal::Denied(
        ErrorCode::AccessDenied,
        "you may not give this application any access",
    ))
}

/// Counts the attempt: of this person, in whatever browser and from whatever address, and at this
/// code (RFC 8628 section 5.1).
async fn is_over_limit(
    core: &Core,
    logged_in: &LoggedIn,
    code: Option<&Handle>,
) -> Result<bool, Trouble> {
    let sub = &logged_in.session.sub;
    let person = digest::sha256_base64url(sub.as_bytes());
    let person = format!("device-attempts:sub:{person}");
    let code = code.map(|code| format!("device-attempts:code:{}", code.as_str()));
    let mut is_over = false;
    for key in [Some(person), code].into_iter().flatten() {
        let attempts = core.store.count(&key, core.attempts.window).await?;
        is_over |= attempts > core.attempts.most;
    }
    if is_over {
        audit!("user_code_refused", sub = sub, reason = "too many attempts");
    }
    Ok(is_over)
}
