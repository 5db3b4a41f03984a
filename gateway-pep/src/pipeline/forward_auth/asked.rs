//! Which request a proxy asks about, and whose it is.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Uri, request};

use crate::canonical::{Ambiguity, Arrival, CanonicalRequest, Limits, UrlScheme, written_target};
use crate::headers::{X_FORWARDED_FOR, once, overrides};
use crate::plan::{ForwardAuthPlan, Names, OriginalHeaders};

/// They frame the question, and say nothing of the request that it is about.
pub(super) static OF_THE_QUESTION: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::UPGRADE,
    header::CONNECTION,
];

/// By the headers of a question, or by the question itself.
pub(super) fn read(
    plan: &ForwardAuthPlan,
    mut parts: request::Parts,
    limits: Limits,
) -> Result<CanonicalRequest, Ambiguity> {
    let client_ip = client_ip(&parts.headers)?;
    let target = match &plan.names {
        Names::Headers(names) => original(names, &mut parts)?,
        Names::Message { prefix } => behind(prefix, &parts.uri)?,
        // A call is read in `grpc`.
        Names::Call => return Err(Ambiguity::Asked),
    };
    // The question is HTTP/1.1, whatever the request is that it is about.
    let arrival = Arrival::direct(client_ip, plan.scheme);
    canonical(parts, &target, arrival, limits)
}

/// The request of these parts for this target.
///
/// SECURITY: what is decided here is forwarded there, byte for byte. A target that would have to be written
/// in another way is therefore refused, where the gateway itself would forward it rewritten.
pub(super) fn canonical(
    mut parts: request::Parts,
    target: &PathAndQuery,
    arrival: Arrival,
    limits: Limits,
) -> Result<CanonicalRequest, Ambiguity> {
    refuse_overrides(&parts.headers)?;
    let is_upgrade = check_upgrade(&parts)?;
    parts.uri = Uri::from(target.clone());
    let host = only(&parts.headers, &header::HOST).map_err(|_| Ambiguity::Host)?;
    for name in &OF_THE_QUESTION {
        parts.headers.remove(name);
    }
    let request = CanonicalRequest::new(parts, arrival, limits)?;
    if request.target() != target || !is_spelt(&request, &host) {
        return Err(Ambiguity::NotCanonical);
    }
    Ok(if is_upgrade {
        request.upgraded_elsewhere()
    } else {
        request
    })
}

/// The proxy would forward them, and what is behind it might go by them instead of what was decided on.
fn refuse_overrides(headers: &HeaderMap) -> Result<(), Ambiguity> {
    if headers.keys().any(|name| overrides(name.as_str())) {
        return Err(Ambiguity::Override);
    }
    Ok(())
}

/// A connection that becomes something else is not asked about again: what it may become is decided here, where
/// the gateway itself would not pass it on.
fn check_upgrade(parts: &request::Parts) -> Result<bool, Ambiguity> {
    let mut upgrades = parts.headers.get_all(header::UPGRADE).iter();
    match (upgrades.next(), upgrades.next()) {
        (None, _) => Ok(false),
        (Some(only), None)
            if only.as_bytes().eq_ignore_ascii_case(b"websocket")
                && parts.method == Method::GET =>
        {
            Ok(true)
        }
        _ => Err(Ambiguity::Upgrade),
    }
}

/// Whether a host is written as it was decided on, but for letters' case and the scheme's own port.
fn is_spelt(request: &CanonicalRequest, host: &HeaderValue) -> bool {
    let written = host.to_str().unwrap_or_default();
    let port = match request.scheme() {
        UrlScheme::Http => ":80",
        UrlScheme::Https => ":443",
    };
    let written = written.strip_suffix(port).unwrap_or(written);
    written.eq_ignore_ascii_case(request.authority().as_str())
}

/// Method and host are put where those of the request would stand.
fn original(
    names: &OriginalHeaders,
    parts: &mut request::Parts,
) -> Result<PathAndQuery, Ambiguity> {
    let headers = &mut parts.headers;
    let method = only(headers, &names.method)?;
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| Ambiguity::Asked)?;
    let host = only(headers, &names.host)?;
    let target = written_target(only(headers, &names.target)?.as_bytes())?;
    headers.insert(header::HOST, host);
    Ok(target)
}

/// The path of the message without the prefix.
fn behind(prefix: &str, uri: &Uri) -> Result<PathAndQuery, Ambiguity> {
    let whole = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let rest = whole.strip_prefix(prefix).ok_or(Ambiguity::Asked)?;
    written_target(rest.as_bytes())
}

/// The one value of a header.
fn only(headers: &HeaderMap, name: &HeaderName) -> Result<HeaderValue, Ambiguity> {
    once(headers, name).cloned().ok_or(Ambiguity::Asked)
}

/// Whom the proxy has seen: what it has added itself, at the end. What stands before is the client's own.
fn client_ip(headers: &HeaderMap) -> Result<IpAddr, Ambiguity> {
    let last = headers.get_all(X_FORWARDED_FOR).iter().next_back();
    let address = last
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .and_then(|text| text.trim().parse::<IpAddr>().ok());
    address.map(|it| it.to_canonical()).ok_or(Ambiguity::Asked)
}
