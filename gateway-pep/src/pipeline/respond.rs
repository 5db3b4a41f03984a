//! Step 7: the gateway's own answers. Every refusal is rendered here, exhaustively.
//!
//! Texts come from a closed set; why a policy denied, or how a backend failed, goes to the log.

mod challenge;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use service_kit::Problem;

use super::login::page::depart;
use super::record::Record;
use super::refusal::Refusal;
use super::response_body::ResponseBody;
use crate::core::Core;
use crate::grpc::{self, Code};
use crate::obligation::rate;

pub(crate) use challenge::say_nonce;

/// Caches know that answers to `Authorization` are not for everybody (RFC 9111 section 3.5). Of another header
/// they have to be told.
pub(crate) fn vary_by_key(core: &Core, headers: &mut HeaderMap) {
    if let Some(name) = &core.plan.api_key_header {
        headers.append(header::VARY, name.clone().into());
    }
}

/// `application/problem+json` (RFC 9457), and whatever header the refusal asks for.
pub(crate) fn refuse(
    core: &Core,
    refusal: &Refusal,
    record: &mut Record,
) -> Response<ResponseBody> {
    record.failed(refusal.reason());
    core.metrics.reject(refusal.reason());
    if let Refusal::Ambiguous(ambiguity) = refusal {
        core.metrics.ambiguous.refused(*ambiguity);
    }
    if let Refusal::LogIn(departure) = refusal {
        return depart(departure);
    }
    let mut response = if record.is_call() {
        end_call(refusal)
    } else {
        problem(refusal, record)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    challenge::add(core, refusal, record, headers);
    match refusal {
        Refusal::MethodNotAllowed { allow } => {
            headers.insert(header::ALLOW, allow.clone());
        }
        Refusal::TokenServiceUnavailable
        | Refusal::IssuerUnavailable
        | Refusal::DecisionPointUnavailable
        | Refusal::SessionStoreUnavailable
        | Refusal::ProofStoreUnavailable
        | Refusal::RateUnknown
        | Refusal::UpstreamFull
        | Refusal::TooManyConnections
        | Refusal::UpstreamUnhealthy => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Refusal::TooOften { retry } => {
            let seconds = HeaderValue::from(rate::seconds(*retry));
            headers.insert(header::RETRY_AFTER, seconds);
        }
        _ => {}
    }
    // RFC 9112 section 9.6: said, or the client sends its next request into a connection that closes.
    if record.ends_connections() && (refusal.ends_connection() || record.leaves_body()) {
        close_after(&mut response);
    }
    response
}

/// For whoever speaks HTTP.
fn problem(refusal: &Refusal, record: &Record) -> Response<ResponseBody> {
    let status = refusal.status();
    let mut problem =
        Problem::new(status, &refusal.reason().replace('_', "-")).instance(record.id.as_str());
    if let Some(detail) = refusal.detail() {
        problem = problem.detail(detail);
    }
    let mut response = Response::new(ResponseBody::whole(problem.to_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

/// For whoever makes a call: it is over before a message of its answer, with a status of gRPC.
fn end_call(refusal: &Refusal) -> Response<ResponseBody> {
    let code = match refusal {
        // It has to do with who calls, or with nobody.
        Refusal::TwoCredentials | Refusal::MalformedToken => Code::Unauthenticated,
        Refusal::Unmaskable(_) => Code::Internal,
        refusal => Code::of(refusal.status()),
    };
    let mut response = Response::new(ResponseBody::whole(""));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(grpc::CONTENT_TYPE);
    headers.insert(header::CONTENT_TYPE, content_type);
    match refusal.detail() {
        Some(detail) => grpc::say_status(headers, code, &detail),
        None => grpc::say_status(headers, code, &refusal.reason().replace('_', " ")),
    }
    response
}

/// The connection ends with this answer.
pub(crate) fn close_after(response: &mut Response<ResponseBody>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}
