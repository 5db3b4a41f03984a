//! The span of a request that an axum router answers.

use std::net::SocketAddr;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::request::Parts;

use super::{Span, Stranger, TraceContext, Traces, within};
use crate::KnownMethod;

/// What answers requests, as its spans say it.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// What callers know it by, from the configuration.
    pub address: String,
    pub port: Option<u16>,
    pub is_https: bool,
}

impl Server {
    /// By its URL, where it has one, or by where it listens.
    pub fn of(url: Option<&str>, listen: SocketAddr, is_https: bool) -> Self {
        let url: Option<http::Uri> = url.and_then(|url| url.parse().ok());
        let Some(url) = url else {
            return Self {
                address: listen.ip().to_string(),
                port: Some(listen.port()),
                is_https,
            };
        };
        let usual = if url.scheme_str() == Some("http") {
            80
        } else {
            443
        };
        Self {
            address: url.host().unwrap_or_default().to_owned(),
            port: Some(url.port_u16().unwrap_or(usual)),
            is_https,
        }
    }
}

/// Who asked, by the name in the configuration. An extension of the response, for its span.
#[derive(Debug, Clone)]
pub struct CallerName(pub String);

#[derive(Debug, Clone)]
struct Recorded {
    traces: Traces,
    server: Server,
}

impl Traces {
    /// Records every request to a router, and hands the [`TraceContext`] on as
    /// an extension. The router itself where nothing is recorded.
    pub fn layer<S>(&self, router: axum::Router<S>, server: Server) -> axum::Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        if !self.is_on() {
            return router;
        }
        let recorded = Recorded {
            traces: self.clone(),
            server,
        };
        router.layer(middleware::from_fn_with_state(recorded, record))
    }
}

async fn record(State(recorded): State<Recorded>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let span = recorded.traces.enter(&mut parts, &recorded.server, route);
    let context = parts.extensions.get::<TraceContext>().cloned();
    let answering = next.run(Request::from_parts(parts, body));
    let response = within(context, answering).await;
    leave(span, &response);
    response
}

impl Traces {
    /// Takes in a request to a route, where there is one, and hands the
    /// [`TraceContext`] on with it. Nothing where nothing is recorded.
    pub fn enter(
        &self,
        parts: &mut Parts,
        server: &Server,
        route: Option<&str>,
    ) -> Option<Entered> {
        if !self.is_on() {
            return None;
        }
        let sent = TraceContext::from_headers(&parts.headers);
        let (context, span) = self.receive(sent, Stranger::Continue);
        if let Some(context) = context {
            parts.extensions.insert(context);
        }
        let mut span = span?;
        describe(&mut span, parts, server, route);
        Some(Entered(span))
    }
}

/// The span of a request that is being answered.
#[derive(Debug)]
pub struct Entered(Span);

/// Says how a request was answered.
pub fn leave(entered: Option<Entered>, response: &Response) {
    if let Some(Entered(mut span)) = entered {
        answered(&mut span, response);
        span.finish();
    }
}

fn describe(span: &mut Span, parts: &Parts, server: &Server, route: Option<&str>) {
    let method = KnownMethod::from(&parts.method);
    span.set("http.request.method", method.as_str());
    let method = method.span_name();
    span.set("url.scheme", if server.is_https { "https" } else { "http" });
    if !server.address.is_empty() {
        span.set("server.address", server.address.clone());
    }
    if let Some(port) = server.port {
        span.set("server.port", i64::from(port));
    }
    let Some(route) = route else {
        // What strangers ask for can be anything, and is not said.
        span.rename(method.to_owned());
        return;
    };
    span.rename(format!("{method} {route}"));
    span.set("http.route", route.to_owned());
    // A path with parameters in it says whom it is about.
    if parts.uri.path() == route {
        span.set("url.path", route.to_owned());
    }
}

fn answered(span: &mut Span, response: &Response) {
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
    if let Some(CallerName(name)) = response.extensions().get() {
        span.set("cedargate.caller", name.clone());
    }
}
