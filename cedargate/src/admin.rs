//! The admin listener beyond health and metrics: what a process goes by, how it is, and how much it logs. What of it
//! needs a gateway is there where there is one.

pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod level;
pub(crate) mod redact;

use axum::Router;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use gateway_pep::Inspector;
use http::{StatusCode, header};
use service_kit::Problem;

/// What it is, for programs. A test holds it against what is answered.
const OPENAPI: &str = include_str!("admin/openapi.json");

/// What every process answers: the description, and problem details where there is nothing.
pub(crate) fn described(router: Router) -> Router {
    router
        .route("/openapi.json", get(openapi))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "not-found",
                "`/openapi.json` says what there is; some of it only where a gateway runs",
            )
        })
        .method_not_allowed_fallback(|| async {
            problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "`/openapi.json` says what there is",
            )
        })
}

/// Of a gateway of this process.
pub(crate) fn of_gateway(inspector: Inspector) -> Router {
    let routes = inspector.clone();
    let upstreams = inspector;
    Router::new()
        .route(
            "/routes",
            get(|| async move { Json(routes.routes()).into_response() }),
        )
        .route(
            "/upstreams",
            get(|| async move { Json(upstreams.upstreams()).into_response() }),
        )
}

async fn openapi() -> Response {
    let kind = "application/json";
    ([(header::CONTENT_TYPE, kind)], OPENAPI).into_response()
}

fn problem(status: StatusCode, kind: &str, detail: &str) -> Response {
    Problem::new(status, kind).detail(detail).into_response()
}

#[cfg(test)]
mod tests;
