//! `/cache` of the admin listener: what a gateway remembers, and `POST /cache/purge`, which makes every gateway forget.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use gateway_pep::{Caches, PurgeError, PurgeRequest};
use http::{HeaderMap, StatusCode};
use service_kit::Problem;

use crate::explain::from_a_program;

/// Bytes: a token, or a name.
const LONGEST: usize = 64 << 10;

/// For a gateway of this process.
pub(crate) fn router(caches: Caches) -> Router {
    Router::new()
        .route("/cache", get(state))
        .route("/cache/purge", post(purge))
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(caches)
}

async fn state(State(caches): State<Caches>) -> Response {
    Json(caches.state()).into_response()
}

async fn purge(State(caches): State<Caches>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(problem) = from_a_program(&headers) {
        return problem.into_response();
    }
    // SECURITY: the error's own words could repeat a token.
    let Ok(request) = serde_json::from_slice::<PurgeRequest>(&body) else {
        return Problem::new(StatusCode::BAD_REQUEST, "not-a-purge")
            .detail("the body has one of `subject`, `client`, `token`, `route` and `everything`")
            .into_response();
    };
    match caches.purge(request).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error @ (PurgeError::NoRoute(_) | PurgeError::NotEverything)) => {
            Problem::new(StatusCode::BAD_REQUEST, "not-a-purge")
                .detail(error.to_string())
                .into_response()
        }
        Err(PurgeError::Store(error)) => {
            tracing::warn!(%error, "a purge cannot be announced");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-purged")
                .detail("the purge cannot be announced; try again")
                .into_response()
        }
    }
}
