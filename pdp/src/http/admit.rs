//! Whether a request is taken on now: within its caller's rate, and where there is room for it.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, StatusCode, header};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service_kit::Problem;
use tokio::time::Instant;

use super::receive::gather;
use crate::callers::Caller;
use crate::pdp::Inner;

/// Middleware, behind authentication.
pub(super) async fn admit(
    State(inner): State<Arc<Inner>>,
    request: Request,
    next: Next,
) -> Response {
    let rate = request
        .extensions()
        .get::<Caller>()
        .and_then(|caller| caller.rate.as_ref());
    if let Some(Err(wait)) = rate.map(|rate| rate.take(Instant::now())) {
        inner.meters.turned_away("rate");
        return later(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "the caller asks more often than it may (`rate_per_second`)",
            wait,
        );
    }
    let request = match gather(&inner, request).await {
        Ok(request) => request,
        Err(problem) => return problem.into_response(),
    };
    let path = request.uri().path();
    let is_search = [
        "/search/",
        "/cedar/v1/partial",
        "/cedar/v1/filter",
        "/cedar/v1/explain",
    ]
    .into_iter()
    .any(|part| path.contains(part));
    let kind = if is_search { "searches" } else { "requests" };
    // Held until the answer is there.
    let place = inner.room.place(is_search).await;
    let Some(_place) = place else {
        inner.meters.turned_away(kind);
        return later(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too many requests are being answered; ask again",
            Duration::from_secs(1),
        );
    };
    next.run(request).await
}

fn later(status: StatusCode, kind: &str, detail: &str, wait: Duration) -> Response {
    let mut response = Problem::new(status, kind).detail(detail).into_response();
    // Whole seconds, and never too few.
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    if let Ok(seconds) = HeaderValue::try_from(seconds.to_string()) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests;
