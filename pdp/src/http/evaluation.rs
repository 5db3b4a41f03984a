//! `POST /access/v1/evaluation` and `/access/v1/evaluations`.

use std::sync::Arc;

use ::http::{HeaderValue, StatusCode, header};
use authzen::{Asked, BatchBody, Members};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use service_kit::Problem;

use super::bodies;
use super::receive::{bad_request, no_answer, receive};
use crate::decision_log::Asker;
use crate::pdp::{Inner, Reply};

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
    let question = Members::parse(&body).map_err(|error| bad_request(&error))?;
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
    let batch = match BatchBody::parse(&body).map_err(|error| bad_request(&error))? {
        BatchBody::Single(question) => return answer_one(&inner, &question, &asker).await,
        BatchBody::Many(batch) => batch,
    };
    let limit = inner.limits.evaluations;
    if batch.entries().len() > limit {
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(format!(
                "`evaluations` must not have more than {limit} entries"
            )),
        );
    }
    let snapshot = inner.snapshot.load_full();
    let evaluations = inner
        .decide_many(&snapshot, batch.entries(), batch.semantic, &asker)
        .await
        .map_err(|error| no_answer(&error))?;
    json(&Answers { evaluations })
}

/// Written as it is, without another form of every answer in between.
#[derive(Serialize)]
struct Answers<'s> {
    evaluations: Vec<Reply<'s>>,
}

async fn answer_one(
    inner: &Inner,
    question: &Members<'_>,
    asker: &Asker,
) -> Result<Response, Problem> {
    let asked = Asked::of(question).map_err(|error| bad_request(&error))?;
    let snapshot = inner.snapshot.load_full();
    let answer = inner
        .decide(&snapshot, &asked, asker)
        .await
        .map_err(|error| no_answer(&error))?;
    json(&answer)
}

/// What an answer is written into at first.
const ANSWER: usize = 1 << 10;

fn json(answer: &impl Serialize) -> Result<Response, Problem> {
    let mut body = Vec::with_capacity(ANSWER);
    serde_json::to_writer(&mut body, answer).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal")
    })?;
    let mut response = Response::new(Body::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}
