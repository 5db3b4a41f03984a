//! What is served: every route, and before them the short way of the two that are asked most.
//!
//! A router looks a path up, and each of its layers keeps a request's future in a box of its own:
//! that costs more than a decision does. The short way passes the same gates in the same order.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{HeaderMap, Method, Request};
#[cfg(test)]
use axum::body::Body;
use axum::body::HttpBody;
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use bytes::Bytes;
use service_kit::serve::{self, Client, Incoming, RequestId};
use service_kit::{Problem, traces};
use tower_service::Service;

use super::evaluation;
use super::gate::{self, Admitted, Arrived, Cost};
use super::receive::Received;
use crate::pdp::Inner;

/// The AuthZEN and the Cedar HTTP API. Clones share everything.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
    /// All routes, those of the short way among them.
    router: Router,
}

/// What is asked in the short way.
#[derive(Debug, Clone, Copy)]
enum Short {
    One,
    Many,
}

/// An answer on its way.
pub struct Answering(Boxed);

type Boxed = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Api").finish_non_exhaustive()
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Answering")
    }
}

impl Api {
    pub(super) fn new(inner: Arc<Inner>, router: Router) -> Self {
        Self { inner, router }
    }

    /// Answers a request of any kind of body, as those are answered that come by a connection.
    pub fn ask<B>(&self, mut request: Request<B>, client: &Client) -> Answering
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
    {
        if let Some(short) = self.short(request.method(), request.uri().path()) {
            return Answering(self.answer(short, client.clone(), request));
        }
        request.extensions_mut().insert(client.clone());
        Answering(Box::pin(self.router.clone().call(request)))
    }

    /// What the layers of the router do, from the outermost to the innermost.
    fn answer<B>(&self, short: Short, client: Client, request: Request<B>) -> Boxed
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let (mut parts, body) = request.into_parts();
        // A block: a function would have room for each of these twice, and all of it is moved.
        Box::pin(async move {
            let span = if inner.traces.is_on() {
                let route = parts.uri.path().to_owned();
                inner.traces.enter(&mut parts, &inner.server, Some(&route))
            } else {
                None
            };
            let seldom = gate::Seldom::of(&parts.headers);
            let id = match short {
                // Its decision has a name of its own, which the record has, too.
                Short::One => seldom.request_id(&parts.headers),
                Short::Many => Some(RequestId::of(&parts.headers)),
            };
            let arrived = Arrived {
                client: Some(client),
                request_id: id.clone(),
                cost: Cost::Little,
                seldom,
            };
            let mut response = match gate::enter(&inner, arrived, &parts, body).await {
                Ok(admitted) => match short {
                    Short::One if inner.knows_all() => asked_now(&inner, &parts.headers, admitted),
                    Short::One | Short::Many => {
                        Box::pin(asked(&inner, short, &parts.headers, admitted)).await
                    }
                },
                Err(response) => *response,
            };
            if let Some(id) = id.or_else(|| (!response.status().is_success()).then(RequestId::new))
            {
                id.give(&mut response);
            }
            traces::leave(span, &response);
            Ok(response)
        })
    }

    fn short(&self, method: &Method, path: &str) -> Option<Short> {
        if method != Method::POST {
            return None;
        }
        let own = self.inner.identifier.as_ref();
        let path = own
            .and_then(|own| path.strip_prefix(&own.path))
            .unwrap_or(path);
        match path {
            "/access/v1/evaluation" => Some(Short::One),
            "/access/v1/evaluations" => Some(Short::Many),
            _ => None,
        }
    }
}

impl serve::Api for Api {
    type Answering = Answering;

    fn answer(&self, request: Request<Incoming>, client: &Client) -> Answering {
        self.ask(request, client)
    }
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.as_mut().poll(context)
    }
}

/// One question, where nobody is waited for: all that is answered then is on the stack.
fn asked_now(inner: &Inner, headers: &HeaderMap, mut admitted: Admitted<'_>) -> Response {
    let received = received(inner, headers, &mut admitted);
    let answered = received.and_then(|received| evaluation::answer_one_now(inner, &received));
    answer_to(admitted, answered)
}

async fn asked(
    inner: &Inner,
    short: Short,
    headers: &HeaderMap,
    mut admitted: Admitted<'_>,
) -> Response {
    let answered = match received(inner, headers, &mut admitted) {
        Ok(received) => match short {
            Short::One => evaluation::answer_one(inner, &received).await,
            Short::Many => evaluation::answer_many(inner, &received).await,
        },
        Err(problem) => Err(problem),
    };
    answer_to(admitted, answered)
}

fn received(
    inner: &Inner,
    headers: &HeaderMap,
    admitted: &mut Admitted<'_>,
) -> Result<Received, Problem> {
    let asker = std::mem::take(&mut admitted.asker);
    let body = std::mem::take(&mut admitted.body);
    Received::of(inner, headers, asker, body)
}

fn answer_to(admitted: Admitted<'_>, answered: Result<Response, Problem>) -> Response {
    let mut response = answered.into_response();
    gate::leave(&mut response, admitted.named);
    response
}

#[cfg(test)]
impl Api {
    /// Answers one request of a client that nothing is known of.
    pub(crate) async fn oneshot(self, request: Request<Body>) -> Result<Response, Infallible> {
        let client = Client::of(([127, 0, 0, 1], 1).into());
        self.ask(request, &client).await
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    use super::*;
    use crate::fixture::Fixture;
    use crate::http::gate::tests::caller;

    /// Status, headers and body, without what is another's each time.
    async fn told(response: Response) -> (u16, Vec<(String, String)>, Value) {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        let answers = body["evaluations"].as_array_mut().into_iter().flatten();
        answers.for_each(|answer| answer["context"]["id"] = Value::Null);
        body["context"]["id"] = Value::Null;
        let said = parts.headers.iter();
        let mut said: Vec<_> = said
            .filter(|(name, _)| *name != "content-length")
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        said.sort();
        (parts.status.as_u16(), said, body)
    }

    #[tokio::test]
    async fn the_short_way_answers_as_the_routes_do() {
        let mut fixture = Fixture::new();
        fixture.config.callers = vec![caller("app")];
        fixture.config.max_body_bytes = 2000;
        fixture.config.public_url = Some("https://pdp.example/tenant".into());
        let pdp = fixture.open();
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(2000));
        let question = r#"{"subject":{"type":"user","id":"ben"},
            "action":{"name":"GET /docs/{id}"},"resource":{"type":"urn:x:doc","id":"d1"}}"#;
        let bodies = [
            question.to_owned(),
            format!("{{\"evaluations\":[{question},{question},{{}}]}}"),
            long,
            "{".to_owned(),
            "[]".to_owned(),
            String::new(),
        ];
        let key = "Bearer app-0123456789abcdef";
        let json = "application/json";
        let mut seen = Vec::new();
        for path in ["", "/tenant"].into_iter().flat_map(|own| {
            ["/access/v1/evaluation", "/access/v1/evaluations"].map(|path| format!("{own}{path}"))
        }) {
            for body in &bodies {
                for (key, kind, revision) in [
                    (key, json, None),
                    (key, "application/json; charset=utf-8", Some("0")),
                    (key, "text/plain", None),
                    (key, json, Some("x")),
                    ("Bearer stranger", json, None),
                ] {
                    let request = || {
                        let mut request = Request::post(&path)
                            .header("authorization", key)
                            .header("content-type", kind)
                            .header("x-request-id", "mine");
                        if let Some(revision) = revision {
                            request = request.header("cedargate-at-least-revision", revision);
                        }
                        request.body(Body::from(body.clone())).unwrap()
                    };
                    let api = pdp.api();
                    assert!(api.short(&Method::POST, &path).is_some());
                    let routed = told(api.router.clone().call(request()).await.unwrap()).await;
                    let short = told(api.oneshot(request()).await.unwrap()).await;
                    assert_eq!(short, routed, "{path} {body:.90} {key} {kind} {revision:?}");
                    seen.push(short.0);
                }
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [200, 400, 401, 413]);
    }
}
