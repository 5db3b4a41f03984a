//! `GET /.well-known/authzen-configuration`: what this decision point is and serves. Made from
//! the configuration alone, never from a request.

use std::sync::Arc;

use ::http::StatusCode;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use service_kit::Problem;

use super::bodies;
use crate::pdp::Inner;

#[utoipa::path(
    get,
    path = "/.well-known/authzen-configuration",
    tag = "AuthZEN",
    summary = "Who this decision point is",
    security(()),
    responses(
        (status = 200, description = "AuthZEN metadata", body = bodies::access::Metadata),
        (status = 404, description = "No `pdp.public_url` is configured", body = bodies::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(State(inner): State<Arc<Inner>>) -> Response {
    match &inner.identifier {
        Some(own) => Json(json!({
            "policy_decision_point": own.url,
            "access_evaluation_endpoint": format!("{}/access/v1/evaluation", own.url),
            "access_evaluations_endpoint": format!("{}/access/v1/evaluations", own.url),
            "search_subject_endpoint": format!("{}/access/v1/search/subject", own.url),
            "search_action_endpoint": format!("{}/access/v1/search/action", own.url),
            "search_resource_endpoint": format!("{}/access/v1/search/resource", own.url),
        }))
        .into_response(),
        None => Problem::new(StatusCode::NOT_FOUND, "not-found")
            .detail("this decision point has no public URL configured")
            .into_response(),
    }
}
