//! Browsers: which one it is and who is logged in there, by two cookies. And redirects back to
//! the client.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, request::Parts};
use store::Batch;
use url::form_urlencoded::byte_serialize;

use crate::core::{Core, Issuer};
use crate::error::Trouble;
use crate::record::{self, AuthorizationRequest, Session};
use crate::refusal::ErrorCode;
use crate::registry::User;
use crate::sessions;
use crate::token::{Handle, Kind, Minted};
use crate::users;

/// A login that is still good.
#[derive(Debug, Clone)]
pub(super) struct LoggedIn {
    pub(super) handle: Handle,
    pub(super) session: Session,
    pub(super) user: Arc<User>,
}

/// What the cookies say.
#[derive(Debug, Clone, Copy)]
enum Cookie {
    /// Tells one browser from another; says nothing about who is there.
    Browser,
    /// A login. Always new at login, so that nobody can have planted it.
    Session,
}

impl Cookie {
    /// `__Host-`: only over TLS, only from this very host.
    fn name(self, issuer: &Issuer) -> &'static str {
        match (self, issuer.is_https()) {
            (Self::Browser, true) => "__Host-cedargate_browser",
            (Self::Browser, false) => "cedargate_browser",
            (Self::Session, true) => "__Host-cedargate_session",
            (Self::Session, false) => "cedargate_session",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Browser => Kind::Browser,
            Self::Session => Kind::Session,
        }
    }

    fn read(self, core: &Core, headers: &HeaderMap) -> Option<Handle> {
        let text = cookie(headers, self.name(&core.issuer))?;
        self.kind().read(text, &core.secrets).ok()
    }

    fn clear(self, core: &Core, response: &mut Response) {
        let text = format!("{}; Max-Age=0", self.text(&core.issuer, ""));
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }

    fn set(self, core: &Core, minted: &Minted, response: &mut Response) {
        let text = self.text(&core.issuer, minted.reveal());
        if let Ok(mut value) = HeaderValue::try_from(text) {
            value.set_sensitive(true);
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }

    /// Lax: an authorization request comes from the client's pages, and must find the login.
    fn text(self, issuer: &Issuer, value: &str) -> String {
        let secure = if issuer.is_https() { "; Secure" } else { "" };
        let name = self.name(issuer);
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")
    }
}

/// The browser that sent the request, if it was here before.
pub(super) fn known(core: &Core, parts: &Parts) -> Option<Handle> {
    Cookie::Browser.read(core, &parts.headers)
}

/// Makes a browser known.
pub(super) fn introduce(core: &Core, minted: &Minted, response: &mut Response) {
    Cookie::Browser.set(core, minted, response);
}

/// Who is logged in there: a live session of a user who is still there, which nobody has ended, not by
/// half neither: its browser may not have been there.
pub(super) async fn logged_in(core: &Core, parts: &Parts) -> Result<Option<LoggedIn>, Trouble> {
    match login(core, parts).await? {
        Some(it) if sessions::is_over(core, &it.session.authentication.sid).await? => Ok(None),
        other => Ok(other),
    }
}

/// The same, also where it is over: for whoever is to end it, all of it.
pub(super) async fn login(core: &Core, parts: &Parts) -> Result<Option<LoggedIn>, Trouble> {
    let Some(handle) = Cookie::Session.read(core, &parts.headers) else {
        return Ok(None);
    };
    let stored = record::load::<Session>(&*core.store, handle.as_str()).await?;
    let Some(session) = stored.map(|stored| stored.record) else {
        return Ok(None);
    };
    if core.now() >= session.exp {
        return Ok(None);
    }
    let user = users::find(core, &core.registry(), &session.sub).await?;
    Ok(user.map(|user| LoggedIn {
        handle,
        session,
        user,
    }))
}

/// Replaces whatever login the browser had.
pub(super) async fn log_in(
    core: &Core,
    parts: &Parts,
    session: &Session,
) -> Result<Minted, Trouble> {
    let minted = Kind::Session.mint(&core.secrets)?;
    let name = minted.handle.as_str();
    let mut batch = record::put_new(Batch::new(), name, session, session.exp, core.now())?;
    if let Some(old) = Cookie::Session.read(core, &parts.headers) {
        batch = batch.delete(record::key::<Session>(old.as_str()));
    }
    if core.store.commit(batch).await?.is_applied() {
        Ok(minted)
    } else {
        Err(Trouble::Record {
            message: "a fresh random name was taken".into(),
        })
    }
}

pub(super) fn set_session(core: &Core, minted: &Minted, response: &mut Response) {
    Cookie::Session.set(core, minted, response);
}

/// The browser is to forget its login.
pub(super) fn forget_session(core: &Core, response: &mut Response) {
    Cookie::Session.clear(core, response);
}

/// Back to the client, where nobody is logged in any more.
pub(super) fn redirect_after_logout(target: &str, state: Option<&str>) -> Response {
    let params: Vec<_> = state.map(|state| ("state", state)).into_iter().collect();
    redirect(target, &params)
}

/// Back to the client with an error (RFC 6749 section 4.1.2.1, RFC 9207).
pub(super) fn redirect_error(
    core: &Core,
    redirect_uri: &str,
    state: Option<&str>,
    code: ErrorCode,
    description: &str,
) -> Response {
    core.meter.request("authorize", code.as_str());
    let mut params = vec![("error", code.as_str()), ("error_description", description)];
    params.extend(state.map(|state| ("state", state)));
    params.push(("iss", core.issuer.as_str()));
    redirect(redirect_uri, &params)
}

/// Back to the client with a code.
pub(super) fn redirect_code(
    core: &Core,
    request: &AuthorizationRequest,
    code: &Minted,
) -> Response {
    core.meter.request("authorize", "ok");
    let mut params = vec![("code", code.reveal())];
    params.extend(request.state.as_deref().map(|state| ("state", state)));
    params.push(("iss", core.issuer.as_str()));
    redirect(&request.redirect_uri, &params)
}

/// 303, so that no browser repeats a form at the target (RFC 9700 section 4.12).
pub(super) fn see_other(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    match HeaderValue::try_from(location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The registered URI stays byte for byte as it is; parameters are added to its query.
fn redirect(uri: &str, params: &[(&str, &str)]) -> Response {
    let mut location = uri.to_owned();
    let mut separator = if uri.contains('?') { '&' } else { '?' };
    for (name, value) in params {
        location.push(separator);
        location.push_str(name);
        location.push('=');
        location.extend(byte_serialize(value.as_bytes()));
        separator = '&';
    }
    see_other(&location)
}

/// The cookie of this name. None where there are two: which one is ours cannot be known.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(given, _)| *given == name)
        .map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
