//! `GET|POST /logout` (OpenID Connect RP-Initiated Logout 1.0): an application sends the browser here to
//! end the login.
//!
//! SECURITY: nobody is sent anywhere but to what the client has registered, and nobody is logged out
//! by a link alone: either an ID token of this very login comes with it, or the person is asked.

mod posted;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;
use http::request::Parts;

use super::browser::{self, LoggedIn};
use super::id_token_hint::Hint;
use super::{forms, pages, request};
use crate::clients;
use crate::core::Core;
use crate::federation;
use crate::params::Params;
use crate::record::Session;
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::Registry;
use crate::sessions;

/// What the confirmation is about: there is one in a browser at a time.
const NAME: &str = "logout";

/// A request that is in order.
struct Asked<'a> {
    /// Whose login is to end.
    hint: Option<Hint>,
    /// Where the browser goes afterwards.
    target: Option<&'a str>,
}

pub(super) async fn get(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let params = request::query(&parts);
    respond(&core, &parts, params).await
}

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let params = request::form(&parts, body).await;
    respond(&core, &parts, params).await
}

async fn respond(core: &Core, parts: &Parts, params: Result<Params, Refusal>) -> Response {
    let answered = match params {
        Ok(params) => begin(core, parts, params).await,
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(|refusal| pages::refusal(core, "logout", &refusal))
}

async fn begin(core: &Core, parts: &Parts, params: Params) -> Result<Response, Refusal> {
    if parts.method == Method::POST {
        return match params.get("csrf") {
            Some(_) => answer(core, parts, &params).await,
            None => posted::come_again(core, &params).await,
        };
    }
    let posted = posted::posted(core, &params).await?;
    answer(core, parts, &posted.unwrap_or(params)).await
}

async fn answer(core: &Core, parts: &Parts, params: &Params) -> Result<Response, Refusal> {
    let csrf = params.get("csrf");
    let registry = core.registry();
    let asked = asked(core, &registry, params).await?;
    let Some(logged_in) = browser::login(core, parts).await? else {
        // The browser has forgotten the login, and what it has led to may live on. Whoever has its ID
        // token is the client or the person.
        if let Some((hint, sid)) = asked
            .hint
            .as_ref()
            .and_then(|it| Some((it, it.sid.as_ref()?)))
        {
            sessions::end(core, (sid, &hint.sub), None).await?;
        }
        return Ok(after(core, params, &asked));
    };
    let is_confirmed = match csrf {
        Some(_) if parts.method == Method::POST => {
            let session = logged_in.handle.as_str();
            forms::check(core, params, pages::LOGOUT_FORM, NAME, session)?;
            true
        }
        _ => asked
            .hint
            .as_ref()
            .is_some_and(|hint| hint.is_of(&logged_in)),
    };
    if !is_confirmed {
        let csrf = core
            .secrets
            .form_token(pages::LOGOUT_FORM, NAME, logged_in.handle.as_str());
        return Ok(pages::logout(core, params, &csrf, &logged_in, asked.target));
    }
    let LoggedIn {
        handle, session, ..
    } = &logged_in;
    let login = (session.authentication.sid.as_str(), session.sub.as_str());
    sessions::end(core, login, Some(handle)).await?;
    let mut response = match elsewhere(core, &registry, session, params, &asked).await? {
        Some(response) => response,
        None => after(core, params, &asked),
    };
    browser::forget_session(core, &mut response);
    Ok(response)
}

/// On to the identity provider, where the login has come from one that is to end it, too.
async fn elsewhere(
    core: &Core,
    registry: &Registry,
    session: &Session,
    params: &Params,
    asked: &Asked<'_>,
) -> Result<Option<Response>, Refusal> {
    let Some(upstream) = &session.upstream else {
        return Ok(None);
    };
    let Some(provider) = registry.provider(&upstream.provider) else {
        return Ok(None);
    };
    let target = asked.target.map(|target| (target, params.get("state")));
    let onward = federation::onward(core, provider, upstream, target).await?;
    Ok(onward.map(|to| {
        core.meter.request("logout", "elsewhere");
        pages::federation::onward(&provider.name, &to)
    }))
}

async fn asked<'a>(
    core: &Core,
    registry: &Registry,
    params: &'a Params,
) -> Result<Asked<'a>, Refusal> {
    let refuse = |text| Err(Refusal::Denied(ErrorCode::InvalidRequest, text));
    let named = params.get("client_id");
    // One that does not hold says nothing: its key may be gone, or never have been ours.
    let hint = params
        .get("id_token_hint")
        .and_then(|text| Hint::read(core, text));
    if let (Some(hint), Some(named)) = (&hint, named)
        && hint.client != named
    {
        return refuse("`client_id` is not the client of `id_token_hint`");
    }
    let client = hint.as_ref().map(|hint| hint.client.as_str()).or(named);
    let client = match client {
        Some(id) => clients::find(core, registry, id).await?,
        None => None,
    };
    let mut target = params.get("post_logout_redirect_uri");
    if client.is_none() && params.get("id_token_hint").is_some() && named.is_none() {
        // Of a key that is gone, nearly always: the person is asked, and goes nowhere.
        target = None;
    }
    if let Some(target) = target {
        let is_registered = client
            .as_ref()
            .is_some_and(|client| client.accepts_after_logout(target));
        if !is_registered {
            return refuse(if client.is_some() {
                "`post_logout_redirect_uri` is not registered for the client"
            } else {
                "`post_logout_redirect_uri` is given, and no client that it could be registered for"
            });
        }
    }
    Ok(Asked { hint, target })
}

/// Nobody is logged in any more.
fn after(core: &Core, params: &Params, asked: &Asked<'_>) -> Response {
    core.meter.request("logout", "ok");
    match asked.target {
        Some(target) => browser::redirect_after_logout(target, params.get("state")),
        None => pages::logged_out(),
    }
}
