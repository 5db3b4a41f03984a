//! `POST /access/v1/search/{subject,action,resource}`.

use std::sync::Arc;

use authzen::{SearchKind, SearchRequest};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use service_kit::Problem;
use strict_json::Arena;

use super::bodies;
use super::receive::{bad_request, no_answer, receive};
use crate::pdp::Inner;

#[utoipa::path(
    post,
    path = "/access/v1/search/subject",
    tag = "AuthZEN",
    summary = "Search for subjects",
    request_body = bodies::access::Search,
    params(bodies::Freshness),
    responses((status = 200, description = "A page of what is permitted", body = bodies::access::Found), bodies::Refusal)
)]
pub(super) async fn subject(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    answer(inner, SearchKind::Subject, request).await
}

#[utoipa::path(
    post,
    path = "/access/v1/search/action",
    tag = "AuthZEN",
    summary = "Search for actions",
    request_body = bodies::access::Search,
    params(bodies::Freshness),
    responses((status = 200, description = "A page of what is permitted", body = bodies::access::Found), bodies::Refusal)
)]
pub(super) async fn action(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    answer(inner, SearchKind::Action, request).await
}

#[utoipa::path(
    post,
    path = "/access/v1/search/resource",
    tag = "AuthZEN",
    summary = "Search for resources",
    request_body = bodies::access::Search,
    params(bodies::Freshness),
    responses((status = 200, description = "A page of what is permitted", body = bodies::access::Found), bodies::Refusal)
)]
pub(super) async fn resource(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    answer(inner, SearchKind::Resource, request).await
}

async fn answer(
    inner: Arc<Inner>,
    kind: SearchKind,
    request: Request,
) -> Result<Response, Problem> {
    let received = receive(&inner, request)?;
    let request = SearchRequest::of(kind, &received.object(&Arena::new())?);
    let request = request.map_err(|error| bad_request(&error))?;
    let results = inner
        .search(request, received.asker)
        .await
        .map_err(|error| no_answer(&error))?;
    Ok(Json(results).into_response())
}
