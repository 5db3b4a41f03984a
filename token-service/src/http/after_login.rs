//! What follows a login, however it was done: the session, and on to what the person came for.

use axum::response::Response;
use http::request::Parts;
use service_kit::{UnixTime, random};

use super::authorize::{self, Open, Step, back, next_step};
use super::{browser, device};
use crate::core::Core;
use crate::record::{self, Asked, Authentication, Interaction, Session, Upstream};
use crate::refusal::{ErrorCode, Refusal};
use crate::sessions;
use crate::token::{Handle, UserCode};

/// Who has logged in, and how.
#[derive(Debug)]
pub(super) struct Authenticated {
    pub(super) sub: String,
    pub(super) at: UnixTime,
    pub(super) amr: Vec<String>,
    pub(super) acr: Option<String>,
    pub(super) upstream: Option<Upstream>,
}

/// Somebody who has just logged in.
pub(super) struct Login<'a> {
    /// Handle of the new session.
    pub(super) cookie: &'a Handle,
    pub(super) session: &'a Session,
    /// The interaction as it travels.
    pub(super) text: &'a str,
    /// Of the device that brought them here.
    pub(super) code: Option<&'a UserCode>,
}

/// The session of a login. The same person in the same browser goes on with what the login before has
/// led to; another person ends it.
pub(super) async fn session(
    core: &Core,
    parts: &Parts,
    who: Authenticated,
) -> Result<Session, Refusal> {
    let mut sid = random::id()?;
    if let Some(before) = browser::login(core, parts).await? {
        let was = &before.session;
        let login = (was.authentication.sid.as_str(), was.sub.as_str());
        if was.sub != who.sub {
            sessions::end(core, login, Some(&before.handle)).await?;
        } else if !sessions::is_over(core, login.0).await? {
            login.0.clone_into(&mut sid);
        }
    }
    Ok(Session {
        sub: who.sub,
        authentication: Authentication {
            at: who.at,
            amr: who.amr,
            acr: who.acr,
            sid,
        },
        exp: core.now().plus(core.ttl.session),
        upstream: who.upstream,
    })
}

/// The login is done: on to the consent page, back to the client, or to the device page.
pub(super) async fn go_on(core: &Core, open: Open, login: &Login<'_>) -> Result<Response, Refusal> {
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
        Err(refusal) => return Ok(back(core, asked, &refusal).await),
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
