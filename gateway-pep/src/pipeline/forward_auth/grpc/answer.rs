//! What a call is answered: yes, with what the upstream is to get, or no, as the gateway itself would say it.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::messages;
use super::messages::{
    AppendAction, CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpResponse, HttpStatus,
    OkHttpResponse, Status,
};
use crate::headers::{Marks, strip_hop_by_hop};
use crate::pipeline::forward_auth::asked::OF_THE_QUESTION;

/// The proxy's own: to whom it speaks, and how.
static OF_THE_PROXY: [HeaderName; 3] = [header::HOST, header::TE, header::TRAILER];

/// What has to be done to the headers that came for the upstream to get those that the gateway would send.
pub(super) fn yes(sent: &HeaderMap, wanted: &HeaderMap, for_client: &HeaderMap) -> CheckResponse {
    let mut ok = OkHttpResponse::default();
    for name in wanted.keys().filter(|name| !is_of_the_proxy(name)) {
        if !sent.get_all(name).iter().eq(wanted.get_all(name)) {
            ok.headers.extend(set(wanted, name));
        }
    }
    for name in sent.keys().filter(|name| !is_of_the_proxy(name)) {
        if !wanted.contains_key(name) {
            ok.headers_to_remove.push(name.as_str().to_owned());
        }
    }
    for name in for_client.keys() {
        ok.response_headers_to_add.extend(set(for_client, name));
    }
    CheckResponse {
        status: Some(Status { code: 0 }),
        http_response: Some(HttpResponse::Ok(ok)),
    }
}

/// A refusal.
pub(super) fn no(refusal: &Response<()>, body: &Bytes) -> CheckResponse {
    let mut headers = refusal.headers().clone();
    let marks = Marks::of(&headers);
    strip_hop_by_hop(&mut headers, marks);
    let status = refusal.status();
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus {
            code: status.as_u16().into(),
        }),
        headers: headers
            .keys()
            .flat_map(|name| set(&headers, name))
            .collect(),
        body: String::from_utf8_lossy(body).into_owned(),
    };
    CheckResponse {
        status: Some(Status { code: code(status) }),
        http_response: Some(HttpResponse::Denied(denied)),
    }
}

fn is_of_the_proxy(name: &HeaderName) -> bool {
    OF_THE_PROXY.contains(name) || OF_THE_QUESTION.contains(name)
}

/// All values of a field, in the place of those that are there.
fn set<'h>(
    headers: &'h HeaderMap,
    name: &'h HeaderName,
) -> impl Iterator<Item = HeaderValueOption> + 'h {
    let values = headers.get_all(name).iter().map(text);
    values.enumerate().map(|(at, value)| {
        let action = match at {
            0 => AppendAction::OverwriteIfExistsOrAdd,
            _ => AppendAction::AppendIfExistsOrAdd,
        };
        HeaderValueOption {
            header: Some(messages::HeaderValue {
                key: name.as_str().to_owned(),
                value,
                raw_value: Bytes::new(),
            }),
            append_action: action.into(),
        }
    })
}

/// Whatever is set here is ours, and text.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The code of gRPC that says what a status of HTTP says. Never OK.
fn code(status: StatusCode) -> i32 {
    match status.as_u16() {
        401 => 16,
        404 => 5,
        400..=402 | 405..=499 => 3,
        500..=599 => 14,
        _ => 7,
    }
}
