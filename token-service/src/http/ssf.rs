//! `GET /.well-known/ssf-configuration` (OpenID Shared Signals Framework 1.0 section 7.1): how security
//! events are told. Who is told is configured, and not asked for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, header};
use serde_json::json;

use super::render;
use crate::core::Core;

pub(super) async fn get(State(core): State<Arc<Core>>) -> Response {
    let mut response = render::json(&json!({
        "spec_version": "1_0",
        "issuer": core.issuer.as_str(),
        "jwks_uri": core.issuer.endpoint("/jwks.json"),
        "delivery_methods_supported": ["urn:ietf:rfc:8935"],
        "default_subjects": "ALL",
    }));
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    core.meter.request("metadata", "ok");
    response
}
