//! Step 5: the message as the other side gets it. Headers are removed by rule, then set by us.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Version};
use http_body::Body as _;

use super::authenticate::shown::Shown;
use super::authorize::permitted::Permitted;
use super::record::Record;
use crate::body::RequestBody;
use crate::headers::{
    DPOP_NONCE, Marks, TRAILERS, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
    X_REQUEST_ID, set_all, strip_hop_by_hop,
};
use crate::obligation::Obligations;
use crate::plan::{Plan, RoutePlan, UpstreamPlan, said};

/// Whatever lets an upstream answer with less than the whole document, or encoded.
static HINDERS_MASKING: [HeaderName; 5] = [
    header::ACCEPT_ENCODING,
    header::RANGE,
    header::IF_RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
];

/// Of the unmasked document; they would tell something about it.
static DESCRIBES_DOCUMENT: [HeaderName; 9] = [
    header::ETAG,
    header::ACCEPT_RANGES,
    header::CONTENT_LENGTH,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// So many fields most requests get from us.
const SAID_BY_US: usize = 7;

/// What an upstream is asked for: the canonical target, or what the route makes of it. None: it does not fit the
/// route, which cannot be of one that was found for it.
pub(super) fn target(plan: &Plan, permitted: &Permitted) -> Option<PathAndQuery> {
    let canonical = permitted.request();
    let rewrite = plan.routes.get(permitted.route())?.rewrite.as_ref();
    let Some(template) = rewrite.and_then(|rewrite| rewrite.path.as_ref()) else {
        return Some(canonical.target().clone());
    };
    let host = canonical.authority().host();
    let params = plan.router.params(host, canonical.path())?;
    template.target(&params, canonical.query())
}

/// The upstream's request, for a target that was made for it. The method is the canonical one.
pub(super) fn upstream_request(
    plan: &Plan,
    upstream: &UpstreamPlan,
    permitted: &mut Permitted,
    (target, body): (PathAndQuery, RequestBody),
    record: &mut Record,
) -> Box<Request<RequestBody>> {
    let (mut headers, hop) = headers_and_hop(plan, upstream, permitted, record);
    hop.say(&mut headers, upstream.transport.http2.is_some());
    let mut request = Box::new(Request::new(body));
    *request.method_mut() = permitted.request().method().clone();
    *request.headers_mut() = headers;
    address(&mut request, upstream, target);
    request
}

/// Has a request, whose `Host` is settled, say where it goes as its upstream's version of HTTP has it.
pub(super) fn address(
    request: &mut Request<RequestBody>,
    upstream: &UpstreamPlan,
    target: PathAndQuery,
) {
    let transport = &upstream.transport;
    if transport.http2.is_some() {
        // Whose it is is said once, and not by a header (RFC 9113 section 8.3.1).
        let host = request.headers_mut().remove(header::HOST);
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        *request.uri_mut() = transport.uri(target, host.as_ref());
        *request.version_mut() = Version::HTTP_2;
    } else {
        say_length(request);
        *request.uri_mut() = transport.uri(target, None);
        *request.version_mut() = Version::HTTP_11;
    }
}

/// The headers that the upstream gets, whoever sends them there.
pub(super) fn upstream_headers(
    plan: &Plan,
    upstream: &UpstreamPlan,
    permitted: &mut Permitted,
    record: &mut Record,
) -> HeaderMap {
    // Between another proxy and the upstream that one says what is to be said.
    headers_and_hop(plan, upstream, permitted, record).0
}

fn headers_and_hop(
    plan: &Plan,
    upstream: &UpstreamPlan,
    permitted: &mut Permitted,
    record: &mut Record,
) -> (HeaderMap, Hop) {
    let mut headers = permitted.request_mut().take_headers();
    // It grows once, and not name by name.
    headers.reserve(SAID_BY_US);
    let hop = strip(plan, upstream, &mut headers);
    if let Some(logins) = &plan.logins {
        logins.own_cookies.strip(&mut headers);
    }
    headers.remove(header::EXPECT);
    let canonical = permitted.request();
    let caller = permitted.caller();
    match caller.and_then(|caller| caller.vouched.forwarded.clone()) {
        Some(authorization) => {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        None => {
            headers.remove(header::AUTHORIZATION);
        }
    }
    let authority = canonical.authority().as_header();
    let rewrite = plan.routes.get(permitted.route());
    let rewrite = rewrite.and_then(|route| route.rewrite.as_deref());
    let host = rewrite.and_then(|rewrite| rewrite.host.as_ref());
    let host = host.or(upstream.host_header.as_ref()).unwrap_or(authority);
    headers.insert(header::HOST, host.clone());
    headers.insert(X_FORWARDED_HOST, authority.clone());
    headers.insert(X_FORWARDED_FOR, record.connection().forwarded_for());
    headers.insert(
        X_FORWARDED_PROTO,
        HeaderValue::from_static(canonical.scheme().as_str()),
    );
    headers.insert(X_REQUEST_ID, record.id.as_header());
    record.hand_on_trace(&mut headers);
    if permitted.obligations().is_some_and(Obligations::rewrites) {
        for name in &HINDERS_MASKING {
            headers.remove(name);
        }
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
    }
    if let Some(rewrite) = rewrite {
        rewrite.request.apply(&mut headers);
    }
    if let Some(obligations) = permitted.obligations() {
        set_all(&mut headers, &obligations.request_headers);
    }
    (headers, hop)
}

/// The fields of a request that are set or taken away by its route, or by what permits it.
pub(super) fn said_to_upstream(route: &RoutePlan, permitted: &Permitted) -> Vec<HeaderName> {
    let of_route = route.rewrite.as_ref().map(|rewrite| &rewrite.request);
    let of_policy = permitted.obligations().map(|it| &it.request_headers);
    said(of_route, of_policy).cloned().collect()
}

/// What is said to the next hop of what was said to this one.
#[derive(Debug, Default)]
struct Hop {
    /// Whoever asks takes what comes after a body.
    takes_trailers: bool,
    /// What comes after the request's own.
    announced: Option<HeaderValue>,
}

impl Hop {
    fn say(self, headers: &mut HeaderMap, is_http2: bool) {
        if self.takes_trailers {
            headers.insert(header::TE, HeaderValue::from_static(TRAILERS));
            // RFC 9110 section 10.1.4.
            if !is_http2 {
                headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
            }
        }
        if let Some(announced) = self.announced {
            headers.insert(header::TRAILER, announced);
        }
    }
}

/// Removes what is not the client's to say and what is for one hop.
fn strip(plan: &Plan, upstream: &UpstreamPlan, headers: &mut HeaderMap) -> Hop {
    let announced = upstream
        .request_trailers
        .then(|| plan.reserved.announced(headers))
        .flatten();
    Hop {
        takes_trailers: plan.reserved.scrub(headers),
        announced,
    }
}

/// How long the body is, where the client has not said so. Of some methods the HTTP client would send none
/// otherwise, and the upstream would act on less than what was decided on.
fn say_length(request: &mut Request<RequestBody>) {
    let body = request.body();
    if body.is_end_stream() || request.headers().contains_key(header::CONTENT_LENGTH) {
        return;
    }
    // After what has a length nothing can come.
    let length = body.size_hint().exact().filter(|_| !body.has_trailers());
    let headers = request.headers_mut();
    match length {
        Some(length) => headers.insert(header::CONTENT_LENGTH, length.into()),
        None => headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        ),
    };
}

/// The headers of a response that is passed on as it is.
pub(super) fn response_headers(plan: &Plan, headers: &mut HeaderMap) {
    let marks = Marks::of(headers);
    if marks.has(Marks::CONTENT_LENGTH) {
        settle_length(headers, marks);
    }
    let announced = marks.has(Marks::TRAILER);
    let announced = announced
        .then(|| plan.reserved.announced(headers))
        .flatten();
    strip_hop_by_hop(headers, marks);
    if let Some(announced) = announced {
        headers.insert(header::TRAILER, announced);
    }
    if let Some(logins) = &plan.logins {
        logins.own_cookies.forbid(headers);
    }
    if marks.has(Marks::DPOP_NONCE) {
        headers.remove(DPOP_NONCE);
    }
}

/// A length is said once, or not at all: a client could read one that stands there twice, or beside an encoding, in
/// another way than the gateway has (RFC 9110 section 8.6, RFC 9112 section 6.3).
fn settle_length(headers: &mut HeaderMap, marks: Marks) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return;
    };
    let is_plain = !first.is_empty() && first.as_bytes().iter().all(u8::is_ascii_digit);
    let is_encoded = marks.has(Marks::TRANSFER_ENCODING);
    if is_plain && lengths.next().is_none() && !is_encoded {
        return;
    }
    let length = one_length(headers).filter(|_| !is_encoded);
    match length {
        Some(length) => headers.insert(header::CONTENT_LENGTH, length.into()),
        None => headers.remove(header::CONTENT_LENGTH),
    };
}

/// What all say, if they say the same.
fn one_length(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut all = None;
    for value in values {
        for said in value.to_str().ok()?.split(',') {
            let said = said.trim_matches([' ', '\t']);
            let digits = said.bytes().all(|byte| byte.is_ascii_digit());
            let said: u64 = said.parse().ok().filter(|_| digits)?;
            if *all.get_or_insert(said) != said {
                return None;
            }
        }
    }
    all
}

/// The headers of an answer to what was permitted, as whoever asked gets them.
pub(super) fn answer_headers(plan: &Plan, permitted: &Permitted, headers: &mut HeaderMap) {
    response_headers(plan, headers);
    let route = plan.routes.get(permitted.route());
    if let Some(rewrite) = route.and_then(|route| route.rewrite.as_ref()) {
        rewrite.response.apply(headers);
    }
    if matches!(permitted.shown(), Some(Shown::Session(_) | Shown::Key(_))) {
        keep_from_shared_caches(headers);
    }
}

/// What a shared cache may not keep of a request with `Authorization`, it may not keep of one with a session's
/// cookie or an API key (RFC 9111 section 3.5): the upstream was sent the one, and whoever is in front of us has
/// seen the other.
fn keep_from_shared_caches(headers: &mut HeaderMap) {
    const SAID: [&str; 5] = [
        "public",
        "s-maxage",
        "must-revalidate",
        "private",
        "no-store",
    ];
    let is_said = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| directive.split('=').next())
        .any(|name| {
            SAID.iter()
                .any(|said| name.trim().eq_ignore_ascii_case(said))
        });
    if !is_said {
        let private = HeaderValue::from_static("private");
        headers.append(header::CACHE_CONTROL, private);
    }
}

/// The headers of a response whose body was masked.
pub(super) fn masked_response_headers(headers: &mut HeaderMap) {
    for name in &DESCRIBES_DOCUMENT {
        headers.remove(name);
    }
    // Made for this caller: nobody else may get it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_caches_keep_of_a_session_what_they_may_keep_of_a_token() {
        for (said, kept) in [
            (&[][..], &["private"][..]),
            (&["max-age=60"], &["max-age=60", "private"]),
            (&["no-cache"], &["no-cache", "private"]),
            (&["max-age=60, public"], &["max-age=60, public"]),
            (
                &["max-age=60", "S-MaxAge = 5"],
                &["max-age=60", "S-MaxAge = 5"],
            ),
            (&["must-revalidate"], &["must-revalidate"]),
            (&["no-store"], &["no-store"]),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
            }
            keep_from_shared_caches(&mut headers);
            let values: Vec<_> = headers.get_all(header::CACHE_CONTROL).iter().collect();
            assert_eq!(values, kept, "{said:?}");
        }
    }
}
