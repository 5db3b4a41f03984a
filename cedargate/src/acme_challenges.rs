//! Where an authority looks whether a name is ours (RFC 8555 section 8.3): plain HTTP, and nothing else is there.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use gateway_pep::Acme;
use http::{StatusCode, header};

/// Answers what an authority was asked to look at. SECURITY: anything else is not found, whoever asks, and none of it
/// comes near routes, tokens or upstreams.
pub(crate) fn router(acme: Acme) -> Router {
    Router::new()
        .route("/.well-known/acme-challenge/{token}", get(challenge))
        .with_state(acme)
}

async fn challenge(State(acme): State<Acme>, Path(token): Path<String>) -> Response {
    match acme.http_answer(&token).await {
        Some(shown) => {
            ([(header::CONTENT_TYPE, "application/octet-stream")], shown).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
