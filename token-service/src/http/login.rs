//! `POST /login`: username and password of the login page.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use service_kit::{digest, random};
use zeroize::Zeroizing;

use super::authorize::{self, Step, back, next_step, open_interaction};
use super::{browser, pages, request};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, Authentication, AuthorizationRequest, Interaction, Session};
use crate::refusal::{ErrorCode, Refusal};

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let result = answer(&core, request).await;
    result.unwrap_or_else(|refusal| pages::refusal(&core, "login", &refusal))
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = &request::posted(request).await?;
    let text = params.get("interaction").unwrap_or_default();
    let open = open_interaction(core, parts, Some(text)).await?;
    let csrf = params.get("csrf").unwrap_or_default();
    let (handle, browser) = (open.handle.as_str(), open.browser.as_str());
    if !core
        .secrets
        .is_form_token(csrf, pages::LOGIN_FORM, handle, browser)
    {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "the form was not sent from the page that was shown",
        ));
    }
    let username = params.get("username").unwrap_or_default();
    if is_over_limit(core, parts, username).await? {
        core.meter.login("limited");
        return Ok(pages::too_many_attempts(core));
    }
    let asked = &open.stored.record.request;
    let password = Zeroizing::new(params.get("password").unwrap_or_default().to_owned());
    let Some(sub) = verified(core, asked, username, password).await? else {
        core.meter.login("refused");
        let again = "The username or the password is not right.";
        return Ok(pages::login(core, asked, text, &open.browser, Some(again)));
    };
    core.meter.login("ok");
    let session = Session {
        sub,
        authentication: Authentication {
            at: core.now(),
            amr: vec!["pwd".into()],
            sid: random::id()?,
        },
        exp: core.now().plus(core.ttl.session),
    };
    let cookie = browser::log_in(core, parts, &session).await?;
    let mut response = after(core, open, cookie.handle.as_str(), text, &session).await?;
    browser::set_session(core, &cookie, &mut response);
    Ok(response)
}

/// The login is done: on to the consent page, or back to the client.
async fn after(
    core: &Core,
    open: authorize::Open,
    session_handle: &str,
    text: &str,
    session: &Session,
) -> Result<Response, Refusal> {
    let interaction = open.stored.record;
    let asked = interaction.request.clone();
    let step = match next_step(core, &asked, session).await {
        Ok(step) => step,
        Err(refusal) => return Ok(back(core, &asked, &refusal)),
    };
    let key = record::key::<Interaction>(open.handle.as_str());
    // The interaction goes one way only: a page that was posted twice is answered once.
    let used = || Refusal::Denied(ErrorCode::InvalidRequest, "this page has been used already");
    match step {
        Step::Ask(_) => {
            let bound = Interaction {
                session: Some(session_handle.to_owned()),
                ..interaction
            };
            let keep = Some(record::keep_until(bound.exp, core.now()));
            let bytes = record::encode(&bound)?;
            if !core
                .store
                .replace(&key, open.stored.bytes, bytes, keep)
                .await?
            {
                return Err(used());
            }
            let path = core.issuer.path();
            Ok(browser::see_other(&format!(
                "{path}/consent?interaction={text}"
            )))
        }
        Step::Issue(scope) => {
            let taken = record::take::<Interaction>(&*core.store, open.handle.as_str()).await?;
            taken.ok_or_else(used)?;
            authorize::issue(core, &asked, session, scope).await
        }
    }
}

/// The user's `sub`, where the password is right. Same work, same answer for nobody.
async fn verified(
    core: &Core,
    asked: &AuthorizationRequest,
    username: &str,
    password: Zeroizing<String>,
) -> Result<Option<String>, Trouble> {
    let registry = core.registry();
    let user = registry.user_named(username);
    let phc = user.map(|user| user.password_hash.reveal());
    let fits = core.passwords.verify(phc, password).await?;
    match user {
        Some(user) if fits => {
            audit!("login", sub = user.sub, client = asked.client_id);
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

/// Counts the attempt for this username from this address.
async fn is_over_limit(core: &Core, parts: &Parts, username: &str) -> Result<bool, Trouble> {
    let address = request::peer(parts).map_or_else(String::new, |address| address.to_string());
    let name = digest::sha256_base64url(username.to_lowercase().as_bytes());
    let key = format!("login-attempts:{address}:{name}");
    let attempts = core.store.count(&key, core.attempts.window).await?;
    if attempts > core.attempts.most {
        audit!(
            "login_refused",
            reason = "too many attempts",
            address = address
        );
    }
    Ok(attempts > core.attempts.most)
}
