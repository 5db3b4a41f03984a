//! `POST /device/confirm`: the answer of the person who was shown a device's request. It counts
//! once, from the login that the request was shown to, and for what was shown.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use oauth::Scope;

use super::pending::{self, Pending};
use super::{deny, permitted};
use crate::audit::audit;
use crate::core::Core;
use crate::http::browser::{self, LoggedIn};
use crate::http::{forms, pages, request};
use crate::params::Params;
use crate::record::{Approval, DeviceState};
use crate::refusal::{ErrorCode, Refusal};
use crate::token::UserCode;

pub(in crate::http) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let result = answer(&core, request).await;
    result.unwrap_or_else(|refusal| pages::refusal(&core, "device", &refusal))
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = &request::posted(request).await?;
    let logged_in = browser::logged_in(core, parts)
        .await?
        .ok_or(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "you are not logged in any more; please start again",
        ))?;
    // SECURITY: before the code is looked up. Only who was shown this request may ask about it:
    // here, nobody counts guesses.
    let (code, shown) = shown(core, params, &logged_in)?;
    let approves = forms::approves(params)?;
    let Some(pending) = pending::find(core, &code.handle(&core.secrets)).await? else {
        return Ok(pages::device::unknown(core, &logged_in));
    };
    if approves {
        approve(core, &pending, &logged_in, &shown).await
    } else {
        refuse(core, &pending, &logged_in).await
    }
}

/// The code and the scope that the page showed, if it was shown to this login.
fn shown(core: &Core, params: &Params, logged_in: &LoggedIn) -> Result<(UserCode, Scope), Refusal> {
    let code = params.get("user_code").and_then(UserCode::read);
    let code = code.ok_or_else(forms::from_elsewhere)?;
    let scope = forms::scope(params)?;
    pages::device::check_confirmed(core, logged_in, params, (&code, &scope))?;
    Ok((code, scope))
}

/// Approves what was shown, as far as it is still permitted. It is not remembered for the client's
/// other requests: somebody may have been talked into it.
async fn approve(
    core: &Core,
    pending: &Pending,
    logged_in: &LoggedIn,
    shown: &Scope,
) -> Result<Response, Refusal> {
    let scope = permitted(core, pending.code(), logged_in)
        .await?
        .map(|scope| scope.intersection(shown))
        .filter(|scope| !scope.is_empty());
    let Some(scope) = scope else {
        return deny(core, pending, logged_in).await;
    };
    let session = &logged_in.session;
    let approval = Approval {
        sub: session.sub.clone(),
        scope: scope.clone(),
        authentication: session.authentication.clone(),
    };
    if !pending::settle(core, pending, DeviceState::Approved(approval)).await? {
        return Ok(pages::device::unknown(core, logged_in));
    }
    audit!(
        "device_approved",
        client = pending.code().client_id,
        sub = session.sub,
        scope = scope
    );
    Ok(pages::device::done(core, true))
}

async fn refuse(core: &Core, pending: &Pending, logged_in: &LoggedIn) -> Result<Response, Refusal> {
    if !pending::settle(core, pending, DeviceState::Denied).await? {
        return Ok(pages::device::unknown(core, logged_in));
    }
    audit!(
        "device_denied",
        client = pending.code().client_id,
        sub = logged_in.session.sub
    );
    Ok(pages::device::done(core, false))
}
