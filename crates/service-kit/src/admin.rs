//! The admin listener: `/livez`, `/readyz`, `/metrics`. On loopback unless told otherwise.

use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::StatusCode;
use serde_json::json;

use crate::{Health, Metrics};

/// What the admin listener shows.
#[derive(Debug, Clone, Default)]
pub struct Admin {
    pub health: Health,
    pub metrics: Metrics,
}

/// The routes.
pub fn router(admin: Admin) -> axum::Router {
    axum::Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let ready = admin.health.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ "ready": ready, "parts": admin.health.parts() })),
    )
        .into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    (
        [(http::header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        admin.metrics.render(),
    )
        .into_response()
}
