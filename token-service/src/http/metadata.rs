//! The two metadata documents (RFC 8414, OpenID Connect Discovery): one content, two places.
//! Made from the configured issuer alone; nothing of the request is in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, header};
use jose::Algorithm;
use serde_json::{Map, Value, json};

use super::{mtls, render};
use crate::config::{GrantType, SigningAlgorithm};
use crate::core::Core;
use crate::registry::Registry;

pub(super) async fn get(State(core): State<Arc<Core>>) -> Response {
    let mut response = render::json(&document(&core));
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    core.meter.request("metadata", "ok");
    response
}

fn document(core: &Core) -> Value {
    let registry = core.registry();
    let issuer = &core.issuer;
    let scopes = registry.scopes();
    let client_methods = [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "none",
    ];
    let algorithms = Algorithm::ALL.map(Algorithm::name);
    let signing = SigningAlgorithm::ALL.map(SigningAlgorithm::as_str);
    let mut document = json!({
        "issuer": issuer.as_str(),
        "authorization_endpoint": issuer.endpoint("/authorize"),
        "token_endpoint": issuer.endpoint("/token"),
        "userinfo_endpoint": issuer.endpoint("/userinfo"),
        "introspection_endpoint": issuer.endpoint("/introspect"),
        "revocation_endpoint": issuer.endpoint("/revoke"),
        "pushed_authorization_request_endpoint": issuer.endpoint("/par"),
        "device_authorization_endpoint": issuer.endpoint("/device_authorization"),
        "require_pushed_authorization_requests": registry.only_pushed,
        "end_session_endpoint": issuer.endpoint("/logout"),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "jwks_uri": issuer.endpoint("/jwks.json"),
        "scopes_supported": scopes.iter().collect::<Vec<_>>(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": GrantType::ALL.map(GrantType::as_str),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": client_methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": client_methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "dpop_signing_alg_values_supported": oauth::dpop_algorithms(),
        "introspection_signing_alg_values_supported": signing,
        "id_token_signing_alg_values_supported": signing,
        "acr_values_supported": logins(core, &registry),
        "subject_types_supported": ["public"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce", "sid", "at_hash",
            "name", "preferred_username", "email",
        ],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "authorization_response_iss_parameter_supported": true,
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "protected_resources": registry.resources().map(|resource| &resource.id).collect::<Vec<_>>(),
    });
    mtls::describe(core, &mut document);
    if let Some(members) = document.as_object_mut() {
        add_others(core, members);
    }
    document
}

/// What logins can be called, by whatever way.
fn logins<'a>(core: &'a Core, registry: &'a Registry) -> BTreeSet<&'a String> {
    let providers = registry.providers.values();
    let elsewhere = providers.filter_map(|provider| provider.acr.as_ref());
    core.login_acr.iter().chain(elsewhere).collect()
}

/// How clients that nobody has configured can come, where they can.
fn add_others(core: &Core, members: &mut Map<String, Value>) {
    let registry = core.registry();
    if registry.registration.is_some() {
        let endpoint = core.issuer.endpoint("/register");
        members.insert("registration_endpoint".into(), endpoint.into());
    }
    if registry.client_documents.is_some() {
        let name = "client_id_metadata_document_supported";
        members.insert(name.into(), true.into());
    }
}
