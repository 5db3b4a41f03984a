//! What is at the reserved paths of logins.

mod callback;
pub(crate) mod departure;
mod logout;
pub(crate) mod page;

use http::header::HeaderValue;
use http::{Method, Response};

use crate::body::RequestBody;
use crate::canonical::{CanonicalRequest, normalize_keeping, written_target};
use crate::login::{Kind, Logins, Reserved};
use crate::metrics::LoginOutcome;
use crate::pipeline::record::Record;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::response_body::ResponseBody;
use crate::worker::Worker;
use departure::{Cause, Departure};
use page::{Page, depart};

/// Answers a request for a path that is ours.
pub(crate) async fn serve(
    worker: &Worker,
    (logins, reserved): (&Logins, Reserved),
    request: &CanonicalRequest,
    body: RequestBody,
    record: &mut Record,
) -> Result<Response<ResponseBody>, Refusal> {
    let Reserved::Endpoint(endpoint) = reserved else {
        body.skip().await;
        return Err(Refusal::NotFound);
    };
    record.by_login(endpoint.login);
    let at = (logins, endpoint.login);
    if (endpoint.kind, request.method()) == (Kind::BackchannelLogout, &Method::POST) {
        return logout::backchannel(worker, at, body, record).await;
    }
    body.skip().await;
    match (endpoint.kind, request.method()) {
        (Kind::Start, &Method::GET) => start(worker, at, request, record).await,
        (Kind::Callback, &Method::GET) => callback::callback(worker, at, request, record)
            .await
            .ok_or(Refusal::NotFound),
        (Kind::Logout, &Method::GET) => Ok(logout::page(Page::ConfirmLogout)),
        (Kind::LoggedOut, &Method::GET) => Ok(logout::page(Page::LoggedOut)),
        (Kind::Logout, &Method::POST) => logout::logout(worker, at, request, record).await,
        (kind, _) => Err(Refusal::MethodNotAllowed {
            allow: HeaderValue::from_static(match kind {
                Kind::Start | Kind::Callback | Kind::LoggedOut => "GET",
                Kind::Logout => "GET, POST",
                Kind::BackchannelLogout => "POST",
            }),
        }),
    }
}

/// A link that logs in, for pages that anybody may see.
async fn start(
    worker: &Worker,
    (logins, index): (&Logins, usize),
    request: &CanonicalRequest,
    record: &Record,
) -> Result<Response<ResponseBody>, Refusal> {
    let login = logins.all.get(index).ok_or(Refusal::NotFound)?;
    let wanted = wanted(request.query().unwrap_or_default());
    let back = wanted.as_deref().filter(|back| leads_here(logins, back));
    let now = record.moment.unix;
    let cause = (back.unwrap_or("/"), Cause::NoSession);
    let departure = Departure::prepare((logins, login), request, cause, now).await;
    let departure = departure.map_err(|fault| {
        tracing::warn!(login = &*login.name, %fault, "nobody can log in");
        Refusal::IssuerUnavailable
    })?;
    worker.core.metrics.login(index, LoginOutcome::Begun);
    Ok(depart(&departure.ok_or(Refusal::NotFound)?))
}

/// `return_to`, if it is there once.
fn wanted(query: &str) -> Option<String> {
    let mut all = url::form_urlencoded::parse(query.as_bytes());
    let mut all = all.by_ref().filter(|(name, _)| name == "return_to");
    match (all.next(), all.next()) {
        (Some((_, back)), None) => Some(back.into_owned()),
        _ => None,
    }
}

/// SECURITY: a path of this origin, in the one spelling that nobody reads otherwise: it begins with one `/`,
/// and has no `\`, no control character, no empty or dot segment. Anything else leads to `/`.
fn leads_here(logins: &Logins, back: &str) -> bool {
    let Ok(target) = written_target(back.as_bytes()) else {
        return false;
    };
    target.as_str() == back
        && normalize_keeping(target.path()).is_ok_and(|(other, _)| other.is_none())
        && logins.reserved(target.path()) == Reserved::No
}

#[cfg(test)]
mod tests;
