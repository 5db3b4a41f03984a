//! `POST /access/v1/evaluation` and `/access/v1/evaluations`.

use std::sync::Arc;

use ::http::StatusCode;
use authzen::{BatchBody, Evaluation, EvaluationRequest};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use service_kit::Problem;

use super::bodies;
use super::receive::{bad_request, no_answer, receive};
use crate::decision_log::Asker;
use crate::pdp::Inner;

#[utoipa::path(
    post,
    path = "/access/v1/evaluation",
    tag = "AuthZEN",
    summary = "One question",
    request_body = bodies::access::Question,
    params(bodies::Freshness),
    responses((status = 200, description = "The decision, permit or deny", body = bodies::access::Answer), bodies::Refusal)
)]
pub(super) async fn one(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    let (asker, body) = receive(request).await?;
    let question = EvaluationRequest::from_json(&body).map_err(|error| bad_request(&error))?;
    answer_one(&inner, &question, &asker).await
}

#[utoipa::path(
    post,
    path = "/access/v1/evaluations",
    tag = "AuthZEN",
    summary = "Many questions",
    request_body = bodies::access::Questions,
    params(bodies::Freshness),
    responses((status = 200, description = "The decisions, in order", body = bodies::access::Answers), bodies::Refusal)
)]
pub(super) async fn many(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    let (asker, body) = receive(request).await?;
    let batch = match BatchBody::from_json(&body).map_err(|error| bad_request(&error))? {
        BatchBody::Single(question) => return answer_one(&inner, &question, &asker).await,
        BatchBody::Many(batch) => batch,
    };
    let limit = inner.limits.evaluations;
    if batch.entries.len() > limit {
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(format!(
                "`evaluations` must not have more than {limit} entries"
            )),
        );
    }
    let evaluations = inner
        .decide_many(&batch, &asker)
        .await
        .map_err(|error| no_answer(&error))?;
    Ok(Json(Answers { evaluations }).into_response())
}

/// Written as it is, without another form of every answer in between.
#[derive(Serialize)]
struct Answers {
    evaluations: Vec<Evaluation>,
}

async fn answer_one(
    inner: &Inner,
    question: &EvaluationRequest,
    asker: &Asker,
) -> Result<Response, Problem> {
    let snapshot = inner.snapshot.load_full();
    let evaluation = inner
        .decide(&snapshot, question, asker)
        .await
        .map_err(|error| no_answer(&error))?;
    Ok(Json(evaluation).into_response())
}
