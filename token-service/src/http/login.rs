//! `POST /login`: username and password of the login page.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use service_kit::{digest, random};
use zeroize::Zeroizing;

use super::authorize::{self, Open, Step, back, next_step, open_interaction};
use super::pages::{self, SignIn};
use super::{browser, device, forms, request};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, Asked, Authentication, Interaction, Session};
use crate::refusal::{ErrorCode, Refusal};
use crate::sessions;
use crate::token::{Handle, UserCode};

/// Somebody who has just logged in.
struct Login<'a> {
    /// Handle of the new session.
    cookie: &'a Handle,
    session: &'a Session,
    /// The interaction as it travels.
    text: &'a str,
    /// Of the device that brought them here.
    code: Option<&'a UserCode>,
}

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
    if is_over_limit(core, parts, username).await? {
        core.meter.login("limited");
        return Ok(pages::too_many_attempts(core, "login"));
    }
    let request = match &open.stored.record.asked {
        Asked::Authorization(request) => Some(&**request),
        Asked::Device => None,
    };
    let client = request.map_or("", |request| request.client_id.as_str());
    let code = params.get("user_code").and_then(UserCode::read);
    let password = Zeroizing::new(params.get("password").unwrap_or_default().to_owned());
    let Some(sub) = verified(core, client, username, password).await? else {
        core.meter.login("refused");
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
    core.meter.login("ok");
    let session = session_of(core, parts, sub).await?;
    let cookie = browser::log_in(core, parts, &session).await?;
    let login = Login {
        cookie: &cookie.handle,
        session: &session,
        text,
        code: code.as_ref(),
    };
    let mut response = after(core, open, &login).await?;
    browser::set_session(core, &cookie, &mut response);
    Ok(response)
}

/// A login by password, now. The same person in the same browser goes on with what the login before
/// has led to; another person ends it.
async fn session_of(core: &Core, parts: &Parts, sub: String) -> Result<Session, Refusal> {
    let mut sid = random::id()?;
    if let Some(before) = browser::logged_in(core, parts).await? {
        let was = &before.session;
        let login = (was.authentication.sid.as_str(), was.sub.as_str());
        if was.sub != sub {
            sessions::end(core, login, Some(&before.handle)).await?;
        } else if !sessions::is_over(core, login.0).await? {
            login.0.clone_into(&mut sid);
        }
    }
    Ok(Session {
        sub,
        authentication: Authentication {
            at: core.now(),
            amr: vec!["pwd".into()],
            acr: core.login_acr.clone(),
            sid,
        },
        exp: core.now().plus(core.ttl.session),
    })
}

/// The login is done: on to the consent page, back to the client, or to the device page.
async fn after(core: &Core, open: Open, login: &Login<'_>) -> Result<Response, Refusal> {
    let interaction = open.stored.record;
    let key = record::key::<Interaction>(open.handle.as_str());
    // The interaction goes one way only: a page that was posted twice is answered once.
    let used = || Refusal::Denied(ErrorCode::InvalidRequest, "this page has been used already");
    let Asked::Authorization(asked) = &interaction.asked else {
        let taken = record::take::<Interaction>(&*core.store, open.handle.as_str()).await?;
        taken.ok_or_else(used)?;
        return Ok(device::go(core, login.code));
    };
    let step = match next_step(core, asked, login.session).await {
        Ok(step) => step,
        Err(refusal) => return Ok(back(core, asked, &refusal)),
    };
    match step {
        Step::Ask(_) => {
            let bound = Interaction {
                session: Some(login.cookie.as_str().to_owned()),
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
            let (path, text) = (core.issuer.path(), login.text);
            Ok(browser::see_other(&format!(
                "{path}/consent?interaction={text}"
            )))
        }
        Step::Issue(scope) => {
            let taken = record::take::<Interaction>(&*core.store, open.handle.as_str()).await?;
            taken.ok_or_else(used)?;
            authorize::issue(core, asked, login.session, scope).await
        }
    }
}

/// The user's `sub`, where the password is right. Same work, same answer for nobody.
async fn verified(
    core: &Core,
    client: &str,
    username: &str,
    password: Zeroizing<String>,
) -> Result<Option<String>, Trouble> {
    let registry = core.registry();
    let user = registry.user_named(username);
    let phc = user.map(|user| user.password_hash.reveal());
    let fits = core.passwords.verify(phc, password).await?;
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
