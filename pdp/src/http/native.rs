//! `/cedar/v1/…`: questions in Cedar's own words, residual policies, and data filters.

use std::sync::Arc;

use ::http::StatusCode;
use authzen::{DecisionError, Properties};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use cedar_policy_core::ast::{Annotations, Effect, PolicyID};
use cedar_policy_core::tpe::residual::Residual;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use service_kit::Problem;

use super::bodies;
use super::entities::right_of;
use super::receive::{no_answer, no_right, receive};
use crate::callers::Caller;
use crate::config::EntityRight;
use crate::decision_log::{Asker, Refused};
use crate::depth::with_stack;
use crate::engine::Rule;
use crate::filter::{Dialect, Filter, Sought, Untranslatable};
use crate::native::{Ground, NativeError, Partly, Whole, brought};
use crate::pdp::Inner;
use crate::residual::{Known, Open, ReadElsewhere, Side, residuals};
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
    let (asker, body) = read(&inner, request).await?;
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
    let (asker, mut defaults) = read(&inner, request).await?;
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
        let mut lines = inner.lines();
        let id = inner.refused(snapshot, &refused, asker, &mut lines);
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

/// `POST /cedar/v1/partial`.
#[utoipa::path(
    post,
    path = "/cedar/v1/partial",
    tag = "Cedar",
    summary = "What policies say where one side is open",
    request_body = bodies::cedar::Asked,
    params(bodies::Freshness),
    responses((status = 200, description = "Residual policies", body = bodies::cedar::LeftOpen), bodies::Refusal)
)]
pub(super) async fn partial(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    may_see_residuals(&inner, &request)?;
    let (asker, body) = read(&inner, request).await?;
    let snapshot = inner.snapshot.load_full();
    let mut partly = partly(&inner, &snapshot, &body, &asker)?;
    inner.log_left_open("partial", &partly, brought(&body), &snapshot, &asker);
    let known = known(&inner, &snapshot, &mut partly, &asker).await?;
    let answer = tokio::task::spawn_blocking(move || {
        let _place = asker.place;
        with_stack(|| left_open(&snapshot, &partly, &known))
    });
    let answer: Result<Value, ReadElsewhere> = answer
        .await
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"))?;
    let answer = answer.map_err(|error| unusable(&error.to_string()))?;
    Ok(Json(answer).into_response())
}

/// `POST /cedar/v1/filter`.
#[utoipa::path(
    post,
    path = "/cedar/v1/filter",
    tag = "Cedar",
    summary = "Which rows of a database are permitted",
    request_body = bodies::cedar::AskedFilter,
    params(bodies::Freshness),
    responses((status = 200, description = "A condition with parameters", body = bodies::cedar::Rows), (status = 404, description = "No `pdp.filters` is configured", body = bodies::ProblemDocument, content_type = "application/problem+json"), (status = 422, description = "A policy cannot be put into SQL exactly; it is named", body = bodies::ProblemDocument, content_type = "application/problem+json"), bodies::Refusal)
)]
pub(super) async fn filter(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    may_see_residuals(&inner, &request)?;
    let (asker, body) = read(&inner, request).await?;
    if inner.tables.is_none() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found")
            .detail("this decision point has no mapping of entities to tables (`pdp.filters`)"));
    }
    let dialect: Dialect = serde_json::from_value(body.get("dialect").cloned().unwrap_or_default())
        .map_err(|_| unusable("`dialect` must be `postgresql` or `sqlite`"))?;
    let snapshot = inner.snapshot.load_full();
    let mut partly = partly(&inner, &snapshot, &body, &asker)?;
    if !partly.context_is_known {
        return Err(unusable("`context` is missing; `{}` says that it is empty"));
    }
    let alias = match body.get("alias") {
        None | Some(Value::Null) => "t".to_owned(),
        Some(Value::String(alias)) if !alias.is_empty() && !alias.contains(['"', '\0']) => {
            alias.clone()
        }
        Some(_) => {
            return Err(unusable(
                "`alias` must be the name of the table in your query",
            ));
        }
    };
    inner.log_left_open("filter", &partly, brought(&body), &snapshot, &asker);
    let known = known(&inner, &snapshot, &mut partly, &asker).await?;
    let answer = tokio::task::spawn_blocking(move || {
        let _place = asker.place;
        let sought = Sought {
            question: &partly.question,
            part: partly.part,
            kind: &partly.kind,
            known: &known,
        };
        let internal = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal");
        let tables = inner.tables.as_ref().ok_or_else(internal)?;
        let (loaded, store) = (&snapshot.loaded, &snapshot.store);
        let filter = Filter::of(loaded, store, sought, tables, dialect, &alias);
        let filter = filter.map_err(|error| match error {
            Untranslatable::Elsewhere(error) => unusable(&error.to_string()),
            error => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "untranslatable")
                .detail(error.to_string()),
        })?;
        Ok(said(&filter, &snapshot))
    });
    let answer: Result<Value, Problem> = answer
        .await
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"))?;
    Ok(Json(answer?).into_response())
}

/// SECURITY: what is left of a policy says what it is, and holds what the store knows.
fn may_see_residuals(inner: &Inner, request: &Request) -> Result<(), Problem> {
    let caller: Option<&Caller> = request.extensions().get();
    if caller.map_or(inner.residuals_without_callers, |caller| caller.residuals) {
        return Ok(());
    }
    Err(no_right("`residuals: true`", "residuals"))
}

/// Reads a question one side of which is open.
fn partly(
    inner: &Inner,
    snapshot: &Snapshot,
    body: &Properties,
    asker: &Asker,
) -> Result<Partly, Problem> {
    Partly::read(body, ground(inner, snapshot, asker)).map_err(|error| refused(&error))
}

/// Adds to such a question what providers have of its other parts.
async fn known(
    inner: &Inner,
    snapshot: &Snapshot,
    partly: &mut Partly,
    asker: &Asker,
) -> Result<Known, Problem> {
    let asking = inner.providers.asking(asker.trace.as_ref());
    let side = Side {
        kind: &partly.kind,
        sought: partly.part,
        context_is_known: partly.context_is_known,
    };
    let known = asking.complete_known(snapshot, &mut partly.question, side);
    known.await.map_err(|error| no_answer(&error.into()))
}

async fn read(inner: &Inner, request: Request) -> Result<(Asker, Properties), Problem> {
    let right = right_of(inner, request.extensions().get());
    let received = receive(inner, request).await?;
    let body = received.object()?.into_properties();
    let asker = Asker {
        may_read: right >= EntityRight::Read,
        ..received.asker
    };
    Ok((asker, body))
}

fn ground<'a>(inner: &Inner, snapshot: &'a Snapshot, asker: &Asker) -> Ground<'a> {
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

/// What policies say where one side is open.
fn left_open(snapshot: &Snapshot, partly: &Partly, known: &Known) -> Result<Value, ReadElsewhere> {
    let rules = &snapshot.loaded.rules;
    let open = Open {
        kind: &partly.kind,
        sought: partly.part,
        view: snapshot.store.view(&partly.question.overlays),
        context_is_known: partly.context_is_known,
        known,
    };
    let candidates =
        rules.candidates_for_any(&partly.question, &snapshot.store, &partly.kind, partly.part);
    let schema = (*snapshot.loaded.schema).as_ref();
    let residuals = residuals(rules, schema, &partly.question, &open, &candidates);
    known.refuse_left(rules, &candidates, &residuals)?;
    let (mut permitted, mut certain, mut forbidden) = (false, true, false);
    let mut left = Vec::new();
    for (at, rule) in candidates
        .iter()
        .filter_map(|at| Some((at, rules.get(*at)?)))
    {
        let residual = residuals.get(at);
        let is_forbid = rule.is_forbid();
        match residual {
            Some(residual) if residual.is_false() => continue,
            Some(residual) if residual.is_error() && !is_forbid => continue,
            // A forbid that fails denies.
            Some(residual) if is_forbid && (residual.is_true() || residual.is_error()) => {
                forbidden = true;
            }
            Some(residual) if residual.is_true() => permitted = true,
            // An open permit changes nothing where another one holds.
            Some(_) => certain = certain && !is_forbid,
            None => certain = false,
        }
        left.push(left_of(rule, residual.map(AsRef::as_ref)));
    }
    let decision = if forbidden || left.is_empty() {
        Some("Deny")
    } else {
        (permitted && certain).then_some("Allow")
    };
    Ok(json!({ "decision": decision, "residuals": left, "snapshot": snapshot.version }))
}

/// What is left of one policy; all of it, where it cannot be evaluated partially.
fn left_of(rule: &Rule, residual: Option<&Residual>) -> Value {
    let (effect, word) = if rule.is_forbid() {
        (Effect::Forbid, "forbid")
    } else {
        (Effect::Permit, "permit")
    };
    let id = || PolicyID::from_string(&rule.reason.policy);
    let policy = residual
        .map(|residual| {
            residual
                .clone()
                .to_policy(id(), effect, Annotations::default())
        })
        .map_or_else(|| rule.text(), |policy| policy.to_string());
    let parsed = cedar_policy::Policy::parse(None, &policy).ok();
    json!({
        "policy": rule.reason.policy,
        "effect": word,
        "residual": policy,
        "json": parsed.and_then(|policy| policy.to_json().ok()),
    })
}

fn said(filter: &Filter, snapshot: &Snapshot) -> Value {
    let (decision, condition, binds) = match filter {
        Filter::All => ("allow", "1 = 1", json!([])),
        Filter::None => ("deny", "1 = 0", json!([])),
        Filter::Rows { condition, binds } => ("conditional", condition.as_str(), json!(binds)),
    };
    json!({
        "decision": decision,
        "where": condition,
        "binds": binds,
        "snapshot": snapshot.version,
    })
}

fn refused(error: &NativeError) -> Problem {
    match error {
        NativeError::Unusable { .. } => unusable(&error.to_string()),
        NativeError::InlineDenied => {
            Problem::new(StatusCode::FORBIDDEN, "forbidden").detail(error.to_string())
        }
    }
}

fn unusable(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(message)
}
