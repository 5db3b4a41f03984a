//! `POST /drain` at the admin listener: ends the process as SIGTERM does.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::explain::from_a_program;

/// `asked_to_end`: cancelled when somebody asks.
pub(crate) fn router(asked_to_end: CancellationToken) -> Router {
    Router::new()
        .route("/drain", post(drain))
        .with_state(asked_to_end)
}

async fn drain(State(asked_to_end): State<CancellationToken>, headers: HeaderMap) -> Response {
    if let Err(problem) = from_a_program(&headers) {
        return problem.into_response();
    }
    tracing::info!("asked to end at the admin listener");
    asked_to_end.cancel();
    (StatusCode::ACCEPTED, Json(json!({ "draining": true }))).into_response()
}
