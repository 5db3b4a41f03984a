//! `GET /cedar/v1/snapshot`: what decides, signed, for those who decide where they are.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use service_kit::Problem;

use super::bodies;
use super::receive::no_right;
use crate::callers::Caller;
use crate::decision_log::Asker;
use crate::handout::STATEMENT_HEADER;
use crate::pdp::Inner;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Repeated in the statement.
    nonce: String,
    /// The digest of the document that is there already.
    #[serde(default)]
    have: Option<String>,
    /// For how long there need not be an answer where nothing is new.
    #[serde(default)]
    wait_ms: u64,
}

/// The document, or 204 where it is there already; with a statement about it either way.
#[utoipa::path(
    get,
    path = "/cedar/v1/snapshot",
    tag = "Cedar",
    summary = "Everything that decides, signed",
    params(
        bodies::Freshness,
        ("nonce" = String, Query, description = "Repeated in the statement: 16 to 64 characters of base64url"),
        ("have" = Option<String>, Query, description = "The digest of the document that is there already"),
        ("wait_ms" = Option<u64>, Query, description = "How long to wait for another one; at most 30000"),
    ),
    responses(
        (status = 200, description = "The document. `Cedargate-Snapshot-Statement` has the statement about it, a JWS", body = bodies::cedar::Document),
        (status = 204, description = "The document is the one that is there already; with a statement"),
        bodies::Refusal
    )
)]
pub(super) async fn show(
    State(inner): State<Arc<Inner>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    // SECURITY: it holds all policies and all entities.
    let caller: Option<&Caller> = request.extensions().get();
    if !caller.map_or(inner.snapshots_without_callers, |caller| caller.snapshots) {
        return Err(no_right("`snapshots: true`", "snapshots"));
    }
    let Query(wanted) = wanted.map_err(|error| bad_request(error.body_text()))?;
    let is_fitting = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !(16..=64).contains(&wanted.nonce.len()) || !wanted.nonce.bytes().all(is_fitting) {
        return Err(bad_request(
            "`nonce` must be 16 to 64 characters of base64url",
        ));
    }
    let Some(handout) = &inner.handout else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found")
            .detail("snapshots are not handed out (`pdp.snapshots`)"));
    };
    let wait = Duration::from_millis(wanted.wait_ms).min(LONGEST_WAIT);
    let draining = inner.tasks.draining();
    let have = wanted.have.as_deref();
    let current = tokio::select! {
        current = handout.after(have, wait) => current,
        () = draining.cancelled() => handout.after(have, Duration::ZERO).await,
    };
    let current = current.ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable").detail(
            "there is no snapshot to hand out, or it is too large (`pdp.snapshots.max_bytes`)",
        )
    })?;
    let statement = handout.state(&current, &wanted.nonce);
    let statement = statement.and_then(|text| HeaderValue::try_from(text).ok());
    let statement =
        statement.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal"))?;
    let mut response = if have == Some(&*current.digest) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let asker: Option<&Asker> = request.extensions().get();
        tracing::info!(
            caller = asker.map(|asker| &*asker.caller),
            revision = current.snapshot.revision,
            epoch = current.snapshot.epoch,
            "a snapshot is handed out"
        );
        let json = [(header::CONTENT_TYPE, "application/json")];
        (json, current.bytes.clone()).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(STATEMENT_HEADER), statement);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request").detail(detail.into())
}

const LONGEST_WAIT: Duration = Duration::from_secs(30);
