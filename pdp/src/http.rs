//! The AuthZEN HTTP API. 200 for every decision; the error body is a problem document that names
//! the field and says nothing about policies.

mod bodies;
mod contract;
mod entities;
mod evaluation;
mod explain;
mod front;
mod gate;
mod left_open;
mod metadata;
mod native;
mod openapi;
mod receive;
mod search;
mod snapshot;

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::Router;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use service_kit::{Problem, serve};

pub use front::Api;

use crate::pdp::{Inner, Pdp};

const WELL_KNOWN: &str = "/.well-known/authzen-configuration";

impl Pdp {
    /// The AuthZEN HTTP API.
    pub fn api(&self) -> Api {
        Api::new(Arc::clone(&self.0), router(self))
    }
}

/// Every route. An identifier with a path is served under that path, too, and its metadata
/// where the well-known segment stands between host and path.
fn router(pdp: &Pdp) -> Router {
    let api =
        Router::new()
            .merge(asked())
            .merge(kept())
            .route_layer(middleware::from_fn_with_state(
                Arc::clone(&pdp.0),
                gate::pass,
            ));
    let path = pdp
        .0
        .identifier
        .as_ref()
        .map_or("", |own| own.path.as_str());
    let mut router = api.clone().merge(openapi::routes(&pdp.0));
    if !path.is_empty() {
        router = router.nest(path, api);
    }
    let router = router
        .route(
            &format!("{WELL_KNOWN}{path}"),
            get(metadata::show).fallback(|| async { not_allowed("GET, HEAD") }),
        )
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "not-found") })
        .layer(middleware::from_fn(serve::request_id))
        .with_state(Arc::clone(&pdp.0));
    pdp.0.traces.layer(router, pdp.0.server.clone())
}

/// Where something is asked.
fn asked() -> Router<Arc<Inner>> {
    let posted =
        |handler: MethodRouter<Arc<Inner>>| handler.fallback(|| async { not_allowed("POST") });
    Router::new()
        .route("/access/v1/evaluation", posted(post(evaluation::one)))
        .route("/access/v1/evaluations", posted(post(evaluation::many)))
        .route("/access/v1/search/subject", posted(post(search::subject)))
        .route("/access/v1/search/action", posted(post(search::action)))
        .route("/access/v1/search/resource", posted(post(search::resource)))
        .route("/cedar/v1/authorize", posted(post(native::authorize)))
        .route("/cedar/v1/authorize/batch", posted(post(native::batch)))
        .route("/cedar/v1/partial", posted(post(left_open::partial)))
        .route("/cedar/v1/explain", posted(post(explain::answer)))
        .route("/cedar/v1/filter", posted(post(left_open::filter)))
}

/// Where something is shown or changed.
fn kept() -> Router<Arc<Inner>> {
    Router::new()
        .route(
            "/cedar/v1/cache-contract",
            get(contract::show).fallback(|| async { not_allowed("GET, HEAD") }),
        )
        .route(
            "/cedar/v1/snapshot",
            get(snapshot::show).fallback(|| async { not_allowed("GET, HEAD") }),
        )
        .route(
            "/cedar/v1/entities",
            get(entities::list)
                .post(entities::change)
                .fallback(|| async { not_allowed("GET, HEAD, POST") }),
        )
        .route(
            "/cedar/v1/entities/{type}/{id}",
            get(entities::one).fallback(|| async { not_allowed("GET, HEAD") }),
        )
}

fn not_allowed(allow: &'static str) -> Response {
    with_header(
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed")
            .detail(format!("use {allow}")),
        header::ALLOW,
        allow,
    )
}

fn with_header(problem: Problem, name: HeaderName, value: &'static str) -> Response {
    let mut response = problem.into_response();
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    response
}

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod profile;
#[cfg(test)]
mod search_tests;
#[cfg(test)]
pub(crate) mod tests;
