//! Reading requests: a bounded form body, a query, the sender's address.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use http::header;
use http::request::Parts;
use service_kit::serve::Client;

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
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY))
        .await
        .map_err(|_| Refusal::TooSlow)?
        .map_err(|_| Refusal::TooLarge)?;
    read(&body)
}

/// The query of a GET.
pub(super) fn query(parts: &Parts) -> Result<Params, Refusal> {
    read(parts.uri.query().unwrap_or_default().as_bytes())
}

/// Who is at the other end of the connection. A proxy's address where there is a proxy: nothing
/// that a header says is believed.
pub(super) fn peer(parts: &Parts) -> Option<IpAddr> {
    let client = parts.extensions.get::<Client>();
    client.map(|client| client.address.ip())
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

fn is_form(parts: &Parts) -> bool {
    parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| {
            media
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}
