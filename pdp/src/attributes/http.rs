//! Attributes over HTTP: one `GET` an entity, in the trace of who wants them.

use std::path::Path;

use ::http::{HeaderMap, StatusCode, header};
use authzen::Properties;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use service_kit::TraceContext;
use service_kit::outbound::{self, Unread};
use service_kit::traces::Span;
use url::Url;

use super::bearer::Bearer;
use super::cell::LONGEST;
use crate::config::HttpSource;

/// Where to ask.
#[derive(Debug)]
pub(super) struct Source {
    /// The provider's name, host and port, for spans.
    name: String,
    host: String,
    port: Option<u16>,
    before: String,
    after: String,
    bearer: Option<Bearer>,
    client: reqwest::Client,
}

const PLACE: &str = "{id}";

/// What an id may show of itself in a URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

impl Source {
    pub(super) fn open(name: &str, config: &HttpSource, base: &Path) -> Result<Self, String> {
        let Some((before, after)) = config.url.split_once(PLACE) else {
            return Err(format!("`http.url` must have `{PLACE}` in it"));
        };
        let example = Url::parse(&format!("{before}x{after}"))
            .map_err(|error| format!("`http.url` is not a URL: {error}"))?;
        if !["http", "https"].contains(&example.scheme()) {
            return Err("`http.url` must be http or https".into());
        }
        // An id must not be able to choose who is asked.
        let authority = before.split_once("://").map_or("", |(_, rest)| rest);
        if !authority.contains(['/', '?']) {
            return Err(format!(
                "`{PLACE}` must be in the path or the query of `http.url`"
            ));
        }
        let bearer = config.bearer_file.as_deref();
        let bearer = bearer.map(|file| Bearer::open(file, base)).transpose()?;
        let client = reqwest::Client::builder()
            // Whoever is redirected to was not configured.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| format!("no HTTP client can be made: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            host: example.host_str().unwrap_or_default().to_owned(),
            port: example.port_or_known_default(),
            before: before.to_owned(),
            after: after.to_owned(),
            bearer,
            client,
        })
    }

    /// The attributes of an entity; nothing where there is no such entity.
    pub(super) async fn ask(
        &self,
        id: &str,
        within: Option<&TraceContext>,
    ) -> Result<Option<Properties>, String> {
        let mut span = within.and_then(|within| self.span(within));
        let mut trace = HeaderMap::new();
        if let Some(within) = span.as_ref().map(Span::context).or(within) {
            within.write(&mut trace);
        }
        let said = self.get(id, trace, span.as_mut()).await;
        if let Some(mut span) = span {
            if said.is_err() {
                span.fail("unavailable");
            }
            span.finish();
        }
        said
    }

    /// SECURITY: the URL is not said, since it says whom it is about.
    fn span(&self, within: &TraceContext) -> Option<Span> {
        let mut span = within.call("GET")?;
        span.set("http.request.method", "GET");
        span.set("server.address", self.host.clone());
        if let Some(port) = self.port {
            span.set("server.port", i64::from(port));
        }
        span.set("cedargate.provider", self.name.clone());
        Some(span)
    }

    /// Sends a request; once more, where the token is refused and its file has another one by now.
    async fn send(&self, url: &str, trace: &HeaderMap) -> reqwest::Result<reqwest::Response> {
        let request = || {
            let request = self.client.get(url).headers(trace.clone());
            request.header(header::ACCEPT, "application/json")
        };
        let Some(bearer) = &self.bearer else {
            return request().send().await;
        };
        let token = bearer.token();
        let answer = request().bearer_auth(token.reveal()).send().await?;
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        if !refused.contains(&answer.status()) || !bearer.is_renewed(&token).await {
            return Ok(answer);
        }
        let token = bearer.token();
        request().bearer_auth(token.reveal()).send().await
    }

    async fn get(
        &self,
        id: &str,
        trace: HeaderMap,
        span: Option<&mut Span>,
    ) -> Result<Option<Properties>, String> {
        // `.` and `..` would be taken for steps in the path, however they are encoded.
        if id.is_empty() || id == "." || id == ".." || id.contains(char::is_control) {
            return Err("it cannot be asked about such an id".into());
        }
        let id = utf8_percent_encode(id, PLAIN);
        let url = format!("{}{id}{}", self.before, self.after);
        let cannot = |error: reqwest::Error| {
            let what = if error.is_connect() {
                "it cannot be reached"
            } else {
                "it breaks off"
            };
            tracing::debug!(error = %error.without_url(), "an attribute provider fails");
            what.to_owned()
        };
        let sent = self.send(&url, &trace).await;
        let mut answer = sent.map_err(cannot)?;
        let status = answer.status();
        if let Some(span) = span {
            span.set("http.response.status_code", i64::from(status.as_u16()));
        }
        let is_json = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .and_then(|kind| kind.split(';').next())
            .is_some_and(|kind| {
                kind.trim() == "application/json" || kind.trim().ends_with("+json")
            });
        match status {
            StatusCode::OK if is_json => {}
            // Any server says 404 of a path that it does not have: only JSON is taken for an answer.
            StatusCode::NOT_FOUND if is_json => return Ok(None),
            StatusCode::OK | StatusCode::NOT_FOUND => {
                return Err(format!(
                    "it answers {} with what is not JSON",
                    status.as_u16()
                ));
            }
            _ => return Err(format!("it answers {}", status.as_u16())),
        }
        let body = outbound::body(&mut answer, LONGEST).await;
        let body = body.map_err(|unread| match unread {
            Unread::TooLong => format!("it answers with more than {LONGEST} bytes"),
            Unread::Broken(error) => cannot(error),
        })?;
        let read = strict_json::parse_object(&body);
        read.map(Some)
            .map_err(|_| "it answers with no JSON object".to_owned())
    }
}
