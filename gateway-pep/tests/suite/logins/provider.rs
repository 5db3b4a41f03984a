//! An OpenID provider on loopback that gives out what it is told to, and counts who asks.

use std::collections::{BTreeMap, HashMap};
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
use service_kit::digest::sha256_base64url;
use tokio::net::TcpListener;
use url::Url;

use super::NOW;
use super::browser::parameter;
use crate::holder::changed;
use crate::signer::{Signer, jwks};

/// The session of whoever logs in. Nothing random spells it.
pub(super) const SID: &str = "sid-of-somebody";

#[derive(Clone)]
pub(super) struct Provider(Arc<State>);

pub(super) struct State {
    addr: SocketAddr,
    pub(super) signer: Signer,
    codes: Mutex<HashMap<String, Asked>>,
    count: AtomicUsize,
    /// Fails whatever is asked.
    pub(super) is_down: AtomicBool,
    /// Refuses every refresh token.
    pub(super) refuses: AtomicBool,
    /// The token endpoint takes so long. Milliseconds.
    pub(super) slowness: AtomicUsize,
    pub(super) refreshed: AtomicUsize,
    pub(super) redeemed: AtomicUsize,
    /// Who logs in.
    pub(super) sub: Mutex<String>,
    /// Claims of ID tokens that are otherwise than they should be; null takes one away.
    pub(super) lies: Mutex<Vec<(&'static str, Value)>>,
    /// Members of token answers, the same.
    pub(super) gives: Mutex<Vec<(&'static str, Value)>>,
    /// What comes back beside `code` and `state`, or instead.
    pub(super) answers: Mutex<BTreeMap<&'static str, Option<String>>>,
    /// The last form that the token endpoint got.
    pub(super) form: Mutex<HashMap<String, String>>,
}

/// An authorization request.
#[derive(Debug, Clone)]
struct Asked {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

impl std::ops::Deref for Provider {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Provider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self(Arc::new(State {
            addr: listener.local_addr().unwrap(),
            signer: Signer::new("p1"),
            codes: Mutex::default(),
            count: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            slowness: AtomicUsize::new(0),
            refreshed: AtomicUsize::new(0),
            redeemed: AtomicUsize::new(0),
            sub: Mutex::new("alice".into()),
            lies: Mutex::default(),
            gives: Mutex::default(),
            answers: Mutex::default(),
            form: Mutex::default(),
        }));
        let serving = provider.clone();
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
        provider
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(super) fn lie(&self, lies: &[(&'static str, Value)]) {
        *self.lies.lock().unwrap() = lies.to_vec();
    }

    pub(super) fn give(&self, gives: &[(&'static str, Value)]) {
        *self.gives.lock().unwrap() = gives.to_vec();
    }

    /// Whoever is sent here logs in; the path that the browser is sent back to.
    pub(super) fn approve(&self, url: &Url) -> String {
        assert!(
            url.as_str()
                .starts_with(&format!("{}/authorize?", self.issuer()))
        );
        let of = |name: &str| parameter(url, name).unwrap();
        let code = format!("code-{}", self.count.fetch_add(1, Ordering::SeqCst));
        let asked = Asked {
            nonce: of("nonce"),
            challenge: of("code_challenge"),
            redirect_uri: of("redirect_uri"),
        };
        let mut back = Url::parse(&asked.redirect_uri).unwrap();
        self.codes.lock().unwrap().insert(code.clone(), asked);
        let mut answer = BTreeMap::from([
            ("code", Some(code)),
            ("state", Some(of("state"))),
            ("iss", Some(self.issuer())),
        ]);
        answer.extend(self.answers.lock().unwrap().clone());
        for (name, value) in &answer {
            if let Some(value) = value {
                back.query_pairs_mut().append_pair(name, value);
            }
        }
        format!("{}?{}", back.path(), back.query().unwrap())
    }

    /// A logout token, with some claims changed.
    pub(super) fn farewell(&self, changes: &[(&str, Value)]) -> String {
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let claims = json!({
            "iss": self.issuer(),
            "aud": "gw",
            "iat": NOW,
            "exp": NOW + 120,
            "jti": format!("farewell-{count}"),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
            "sid": SID,
        });
        let header = json!({ "alg": "ES256", "kid": "p1", "typ": "logout+jwt" });
        let claims = changed(claims, changes);
        self.signer.sign(&header.to_string(), &claims.to_string())
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if self.is_down.load(Ordering::SeqCst) {
            return json_answer(500, &json!({}));
        }
        match parts.uri.path() {
            "/.well-known/openid-configuration" => json_answer(200, &self.metadata()),
            "/keys" => json_answer(200, &jwks(&[&self.signer])),
            "/token" => {
                // `gw:s3cret`
                let authorization = parts.headers.get(header::AUTHORIZATION);
                assert_eq!(authorization.unwrap(), "Basic Z3c6czNjcmV0");
                let form = url::form_urlencoded::parse(&body).into_owned().collect();
                let millis = self.slowness.load(Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(millis.try_into().unwrap())).await;
                self.tokens(&form)
            }
            _ => json_answer(404, &json!({})),
        }
    }

    fn tokens(&self, form: &HashMap<String, String>) -> Response<Full<Bytes>> {
        self.form.lock().unwrap().clone_from(form);
        let nonce = if form["grant_type"] == "refresh_token" {
            self.refreshed.fetch_add(1, Ordering::SeqCst);
            if self.refuses.load(Ordering::SeqCst) {
                return json_answer(400, &json!({ "error": "invalid_grant" }));
            }
            None
        } else {
            let asked = self.codes.lock().unwrap().remove(&form["code"]);
            let Some(asked) = asked else {
                return json_answer(400, &json!({ "error": "invalid_grant" }));
            };
            assert_eq!(form["redirect_uri"], asked.redirect_uri);
            let verifier = sha256_base64url(form["code_verifier"].as_bytes());
            assert_eq!(verifier, asked.challenge);
            self.redeemed.fetch_add(1, Ordering::SeqCst);
            Some(asked.nonce)
        };
        let claims = json!({
            "iss": self.issuer(),
            "aud": "gw",
            "sub": *self.sub.lock().unwrap(),
            "sid": SID,
            "iat": NOW,
            "exp": NOW + 100_000,
            "nonce": nonce,
        });
        let claims = changed(claims, &self.lies.lock().unwrap());
        let header = json!({ "alg": "ES256", "kid": "p1", "typ": "JWT" });
        let id_token = self.signer.sign(&header.to_string(), &claims.to_string());
        let answer = json!({
            "access_token": "at_alice",
            "token_type": "Bearer",
            "expires_in": 600,
            "refresh_token": format!("rt-{}", self.refreshed.load(Ordering::SeqCst)),
            "id_token": id_token,
        });
        json_answer(200, &changed(answer, &self.gives.lock().unwrap()))
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer());
        json!({
            "issuer": self.issuer(),
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/keys"),
            "end_session_endpoint": at("/logout"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "application/json");
    response.body(Full::from(body.to_string())).unwrap()
}
