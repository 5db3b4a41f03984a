//! `POST /cedar/v1/explain`: an AuthZEN evaluation, and why it is answered as it is.

use std::sync::Arc;

use ::http::StatusCode;
use authzen::{Asked, DecisionError};
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::json;
use service_kit::Problem;
use strict_json::Arena;

use super::bodies;
use super::receive::{bad_request, no_answer, no_right, receive};
use crate::callers::Caller;
use crate::config::ExplainRight;
use crate::decision_log::Asker;
use crate::engine::Question;
use crate::explain::{ExplainedOutcome, Explanation};
use crate::mapping::Before;
use crate::pdp::Inner;
use crate::snapshot::{Read, Snapshot};

/// `?form=short` or `full`; as much as the caller may be told, where it does not say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    form: Option<ExplainRight>,
}

#[utoipa::path(
    post,
    path = "/cedar/v1/explain",
    tag = "Cedar",
    summary = "Why a question is answered as it is",
    request_body = bodies::access::Question,
    params(bodies::Freshness, ("form" = Option<String>, Query, description = "`short` or `full`")),
    responses((status = 200, description = "The explanation", body = bodies::cedar::Explained), bodies::Refusal)
)]
pub(super) async fn answer(
    State(inner): State<Arc<Inner>>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(Wanted { form }) = wanted.map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(error.body_text())
    })?;
    let right = request
        .extensions()
        .get::<Caller>()
        .map_or(inner.explain_without_callers, |caller| caller.explain);
    let form = form.unwrap_or(right);
    // SECURITY: an explanation says what policies are and what the store knows.
    if form > right || form == ExplainRight::None {
        return Err(no_right("`explain: short` or `full`", "explain"));
    }
    let received = receive(&inner, request)?;
    let arena = Arena::new();
    let (asker, body) = (&received.asker, received.object(&arena)?);
    let asked = Asked::of(&body).map_err(|error| bad_request(&error))?;
    let snapshot = inner.snapshot.load_full();
    tracing::info!(caller = &*asker.caller, ?form, "an answer is explained");
    let version = snapshot.version.clone();
    let read = snapshot
        .read(&asked, inner.clock.now(), &mut Before::default())
        .map_err(|error| no_answer(&error))?;
    let explained = match read {
        Read::Unknown { message, .. } => {
            Explanation::without_policies(ExplainedOutcome::Unknown, message)
        }
        Read::Question(mapped) => {
            let explained = explained(&inner, snapshot, mapped.question, asker).await;
            explained.map_err(|error| no_answer(&error))?
        }
    };
    let answer = match form {
        ExplainRight::Full => json!({ "explanation": explained, "snapshot": version }),
        ExplainRight::Short | ExplainRight::None => json!({
            "explanation": { "outcome": explained.outcome, "summary": explained.summary },
        }),
    };
    Ok(Json(answer).into_response())
}

async fn explained(
    inner: &Inner,
    snapshot: Arc<Snapshot>,
    mut question: Question,
    asker: &Asker,
) -> Result<Explanation, DecisionError> {
    if let Err(unavailable) = inner
        .complete(&snapshot, &mut question, asker.trace.as_ref())
        .await?
    {
        let outcome = ExplainedOutcome::Unavailable;
        return Ok(Explanation::without_policies(
            outcome,
            unavailable.to_string(),
        ));
    }
    let place = asker.place.clone();
    tokio::task::spawn_blocking(move || {
        let _place = place;
        snapshot.explain_question(&question)
    })
    .await
    .map_err(|error| DecisionError::Internal {
        message: error.to_string(),
    })?
}
