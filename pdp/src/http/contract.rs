//! `GET /cedar/v1/cache-contract`: what the answers of the deciding snapshot depend on.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use crate::pdp::Inner;

pub(super) async fn show(State(inner): State<Arc<Inner>>) -> Response {
    let snapshot = inner.snapshot.load_full();
    Json(json!({ "snapshot": snapshot.version, "contracts": snapshot.contracts })).into_response()
}
