//! The HTTP endpoints: one file each. Here is only what stands around them: paths, headers that
//! every answer has, and who may call from a browser's script.

mod after_login;
mod api_keys;
mod authorize;
mod browser;
mod certificate;
mod client_auth;
mod consent;
mod device;
mod device_authorization;
mod dpop;
mod federation;
mod forms;
mod id_token_hint;
mod introspect;
mod jwks;
mod limits;
mod login;
mod logout;
mod metadata;
mod mtls;
mod pages;
mod protected;
mod register;
mod render;
mod request;
mod revoke;
mod ssf;
mod token;
mod userinfo;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use service_kit::{Problem, serve};

use crate::core::Core;

/// Everything under the issuer's path; well-known documents where their RFCs put them.
pub(crate) fn router(core: Arc<Core>) -> Router {
    // Called by scripts of any origin: none of these looks at a cookie.
    let scripts = Router::new()
        .route("/token", open_to_scripts(post(token::post)))
        .route("/revoke", open_to_scripts(post(revoke::post)))
        .route(
            "/userinfo",
            open_to_scripts(get(userinfo::get).post(userinfo::post)),
        )
        .route("/jwks.json", open_to_scripts(get(jwks::get)))
        .route(
            "/.well-known/openid-configuration",
            open_to_scripts(get(metadata::get)),
        )
        .layer(middleware::from_fn(allow_scripts));
    let browsers = Router::new()
        .route("/authorize", get(authorize::get).post(authorize::post))
        .route("/par", post(authorize::push::post))
        .route("/login", post(login::post))
        .route("/logout", get(logout::get).post(logout::post))
        .route("/consent", get(consent::get).post(consent::post))
        .route("/device_authorization", post(device_authorization::post))
        .route("/device", get(device::get).post(device::post))
        .route("/device/confirm", post(device::confirm::post))
        .route("/introspect", post(introspect::post));
    let endpoints = scripts
        .merge(browsers)
        .merge(elsewhere())
        .merge(registration(&core))
        .merge(keys(&core));
    let path = core.issuer.path().to_owned();
    let endpoints = if path.is_empty() {
        endpoints
    } else {
        Router::new().nest(&path, endpoints)
    };
    // RFC 8414 section 3.1: between host and path, not after it.
    let inserted = format!("/.well-known/oauth-authorization-server{path}");
    let signals = format!("/.well-known/ssf-configuration{path}");
    let inserted = Router::new()
        .route(&inserted, open_to_scripts(get(metadata::get)))
        .route(&signals, open_to_scripts(get(ssf::get)))
        .layer(middleware::from_fn(allow_scripts));
    endpoints
        .merge(inserted)
        .fallback(not_found)
        .layer(middleware::from_fn(harden))
        .layer(middleware::from_fn(serve::request_id))
        .with_state(core)
}

/// Where browsers come by on their way to and from identity providers, and these themselves.
fn elsewhere() -> Router<Arc<Core>> {
    Router::new()
        .route("/federation/{id}", post(federation::post))
        .route("/federation/{id}/callback", get(federation::callback))
        .route(
            "/federation/{id}/logged_out",
            get(federation::logout::logged_out),
        )
        .route(
            "/federation/{id}/backchannel_logout",
            post(federation::logout::backchannel),
        )
}

/// Clients that register and manage themselves, where that is configured.
fn registration(core: &Arc<Core>) -> Router<Arc<Core>> {
    let where_on = middleware::from_fn_with_state(Arc::clone(core), register::where_on);
    Router::new()
        .route("/register", post(register::post))
        .route(
            "/register/{client_id}",
            get(register::manage::get)
                .put(register::manage::put)
                .delete(register::manage::delete),
        )
        .route_layer(where_on)
}

/// Keys for programs, where that is configured.
fn keys(core: &Arc<Core>) -> Router<Arc<Core>> {
    let where_on = middleware::from_fn_with_state(Arc::clone(core), api_keys::where_on);
    let own = get(api_keys::get).post(api_keys::post);
    let one = axum::routing::delete(api_keys::delete);
    Router::new()
        .route("/api-keys", open_to_scripts(own))
        .route("/api-keys/{id}", open_to_scripts(one))
        .layer(middleware::from_fn(allow_scripts))
        .route_layer(where_on)
}

/// The endpoints of the listener for certificates.
pub(crate) fn mtls_router(core: Arc<Core>) -> Router {
    mtls::router(core)
}

/// Answers the preflight, too.
fn open_to_scripts(methods: MethodRouter<Arc<Core>>) -> MethodRouter<Arc<Core>> {
    methods.options(preflight)
}

async fn preflight() -> Response {
    (
        StatusCode::NO_CONTENT,
        [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "Authorization, Content-Type, DPoP",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ],
    )
        .into_response()
}

/// Any origin, never with credentials of the browser.
async fn allow_scripts(request: Request, next: Next) -> Result<Response, Infallible> {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    // RFC 9449 section 8.2: a script has to see what its next proof is to repeat.
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("DPoP-Nonce, WWW-Authenticate"),
    );
    Ok(response)
}

/// What is not said to be cacheable is not to be cached, errors included.
async fn harden(request: Request, next: Next) -> Result<Response, Infallible> {
    let is_page = matches!(*request.method(), Method::GET | Method::POST);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in EVERYWHERE {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    // RFC 6749 section 5.1, for caches of the last century.
    let is_kept = headers
        .get(header::CACHE_CONTROL)
        .is_none_or(|value| value != "no-store");
    if is_page && !is_kept {
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    }
    Ok(response)
}

const EVERYWHERE: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

async fn not_found() -> Response {
    Problem::new(StatusCode::NOT_FOUND, "not-found").into_response()
}
