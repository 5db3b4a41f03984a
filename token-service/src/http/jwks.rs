//! `GET /jwks.json` (RFC 7517 section 5).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, header};

use super::render;
use crate::core::Core;
use crate::keys::JWKS_MAX_AGE;

pub(super) async fn get(State(core): State<Arc<Core>>) -> Response {
    let mut response = render::json(&core.keys.jwks());
    let kept = format!("public, max-age={}", JWKS_MAX_AGE.as_secs());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/jwk-set+json"),
    );
    if let Ok(value) = HeaderValue::try_from(kept) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    core.meter.request("jwks", "ok");
    response
}
