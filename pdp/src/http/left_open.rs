//! `/cedar/v1/partial` and `/cedar/v1/filter`: what policies say where one side of a question is open.

use std::sync::Arc;

use ::http::StatusCode;
use authzen::Properties;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Json, Response};
use cedar_policy_core::ast::{Annotations, Effect, PolicyID};
use cedar_policy_core::tpe::residual::Residual;
use serde_json::{Value, json};
use service_kit::Problem;

use super::bodies;
use super::native::{ground, read, refused, unusable};
use super::receive::{no_answer, no_right};
use crate::answer::Advice;
use crate::attributes::Held;
use crate::callers::Caller;
use crate::decision_log::Asker;
use crate::depth::with_stack;
use crate::engine::Rule;
use crate::filter::{Dialect, Filter, Sought, Untranslatable};
use crate::native::{Partly, brought};
use crate::pdp::Inner;
use crate::residual::{Known, Open, ReadElsewhere, Side, residuals};
use crate::snapshot::Snapshot;

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
    let (asker, body) = read(&inner, request)?;
    let snapshot = inner.snapshot.load_full();
    let mut partly = partly(&inner, &snapshot, &body, &asker)?;
    inner.log_left_open("partial", &partly, brought(&body), &snapshot, &asker);
    let (known, held) = known(&inner, &snapshot, &mut partly, &asker).await?;
    let answer = tokio::task::spawn_blocking(move || {
        let _place = asker.place;
        with_stack(|| left_open(&snapshot, &partly, &known, held))
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
    let (asker, body) = read(&inner, request)?;
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
    let (known, held) = known(&inner, &snapshot, &mut partly, &asker).await?;
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
        let cache = holds(held, &partly, &snapshot);
        Ok(said(&filter, &snapshot, cache.as_ref()))
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
) -> Result<(Known, Held), Problem> {
    let asking = inner.providers.asking(asker.trace.as_ref());
    let side = Side {
        kind: &partly.kind,
        sought: partly.part,
        context_is_known: partly.context_is_known,
    };
    let known = asking.complete_known(snapshot, &mut partly.question, side);
    known.await.map_err(|error| no_answer(&error.into()))
}

/// What policies say where one side is open.
fn left_open(
    snapshot: &Snapshot,
    partly: &Partly,
    known: &Known,
    held: Held,
) -> Result<Value, ReadElsewhere> {
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
    let cache = holds(held, partly, snapshot);
    Ok(json!({
        "decision": decision,
        "residuals": left,
        "snapshot": snapshot.version,
        "cache": cache,
    }))
}

/// For how long what is left holds, where that is not as long as the snapshot decides: by what was
/// fetched, and not at all where a policy may have looked at the clock.
fn holds(held: Held, partly: &Partly, snapshot: &Snapshot) -> Option<Advice> {
    let Partly {
        question,
        part,
        kind,
        ..
    } = partly;
    let rules = &snapshot.loaded.rules;
    let is_timed = question.now.is_some() && {
        let candidates = rules.candidates_for_any(question, &snapshot.store, kind, *part);
        rules.read_clock(&candidates)
    };
    let held = if is_timed { Held::not_at_all() } else { held };
    let mut advice = None;
    held.limit(&mut advice);
    advice
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

fn said(filter: &Filter, snapshot: &Snapshot, cache: Option<&Advice>) -> Value {
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
        "cache": cache,
    })
}
