//! Beside the path of requests: pages of other origins (Fetch standard, CORS). What browsers ask before they send a
//! request is answered here; nothing of it reaches an upstream, and it needs no token. Every answer says who may
//! read it, so that a page sees why it was refused.
//!
//! It protects nothing: whoever is no browser sends what they like. Tokens and decisions protect.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};

use super::record::Record;
use super::refusal::Refusal;
use super::response_body::ResponseBody;
use crate::canonical::CanonicalRequest;
use crate::core::Core;
use crate::headers::once;
use crate::plan::Admission;

/// What a page's browser says of where the page is from, if that is of interest to anybody.
pub(super) fn origin(core: &Core, headers: &HeaderMap) -> Option<HeaderValue> {
    if core.plan.has_cors {
        once(headers, &header::ORIGIN).cloned()
    } else {
        None
    }
}

/// The answer to a preflight. None: it is none, or the route leaves that to its upstream.
pub(super) fn preflight(
    core: &Core,
    request: &CanonicalRequest,
    record: &mut Record,
) -> Option<Result<Response<ResponseBody>, Refusal>> {
    if !core.plan.has_cors || *request.method() != Method::OPTIONS {
        return None;
    }
    let headers = request.headers();
    let origin = once(headers, &header::ORIGIN)?;
    let wanted = once(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let method = Method::from_bytes(wanted.as_bytes()).ok()?;
    let host = request.authority().host();
    let route = core.plan.router.any_of(host, request.path(), &method)?;
    let cors = core.plan.cors(Some(route))?;
    record.routed(route);
    if cors.admits(Some(origin)) == Admission::No {
        return Some(Err(Refusal::CrossOrigin));
    }
    let mut response = Response::new(ResponseBody::whole(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let said = response.headers_mut();
    // No more than was asked for: another method may be another route's.
    said.insert(header::ACCESS_CONTROL_ALLOW_METHODS, wanted.clone());
    said.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.clone());
    said.insert(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.clone());
    Some(Ok(response))
}

/// Who may read an answer that is of a route, or a refusal.
pub(super) fn say(
    core: &Core,
    record: &Record,
    origin: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) {
    let Some(cors) = core.plan.cors(record.route()) else {
        return;
    };
    // What an upstream says of it would count beside what is said here.
    headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    let admission = cors.admits(origin);
    if admission != Admission::Any {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    let allowed = match admission {
        Admission::No => return,
        Admission::Any => HeaderValue::from_static("*"),
        Admission::Origin(origin) => origin.clone(),
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    let exposed = cors.exposed.clone();
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    if cors.credentials {
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    }
}

/// Whether a page that may act with what the browser has is behind a request: as good as a page of our own.
pub(super) fn vouches(core: &Core, request: &CanonicalRequest, record: &Record) -> bool {
    let cors = core.plan.cors(record.route());
    cors.is_some_and(|cors| {
        let origin = once(request.headers(), &header::ORIGIN);
        cors.credentials && matches!(cors.admits(origin), Admission::Origin(_))
    })
}
