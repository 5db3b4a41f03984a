//! What the attack corpus watches: an upstream that records and echoes, and a tee in front of
//! the PDP that records each question.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// A request as it reached the upstream.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// None: the body broke off.
    pub body: Option<Vec<u8>>,
}

/// Everything that was seen since the last [`Recorder::clear`].
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    requests: Arc<Mutex<Vec<Seen>>>,
    questions: Arc<Mutex<Vec<Value>>>,
}

impl Recorder {
    pub fn clear(&self) {
        self.requests.lock().expect("lock").clear();
        self.questions.lock().expect("lock").clear();
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.requests.lock().expect("lock").clone()
    }

    /// The AuthZEN questions that the PDP was asked.
    pub fn questions(&self) -> Vec<Value> {
        self.questions.lock().expect("lock").clone()
    }

    /// Starts the upstream; it echoes the target.
    pub async fn start_upstream(&self, address: SocketAddr) {
        let listener = TcpListener::bind(address).await.expect("binds");
        let recorder = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorder = recorder.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| recorder.clone().record(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    }

    /// Starts the tee: every body is kept and passed on to the real PDP.
    pub async fn start_tee(&self, address: SocketAddr, pdp: SocketAddr) {
        let listener = TcpListener::bind(address).await.expect("binds");
        let (recorder, http) = (self.clone(), crate::http::client());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (recorder, http) = (recorder.clone(), http.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        recorder.clone().pass_on(request, http.clone(), pdp)
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    }

    async fn record(
        self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let target = head.uri.to_string();
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let body = body
            .collect()
            .await
            .ok()
            .map(|body| body.to_bytes().to_vec());
        self.requests.lock().expect("lock").push(Seen {
            method: head.method.to_string(),
            target: target.clone(),
            headers,
            body,
        });
        Ok(http::Response::new(Full::new(Bytes::from(target))))
    }

    async fn pass_on(
        self,
        request: http::Request<Incoming>,
        http: reqwest::Client,
        pdp: SocketAddr,
    ) -> Result<http::Response<Full<Bytes>>, hyper::Error> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        if let Ok(question) = serde_json::from_slice(&body) {
            self.questions.lock().expect("lock").push(question);
        }
        let answer = crate::http::send(
            http.post(format!("http://{pdp}{path}"))
                .header("content-type", "application/json")
                .body(body),
        )
        .await;
        let mut response = http::Response::new(Full::new(Bytes::from(answer.body)));
        *response.status_mut() = http::StatusCode::from_u16(answer.status).expect("status");
        Ok(response)
    }
}
