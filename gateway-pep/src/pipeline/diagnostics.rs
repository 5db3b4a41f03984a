//! What an answer says about how it came to be, where that is configured: `Server-Timing`, `Cache-Status` and
//! `Proxy-Status`. They come after those of the upstream, as of whoever is nearer to the client.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::record::Record;
use super::refusal::Refusal;
use crate::cache::Source;
use crate::core::Core;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What is known of timing and caches.
pub(super) fn say(core: &Core, record: &Record, headers: &mut HeaderMap) {
    let wanted = core.plan.diagnostics(record.route());
    if wanted.server_timing {
        append(headers, SERVER_TIMING, timing(record));
    }
    if wanted.cache_status {
        let status = cache_status(record);
        if !status.is_empty() {
            append(headers, CACHE_STATUS, status);
        }
    }
}

/// Why the gateway answers itself.
pub(super) fn say_error(core: &Core, refusal: &Refusal, record: &Record, headers: &mut HeaderMap) {
    if core.plan.diagnostics(record.route()).proxy_status
        && let Some(error) = proxy_error(refusal, record)
    {
        append(headers, PROXY_STATUS, format!("cedargate; error={error}"));
    }
}

fn timing(record: &Record) -> String {
    let asked = record.asked();
    let mut text = String::new();
    if let Some((_, source)) = record.caller() {
        item(&mut text, "swap", asked.token, Some(source));
    }
    if let Some((_, source)) = record.decision() {
        item(&mut text, "decision", asked.decision, Some(source));
    }
    if let Some(took) = record.upstream() {
        item(&mut text, "upstream", took, None);
    }
    item(&mut text, "total", record.age(), None);
    text
}

/// Milliseconds, as W3C has it.
fn item(text: &mut String, name: &str, took: Duration, source: Option<Source>) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    let (millis, micros) = (took.as_millis(), took.subsec_micros() % 1000);
    // Writing to a text does not fail.
    let _ = write!(text, "{name};dur={millis}.{micros:03}");
    if let Some(source) = source {
        let _ = write!(text, ";desc=\"{}\"", source.as_str());
    }
}

fn cache_status(record: &Record) -> String {
    let known = [
        (
            "cedargate-tokens",
            record.caller().map(|(_, source)| source),
        ),
        (
            "cedargate-decisions",
            record.decision().map(|(_, source)| source),
        ),
    ];
    let of = |source| match source {
        Source::L1 => "hit",
        Source::L2 => "hit; detail=shared",
        Source::Remote => "fwd=miss",
        Source::Stale => "fwd=stale; detail=unanswered",
    };
    let known = known
        .into_iter()
        .filter_map(|(cache, source)| Some(format!("{cache}; {}", of(source?))));
    known.collect::<Vec<_>>().join(", ")
}

/// RFC 9209 section 2.3. None: it is no error.
fn proxy_error(refusal: &Refusal, record: &Record) -> Option<&'static str> {
    if let Some(error) = record.proxy_error() {
        return Some(error);
    }
    Some(match refusal {
        Refusal::LogIn(_) => return None,
        Refusal::NotFound => "destination_not_found",
        Refusal::UpstreamFailed => "destination_unavailable",
        Refusal::UpstreamTimeout => "http_response_timeout",
        _ => match refusal.status() {
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::METHOD_NOT_ALLOWED => "http_request_denied",
            status if status.is_client_error() => "http_request_error",
            _ => "proxy_internal_error",
        },
    })
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.append(name, value);
    }
}
