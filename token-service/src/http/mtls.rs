//! Mutual TLS (RFC 8705): the endpoints of the listener for whoever has a certificate, and what the
//! metadata says of them.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use service_kit::serve;

use super::{authorize, certificate, device_authorization, introspect, revoke, token, userinfo};
use crate::core::Core;

/// Endpoints that clients and resource servers call themselves, by their names in metadata.
const ENDPOINTS: [(&str, &str); 6] = [
    ("token_endpoint", "/token"),
    ("revocation_endpoint", "/revoke"),
    ("introspection_endpoint", "/introspect"),
    ("userinfo_endpoint", "/userinfo"),
    ("pushed_authorization_request_endpoint", "/par"),
    ("device_authorization_endpoint", "/device_authorization"),
];

/// The endpoints of the listener. No page for people is among them.
pub(super) fn router(core: Arc<Core>) -> Router {
    let endpoints = Router::new()
        .route("/token", post(token::post))
        .route("/revoke", post(revoke::post))
        .route("/introspect", post(introspect::post))
        .route("/userinfo", get(userinfo::get).post(userinfo::post))
        .route("/par", post(authorize::push::post))
        .route("/device_authorization", post(device_authorization::post));
    let path = core.mtls.as_ref().map_or("", |mtls| mtls.url.path());
    let endpoints = if path.is_empty() {
        endpoints
    } else {
        Router::new().nest(path, endpoints)
    };
    endpoints
        .fallback(super::not_found)
        .layer(middleware::from_fn(certificate::mark))
        .layer(middleware::from_fn(super::harden))
        .layer(middleware::from_fn(serve::request_id))
        .with_state(core)
}

/// Says in the metadata what there is, where there is something (RFC 8705 sections 3.3 and 5).
pub(super) fn describe(core: &Core, document: &mut Value) {
    let (Some(mtls), Some(document)) = (&core.mtls, document.as_object_mut()) else {
        return;
    };
    let aliases: Map<String, Value> = ENDPOINTS
        .iter()
        .map(|(name, path)| ((*name).to_owned(), mtls.url.endpoint(path).into()))
        .collect();
    document.insert("mtls_endpoint_aliases".into(), aliases.into());
    document.insert(
        "tls_client_certificate_bound_access_tokens".into(),
        json!(true),
    );
    for endpoint in ["token", "revocation", "introspection"] {
        let name = format!("{endpoint}_endpoint_auth_methods_supported");
        if let Some(Value::Array(methods)) = document.get_mut(&name) {
            methods.push("self_signed_tls_client_auth".into());
            if mtls.has_authorities {
                methods.push("tls_client_auth".into());
            }
        }
    }
}
