//! A server that reads JSON and gives a constant answer: what HTTP and JSON cost before anything
//! is decided.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json};
use axum::routing::post;
use serde::de::IgnoredAny;
use tokio::net::TcpListener;

/// About as long as an answer of the decision point.
const ANSWER: &str = r#"{"decision":true,"context":{"id":"00000000-0000-0000-0000-000000000000","reasons":[{"policy":"document0-owner"}],"snapshot":{"version":"00000000000000000000000000000000","epoch":1,"revision":0},"cache":{"vary":{}}}}"#;
/// Answers in the answer to a batch.
const BATCH: usize = 100;

/// Serves until the process ends.
pub(crate) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let many = format!(r#"{{"evaluations":[{}]}}"#, [ANSWER; BATCH].join(","));
    // It need not be copied, either: nobody frees it.
    let many: &'static str = Box::leak(many.into_boxed_str());
    let router = Router::new()
        .route("/access/v1/evaluation", post(answer).with_state(ANSWER))
        .route("/access/v1/evaluations", post(answer).with_state(many));
    let listener = TcpListener::bind(listen).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// Reads the whole body as JSON and keeps nothing of it.
async fn answer(State(answer): State<&'static str>, _: Json<IgnoredAny>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], answer)
}
