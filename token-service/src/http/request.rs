//! Reading requests: a bounded form body, a query, the sender's address.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use bytes::Bytes;
use http::header;
use http::request::Parts;
use serde_json::{Map, Value};
use service_kit::serve::Client;

use crate::network::Network;
use crate::params::Params;
use crate::refusal::{ErrorCode, Refusal};

/// Longer bodies are refused. Bytes.
const MAX_BODY: usize = 64 << 10;
/// Slower ones, too: nobody holds a connection by sending a byte now and then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A POST with a form.
pub(super) async fn posted(request: Request) -> Result<(Parts, Params), Refusal> {
    let (parts, body) = request.into_parts();
    let params = form(&parts, body).await?;
    Ok((parts, params))
}

/// The form of a POST. Parameters in the query are refused: they would be in logs.
pub(super) async fn form(parts: &Parts, body: Body) -> Result<Params, Refusal> {
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "parameters belong into the body",
        ));
    }
    if !is_form(parts) {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "the body must be application/x-www-form-urlencoded",
        ));
    }
    read(&whole(body).await?)
}

async fn whole(body: Body) -> Result<Bytes, Refusal> {
    tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY))
        .await
        .map_err(|_| Refusal::TooSlow)?
        .map_err(|_| Refusal::TooLarge)
}

/// The JSON object of a POST or PUT. `code`: what it is called that there is none.
pub(super) async fn json(
    parts: &Parts,
    body: Body,
    code: ErrorCode,
) -> Result<Map<String, Value>, Refusal> {
    let refused = |text| Refusal::Denied(code, text);
    if !is_of(parts, "application/json") {
        return Err(refused("the body must be application/json"));
    }
    let body = whole(body).await?;
    strict_json::parse_object(&body)
        .map_err(|_| refused("the body is not one JSON object, in which no name is repeated"))
}

/// The query of a GET.
pub(super) fn query(parts: &Parts) -> Result<Params, Refusal> {
    read(parts.uri.query().unwrap_or_default().as_bytes())
}

/// Whence a request comes, by the other end of its connection. A proxy's network where there is a proxy: nothing
/// that a header says is believed.
pub(super) fn peer_network(parts: &Parts) -> Network {
    let client = parts.extensions.get::<Client>();
    Network::of(client.map(|client| client.address.ip()))
}

/// Of a body, of a query, or of what was kept of one.
pub(super) fn read(encoded: &[u8]) -> Result<Params, Refusal> {
    Params::parse(encoded).map_err(|_| {
        Refusal::Denied(
            ErrorCode::InvalidRequest,
            "a parameter is repeated or not UTF-8, or there are too many",
        )
    })
}

/// Whether the body says that it is a form.
pub(super) fn is_form(parts: &Parts) -> bool {
    is_of(parts, "application/x-www-form-urlencoded")
}

fn is_of(parts: &Parts, media_type: &str) -> bool {
    parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case(media_type))
}
