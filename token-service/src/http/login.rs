//! `POST /login`: username and password of the login page.

mod attempts;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use service_kit::Secret;
use zeroize::Zeroizing;

use super::after_login::{self, Authenticated, Login};
use super::authorize::open_interaction;
use super::pages::{self, SignIn};
use super::{browser, forms, request};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::password::Turn;
use crate::record::Asked;
use crate::refusal::Refusal;
use crate::token::UserCode;
use attempts::Attempt;

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let result = answer(&core, request).await;
    result.unwrap_or_else(|refusal| pages::refusal(&core, "login", &refusal))
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = &request::posted(request).await?;
    let text = params.get("interaction").unwrap_or_default();
    let open = open_interaction(core, parts, Some(text)).await?;
    let (handle, browser) = (open.handle.as_str(), open.browser.as_str());
    forms::check(core, params, pages::LOGIN_FORM, handle, browser)?;
    let username = params.get("username").unwrap_or_default();
    let attempt = Attempt::of(parts, username);
    if !attempt.may_be_made(core).await? {
        return Ok(limited(core));
    }
    let turn = core.passwords.turn().await?;
    if !attempt.is_open(core).await? {
        return Ok(limited(core));
    }
    let request = match &open.stored.record.asked {
        Asked::Authorization(request) => Some(&**request),
        Asked::Device => None,
    };
    let client = request.map_or("", |request| request.client_id.as_str());
    let code = params.get("user_code").and_then(UserCode::read);
    let password = Zeroizing::new(params.get("password").unwrap_or_default().to_owned());
    let Some(sub) = verified(core, client, username, (&turn, password)).await? else {
        core.meter.login("refused");
        attempt.has_failed(core).await?;
        let again = "The username or the password is not right.";
        let page = SignIn {
            request,
            code: code.as_ref(),
            text,
            browser: &open.browser,
            problem: Some(again),
        };
        return Ok(pages::login(core, &page).await?);
    };
    drop(turn);
    core.meter.login("ok");
    let who = Authenticated {
        sub,
        at: core.now(),
        amr: vec!["pwd".into()],
        acr: core.login_acr.clone(),
        upstream: None,
    };
    let session = after_login::session(core, parts, who).await?;
    let cookie = browser::log_in(core, parts, &session).await?;
    let login = Login {
        cookie: &cookie.handle,
        session: &session,
        text,
        code: code.as_ref(),
    };
    let mut response = after_login::go_on(core, open, &login).await?;
    browser::set_session(core, &cookie, &mut response);
    Ok(response)
}

fn limited(core: &Core) -> Response {
    core.meter.login("limited");
    pages::too_many_attempts(core, "login")
}

/// The user's `sub`, where the password is right. Same work, same answer for nobody.
async fn verified(
    core: &Core,
    client: &str,
    username: &str,
    (turn, password): (&Turn, Zeroizing<String>),
) -> Result<Option<String>, Trouble> {
    let registry = core.registry();
    let user = registry.user_named(username);
    let hash = user.and_then(|user| user.password_hash.as_ref());
    let phc = hash.map(Secret::reveal);
    let fits = turn.verify(phc, password).await?;
    match user {
        Some(user) if fits => {
            audit!("login", sub = user.sub, client = client);
            Ok(Some(user.sub.clone()))
        }
        Some(user) => {
            audit!("login_refused", sub = user.sub, reason = "wrong password");
            Ok(None)
        }
        // People type passwords into the wrong field: what was typed is not logged.
        None => {
            audit!("login_refused", reason = "unknown or disabled user");
            Ok(None)
        }
    }
}
