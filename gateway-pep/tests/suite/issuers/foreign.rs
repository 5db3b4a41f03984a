//! An issuer on loopback: metadata, keys and introspection, all as told, and a count of who asks.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::signer::{Signer, jwks};

#[derive(Debug, Clone)]
pub(super) struct Foreign(Arc<State>);

#[derive(Debug)]
pub(super) struct State {
    addr: SocketAddr,
    keys: Mutex<Value>,
    /// Fails whatever is asked.
    pub(super) is_down: AtomicBool,
    /// Its keys were asked for.
    pub(super) key_reads: AtomicUsize,
    /// Keys take so long. Milliseconds.
    pub(super) slowness: AtomicUsize,
    /// Metadata are where RFC 8414 puts them, not where OpenID Connect does.
    pub(super) is_oauth_only: AtomicBool,
    /// What tokens are worth.
    pub(super) tokens: Mutex<HashMap<String, String>>,
    /// `Authorization` and form of each introspection.
    pub(super) asked: Mutex<Vec<(String, String)>>,
    pub(super) status: Mutex<u16>,
}

impl std::ops::Deref for Foreign {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Foreign {
    pub(super) async fn start(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let foreign = Self(Arc::new(State {
            addr: listener.local_addr().unwrap(),
            keys: Mutex::new(jwks(keys)),
            is_down: AtomicBool::new(false),
            key_reads: AtomicUsize::new(0),
            slowness: AtomicUsize::new(0),
            is_oauth_only: AtomicBool::new(false),
            tokens: Mutex::default(),
            asked: Mutex::default(),
            status: Mutex::new(200),
        }));
        let serving = foreign.clone();
        tokio::task::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                tokio::task::spawn(async move {
                    let service = service_fn(|request| async {
                        Ok::<_, Infallible>(serving.answer(request).await)
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        foreign
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}/realm", self.addr)
    }

    pub(super) fn introspection_url(&self) -> String {
        format!("http://{}/introspect", self.addr)
    }

    pub(super) fn publish(&self, keys: &[&Signer]) {
        *self.keys.lock().unwrap() = jwks(keys);
    }

    pub(super) fn say(&self, token: &str, answer: &Value) {
        self.say_text(token, &answer.to_string());
    }

    pub(super) fn say_text(&self, token: &str, answer: &str) {
        let mut tokens = self.tokens.lock().unwrap();
        tokens.insert(token.to_owned(), answer.to_owned());
    }

    pub(super) fn key_reads(&self) -> usize {
        self.key_reads.load(Ordering::SeqCst)
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let is_oauth_only = self.is_oauth_only.load(Ordering::SeqCst);
        let answer = match parts.uri.path() {
            _ if self.is_down.load(Ordering::SeqCst) => return status(500),
            "/realm/.well-known/openid-configuration" if !is_oauth_only => self.metadata(),
            "/.well-known/oauth-authorization-server/realm" if is_oauth_only => self.metadata(),
            "/keys" => {
                self.key_reads.fetch_add(1, Ordering::SeqCst);
                let millis = self.slowness.load(Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(millis.try_into().unwrap())).await;
                self.keys.lock().unwrap().to_string()
            }
            "/introspect" => {
                let authorization = parts.headers.get(header::AUTHORIZATION);
                let authorization = authorization.map_or("", |it| it.to_str().unwrap());
                let form = String::from_utf8(body.to_vec()).unwrap();
                let asked = (authorization.to_owned(), form.clone());
                self.asked.lock().unwrap().push(asked);
                let code = *self.status.lock().unwrap();
                if code != 200 {
                    return status(code);
                }
                let token = url::form_urlencoded::parse(form.as_bytes())
                    .find_map(|(name, value)| (name == "token").then(|| value.into_owned()));
                let tokens = self.tokens.lock().unwrap();
                let known = token.and_then(|token| tokens.get(&token).cloned());
                known.unwrap_or_else(|| json!({ "active": false }).to_string())
            }
            _ => return status(404),
        };
        Response::new(Full::from(answer))
    }

    fn metadata(&self) -> String {
        let keys = format!("http://{}/keys", self.addr);
        json!({ "issuer": self.issuer(), "jwks_uri": keys }).to_string()
    }
}

fn status(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status.try_into().unwrap();
    response
}
