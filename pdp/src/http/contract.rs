//! `GET /cedar/v1/cache-contract`: what the answers of the deciding snapshot depend on.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::bodies;
use crate::pdp::Inner;

#[utoipa::path(
    get,
    path = "/cedar/v1/cache-contract",
    tag = "Cedar",
    summary = "What answers can depend on",
    params(bodies::Freshness),
    responses((status = 200, description = "For each kind of question", body = bodies::cedar::Contracts), bodies::Refusal)
)]
pub(super) async fn show(State(inner): State<Arc<Inner>>) -> Response {
    let snapshot = inner.snapshot.load_full();
    let contracts: Vec<_> = snapshot.contracts.iter().collect();
    Json(json!({ "snapshot": snapshot.version, "contracts": contracts })).into_response()
}
