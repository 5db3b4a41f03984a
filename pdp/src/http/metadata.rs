//! `GET /.well-known/authzen-configuration`: what this decision point is and serves, from
//! memory.

use std::sync::Arc;

use ::http::{StatusCode, header};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
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
    match &inner.metadata {
        Some(metadata) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (kind, metadata.0.clone()).into_response()
        }
        None => Problem::new(StatusCode::NOT_FOUND, "not-found")
            .detail("this decision point has no public URL configured")
            .into_response(),
    }
}
