//! `/cedar/v1/entities`: what the store holds, and changes of it.

use std::sync::Arc;

use ::http::StatusCode;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Json, Response};
use cedar_policy_core::ast::{Eid, EntityType, EntityUID};
use cedar_policy_core::entities::EntityJson;
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::Problem;
use strict_json::Arena;

use super::bodies;
use super::receive::{no_right, receive};
use crate::callers::Caller;
use crate::config::EntityRight;
use crate::entities::id;
use crate::pdp::Inner;
use crate::snapshot::Snapshot;
use crate::written::{ChangeError, WriteError, Written};

/// Which entities to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    #[serde(rename = "type")]
    kind: String,
    /// The last id of the page before.
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

/// `POST`: makes a change, and answers its revision.
#[utoipa::path(
    post,
    path = "/cedar/v1/entities",
    tag = "Entities",
    summary = "Change entities, all or nothing",
    request_body = bodies::cedar::Change,
    params(bodies::Freshness),
    responses((status = 200, description = "The change has been made", body = bodies::cedar::Changed), (status = 409, description = "The folder states one of them, or one would be in itself", body = bodies::ProblemDocument, content_type = "application/problem+json"), bodies::Refusal)
)]
pub(super) async fn change(
    State(inner): State<Arc<Inner>>,
    request: Request,
) -> Result<Response, Problem> {
    allowed(&inner, request.extensions().get(), EntityRight::Write)?;
    let received = receive(&inner, request)?;
    let body = received.object(&Arena::new())?.to_properties();
    let asker = received.asker;
    let Written {
        revision,
        upserted,
        deleted,
        entities,
        bytes,
    } = inner.write(&body).await.map_err(|error| refused(&error))?;
    tracing::info!(
        caller = &*asker.caller,
        revision,
        upserted,
        deleted,
        "entities changed"
    );
    let stored = json!({ "entities": entities, "bytes": bytes });
    Ok(Json(json!({
        "revision": revision,
        "upserted": upserted,
        "deleted": deleted,
        "stored": stored,
    }))
    .into_response())
}

/// `GET` one.
#[utoipa::path(
    get,
    path = "/cedar/v1/entities/{type}/{id}",
    tag = "Entities",
    summary = "One entity",
    params(
        bodies::Freshness,
        ("type" = String, Path, description = "The entity type"),
        ("id" = String, Path, description = "Its id"),
    ),
    responses((status = 200, description = "The entity in Cedar's JSON format", body = bodies::cedar::Entity), (status = 404, description = "There is none", body = bodies::ProblemDocument, content_type = "application/problem+json"), bodies::Refusal)
)]
pub(super) async fn one(
    State(inner): State<Arc<Inner>>,
    Path((kind, id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    allowed(&inner, request.extensions().get(), EntityRight::Read)?;
    let snapshot = inner.snapshot.load_full();
    let uid = EntityUID::from_components(entity_type(&kind)?, Eid::new(id), None);
    match shown(&snapshot, &uid) {
        Some(entity) => Ok(Json(entity).into_response()),
        None => {
            Err(Problem::new(StatusCode::NOT_FOUND, "not-found")
                .detail(format!("there is no `{uid}`")))
        }
    }
}

/// `GET` those of a type, in the order of their ids.
#[utoipa::path(
    get,
    path = "/cedar/v1/entities",
    tag = "Entities",
    summary = "Entities of a type, by id",
    params(
        bodies::Freshness,
        ("type" = String, Query, description = "The entity type"),
        ("after" = Option<String>, Query, description = "The last id of the page before"),
        ("limit" = Option<usize>, Query, description = "The most on the page"),
    ),
    responses((status = 200, description = "A page of them", body = bodies::cedar::Entities), bodies::Refusal)
)]
pub(super) async fn list(
    State(inner): State<Arc<Inner>>,
    listed: Result<Query<Listed>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    allowed(&inner, request.extensions().get(), EntityRight::Read)?;
    let Query(listed) = listed.map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(error.body_text())
    })?;
    let snapshot = inner.snapshot.load_full();
    let limit = listed
        .limit
        .unwrap_or(inner.limits.page)
        .clamp(1, inner.limits.page);
    let mut uids = snapshot
        .store
        .of_type(&entity_type(&listed.kind)?, listed.after.as_deref());
    let page: Vec<&EntityUID> = uids.by_ref().take(limit).collect();
    let after = uids.next().and(page.last()).map(|uid| id(uid));
    Ok(Json(json!({
        "after": after,
        "revision": snapshot.version.revision,
        "entities": page.iter().filter_map(|uid| shown(&snapshot, uid)).collect::<Vec<_>>(),
    }))
    .into_response())
}

/// What a caller may do with entities.
pub(super) fn right_of(inner: &Inner, caller: Option<&Caller>) -> EntityRight {
    caller.map_or(inner.entities_without_callers, |caller| caller.entities)
}

fn allowed(inner: &Inner, caller: Option<&Caller>, wanted: EntityRight) -> Result<(), Problem> {
    if right_of(inner, caller) >= wanted {
        return Ok(());
    }
    Err(no_right("`entities: read` or `write`", "entities"))
}

fn entity_type(name: &str) -> Result<EntityType, Problem> {
    name.parse().map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request")
            .detail(format!("`{name}` is not the name of an entity type"))
    })
}

/// An entity in Cedar's JSON format.
fn shown(snapshot: &Snapshot, uid: &EntityUID) -> Option<Value> {
    // Ancestors are not shown: the format has parents.
    let entity = snapshot.store.row(uid)?.to_entity([]);
    serde_json::to_value(EntityJson::from_entity(&entity).ok()?).ok()
}

fn refused(error: &WriteError) -> Problem {
    let (status, kind) = match error {
        WriteError::Change(ChangeError::Unusable { .. }) => {
            (StatusCode::BAD_REQUEST, "bad-request")
        }
        WriteError::Change(ChangeError::Stated(_) | ChangeError::Circle(_)) => {
            (StatusCode::CONFLICT, "conflict")
        }
        WriteError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
        WriteError::Busy | WriteError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        WriteError::Internal(message) => {
            tracing::error!(message, "a change of entities could not be made");
            return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal");
        }
    };
    Problem::new(status, kind).detail(error.to_string())
}
