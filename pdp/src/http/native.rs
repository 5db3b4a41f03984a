//! `/cedar/v1/authorize`: whole questions in Cedar's own words.

use std::sync::Arc;

use ::http::StatusCode;
use authzen::{DecisionError, Properties};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use service_kit::Problem;
use strict_json::Arena;

use super::bodies;
use super::entities::right_of;
use super::receive::{no_answer, receive};
use crate::config::EntityRight;
use crate::decision_log::{Asker, Refused};
use crate::native::{Ground, NativeError, Whole};
use crate::pdp::Inner;
use crate::snapshot::Snapshot;
use crate::traced;

/// `POST /cedar/v1/authorize`.
#[utoipa::path(
    post,
    path = "/cedar/v1/authorize",
    tag = "Cedar",
    summary = "One question in Cedar's words",
    request_body = bodies::cedar::Asked,
    params(bodies::Freshness),
    responses((status = 200, description = "The decision", body = bodies::cedar::Said), bodies::Refusal)
)]
pub(super) async fn authorize(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    let (asker, body) = read(&inner, request)?;
    let snapshot = inner.snapshot.load_full();
    let answer = one(&inner, &snapshot, &body, &asker).await?;
    Ok(Json(answer).into_response())
}

/// `POST /cedar/v1/authorize/batch`: `{"requests": […]}`, where what stands beside `requests` is
/// each one's default.
#[utoipa::path(
    post,
    path = "/cedar/v1/authorize/batch",
    tag = "Cedar",
    summary = "Many questions in Cedar's words",
    request_body = bodies::cedar::AskedBatch,
    params(bodies::Freshness),
    responses((status = 200, description = "The decisions, in order", body = bodies::cedar::SaidBatch), bodies::Refusal)
)]
pub(super) async fn batch(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    let (asker, mut defaults) = read(&inner, request)?;
    let Some(Value::Array(requests)) = defaults.remove("requests") else {
        return Err(unusable("`requests` must be an array"));
    };
    let limit = inner.limits.evaluations;
    if requests.len() > limit {
        return Err(unusable(&format!(
            "`requests` must not have more than {limit} entries"
        )));
    }
    // One snapshot for all of them.
    let snapshot = inner.snapshot.load_full();
    let (span, asker) = traced::batch(&asker, requests.len());
    let (inner, defaults, asker) = (&*inner, &defaults, &*asker);
    let snapshot = &snapshot;
    let requests = requests.into_iter().enumerate();
    let answers: Vec<_> = requests
        .map(|request| entry(inner, snapshot, defaults, request, asker))
        .collect();
    let many = stream::iter(answers)
        .buffered(inner.at_once())
        .try_collect();
    let answers: Result<Result<Vec<Value>, Problem>, _> = Inner::in_time(many).await;
    traced::finish(span, answers.as_ref().err());
    let answers = answers.unwrap_or_else(|error| Err(no_answer(&error)))?;
    Ok(Json(json!({ "responses": answers })).into_response())
}

/// One of a batch. What it cannot use is no error of the others.
async fn entry(
    inner: &Inner,
    snapshot: &Arc<Snapshot>,
    defaults: &Properties,
    (at, request): (usize, Value),
    asker: &Asker,
) -> Result<Value, Problem> {
    let refused = |status: u16, message: &str| {
        let refused = Refused {
            entry: at,
            asked: None,
            status,
            message,
        };
        let mut lines = inner.lines(asker);
        let id = inner.refused(snapshot, &refused, &mut lines);
        Ok(failed(message, &id))
    };
    let Value::Object(own) = request else {
        return refused(400, "an entry of `requests` must be an object");
    };
    // Reading one may take long, and nothing else here lets others have their turn.
    tokio::task::yield_now().await;
    let mut body = defaults.clone();
    body.extend(own);
    match one(inner, snapshot, &body, asker).await {
        Err(problem) if problem.status < 500 => {
            refused(problem.status, &problem.detail.unwrap_or_default())
        }
        answer => answer,
    }
}

pub(super) fn read(inner: &Inner, request: Request) -> Result<(Asker, Properties), Problem> {
    let right = right_of(inner, request.extensions().get());
    let received = receive(inner, request)?;
    let body = received.object(&Arena::new())?.to_properties();
    let asker = Asker {
        may_read: right >= EntityRight::Read,
        ..received.asker
    };
    Ok((asker, body))
}

pub(super) fn ground<'a>(inner: &Inner, snapshot: &'a Snapshot, asker: &Asker) -> Ground<'a> {
    Ground {
        schema: &snapshot.loaded.schema,
        vocabulary: &snapshot.loaded.vocabulary,
        now: inner.clock.now(),
        store: &snapshot.store,
        inline: inner.inline_entities,
        may_read: asker.may_read,
    }
}

async fn one(
    inner: &Inner,
    snapshot: &Arc<Snapshot>,
    body: &Properties,
    asker: &Asker,
) -> Result<Value, Problem> {
    let whole =
        Whole::read(body, ground(inner, snapshot, asker)).map_err(|error| refused(&error))?;
    let (evaluation, failures) = inner
        .authorize(snapshot, whole, asker)
        .await
        .map_err(|error: DecisionError| no_answer(&error))?;
    let context = evaluation.context;
    let determining: Vec<_> = context
        .reasons
        .iter()
        .map(|reason| &reason.policy)
        .collect();
    let errors: Vec<_> = failures
        .iter()
        .map(|failure| json!({ "policy": failure.policy, "message": failure.message }))
        .collect();
    let mut answer = json!({
        "decision": if evaluation.decision.is_permit() { "Allow" } else { "Deny" },
        "determining": determining,
        "errors": errors,
        "obligations": context.obligations,
        "advice": context.advice,
        "id": context.id,
        "snapshot": context.snapshot,
        "cache": context.cache,
    });
    if let (Some(error), Some(members)) = (context.error, answer.as_object_mut()) {
        members.insert("error".into(), error);
    }
    Ok(answer)
}

/// A request of a batch that could not be decided.
fn failed(message: &str, id: &str) -> Value {
    json!({ "decision": "Deny", "determining": [], "errors": [{ "message": message }], "id": id })
}

pub(super) fn refused(error: &NativeError) -> Problem {
    match error {
        NativeError::Unusable { .. } => unusable(&error.to_string()),
        NativeError::InlineDenied => {
            Problem::new(StatusCode::FORBIDDEN, "forbidden").detail(error.to_string())
        }
    }
}

pub(super) fn unusable(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(message)
}
