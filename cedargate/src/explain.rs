//! `cedargate explain`, and `POST /explain` of the admin listener, which answers it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use gateway_pep::{ExplainRequest, Explainer};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use service_kit::{Problem, outbound};
use url::Url;

use crate::print;

/// A request that nobody has sent, as it is typed.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainCommand {
    /// `GET`, `POST` …
    method: String,
    /// `https://host/path?query`, as a client would send it
    url: String,
    /// The caller's token; `-` reads it from standard input, out of sight of other users
    #[arg(long = "as", value_name = "TOKEN")]
    token: Option<String>,
    /// Another header
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Where the client would be
    #[arg(long, default_value = "127.0.0.1")]
    client_ip: IpAddr,
    /// The admin listener of the gateway
    #[arg(long, default_value = "http://127.0.0.1:9901")]
    admin: Url,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Bytes: a request head, and what JSON makes of it.
const LONGEST: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// What may come back.
const LONGEST_ANSWER: usize = 4 << 20;

/// Explains requests to a gateway of this process.
pub(crate) fn router(explainer: Explainer) -> Router {
    Router::new()
        .route("/explain", post(answer))
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(explainer)
}

async fn answer(State(explainer): State<Explainer>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(problem) = from_a_program(&headers) {
        return problem.into_response();
    }
    let asked: ExplainRequest = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        // SECURITY: the error's own words could repeat a token.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let detail = format!(
                "the body is not as it must be at line {line}, column {column}; it has `method` and `url`, and \
                 may have `token`, `headers` and `client_ip`"
            );
            return Problem::new(StatusCode::BAD_REQUEST, "not-a-request")
                .detail(detail)
                .into_response();
        }
    };
    match explainer.explain(asked).await {
        Ok(explanation) if wants_text(&headers) => explanation.to_string().into_response(),
        Ok(explanation) => Json(explanation).into_response(),
        Err(stopping) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping")
            .detail(stopping.to_string())
            .into_response(),
    }
}

/// SECURITY: no page of the web may ask, whatever name it has for this address: browsers say where they come
/// from, and send this type to nobody who has not said that he wants it.
pub(crate) fn from_a_program(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-for-browsers")
            .detail("this is asked by programs, not by pages"));
    }
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"application/json"));
    if is_json {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json")
            .detail("the body must be application/json"))
    }
}

fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).map(http::HeaderValue::as_bytes);
    accept == Some(b"text/plain")
}

/// Asks a gateway that runs.
pub(crate) async fn run(command: ExplainCommand) -> anyhow::Result<()> {
    let url = command.admin.join("/explain")?;
    let accept = if command.json {
        "application/json"
    } else {
        "text/plain"
    };
    let body = serde_json::to_vec(&json!({
        "method": command.method,
        "url": command.url,
        "token": token(command.token)?,
        "headers": headers(&command.headers)?,
        "client_ip": command.client_ip,
    }))?;
    let request = outbound::client(PATIENCE)
        .build()?
        .post(url.clone())
        .header(header::ACCEPT, accept)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    let mut response = request.send().await.with_context(|| {
        format!("no gateway's admin listener answers at `{url}`; see `--admin`")
    })?;
    let status = response.status();
    let body = outbound::body(&mut response, LONGEST_ANSWER).await?;
    let text = String::from_utf8_lossy(&body);
    if status == StatusCode::NOT_FOUND {
        bail!("the process at `{url}` runs no gateway; see `--admin`");
    }
    if !status.is_success() {
        bail!("`{url}` answers {status}: {text}");
    }
    if command.json {
        let value: serde_json::Value = serde_json::from_slice(&body)?;
        print::out(&serde_json::to_string_pretty(&value)?);
    } else {
        print::out(text.trim_end());
    }
    Ok(())
}

fn token(given: Option<String>) -> anyhow::Result<Option<String>> {
    if given.as_deref() != Some("-") {
        return Ok(given);
    }
    let mut token = String::new();
    std::io::stdin()
        .read_line(&mut token)
        .context("cannot read the token")?;
    Ok(Some(token.trim().to_owned()))
}

fn headers(given: &[String]) -> anyhow::Result<BTreeMap<&str, &str>> {
    let mut headers = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once(':') else {
            bail!("`{text}` is no header; write `Name: value`");
        };
        headers.insert(name.trim(), value.trim());
    }
    Ok(headers)
}
