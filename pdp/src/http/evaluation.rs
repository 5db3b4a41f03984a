//! `POST /access/v1/evaluation` and `/access/v1/evaluations`.

use std::sync::Arc;

use ::http::{HeaderValue, StatusCode, header};
use authzen::{Asked, BatchBody, DecisionError};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use service_kit::Problem;
use strict_json::{Arena, JsonText, Members};

use super::bodies;
use super::receive::{Received, bad_request, no_answer, receive};
use crate::answer::Answer;
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
    answer_one(&inner, &receive(&inner, request)?).await
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
    answer_many(&inner, &receive(&inner, request)?).await
}

pub(super) async fn answer_one(inner: &Inner, received: &Received) -> Result<Response, Problem> {
    let arena = Arena::new();
    answer_question(inner, &received.object(&arena)?, &received.asker).await
}

/// The same where nobody has to be waited for.
pub(super) fn answer_one_now(inner: &Inner, received: &Received) -> Result<Response, Problem> {
    let arena = Arena::new();
    let question = received.object(&arena)?;
    let asked = Asked::of(&question).map_err(|error| bad_request(&error))?;
    let snapshot = inner.snapshot.load_full();
    written(inner.decide_now(&snapshot, &asked, &received.asker))
}

pub(super) async fn answer_many(inner: &Inner, received: &Received) -> Result<Response, Problem> {
    let (asker, arena) = (&received.asker, Arena::new());
    let body = BatchBody::of(received.object(&arena)?);
    let batch = match body.map_err(|error| bad_request(&error))? {
        BatchBody::Single(question) => return answer_question(inner, &question, asker).await,
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
    // In a box of its own: the future of one question has room for this one, too.
    let many = Box::pin(inner.decide_many(&snapshot, batch.entries(), batch.semantic, asker));
    let evaluations = many.await.map_err(|error| no_answer(&error))?;
    let mut text = JsonText::with_capacity(ANSWER * evaluations.len());
    text.raw(r#"{"evaluations":"#);
    text.list(&evaluations, |text, reply| reply.write(text));
    text.raw("}");
    Ok(json(text))
}

async fn answer_question(
    inner: &Inner,
    question: &Members<'_>,
    asker: &Asker,
) -> Result<Response, Problem> {
    let asked = Asked::of(question).map_err(|error| bad_request(&error))?;
    let snapshot = inner.snapshot.load_full();
    written(inner.decide(&snapshot, &asked, asker).await)
}

fn written(answer: Result<Answer<'_>, DecisionError>) -> Result<Response, Problem> {
    let answer = answer.map_err(|error| no_answer(&error))?;
    let mut text = JsonText::with_capacity(ANSWER);
    answer.write(&mut text);
    Ok(json(text))
}

/// Room for an answer, nearly always.
const ANSWER: usize = 512;

fn json(text: JsonText) -> Response {
    let mut response = Response::new(Body::from(text.into_bytes()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
