//! An OpenID provider that can be made to lie. A real one is in the end-to-end tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use service_kit::digest;

use crate::tests::harness::{basic, encode, query};
use crate::tests::signer::{Signer, base64, changed};

/// A provider with one person, `u1`.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) issuer: String,
    pub(super) script: Arc<Mutex<Script>>,
}

/// What it does.
pub(super) struct Script {
    pub(super) signer: Signer,
    pub(super) kid: &'static str,
    pub(super) alg: &'static str,
    /// Of the ID token and of userinfo; `null` leaves one out.
    pub(super) id_token: Vec<(&'static str, Value)>,
    pub(super) userinfo: Vec<(&'static str, Value)>,
    pub(super) metadata: Vec<(&'static str, Value)>,
    /// The paths that do not work, and what they answer.
    pub(super) broken: BTreeMap<&'static str, (StatusCode, String)>,
    pub(super) now: u64,
    /// What was asked of which path, the latest last.
    pub(super) asked: Vec<(&'static str, String)>,
    /// Of each code: nonce and PKCE challenge.
    codes: BTreeMap<String, (String, String)>,
}

impl Upstream {
    pub(super) async fn start(now: u64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            script: Arc::new(Mutex::new(Script {
                signer: Signer::new(),
                kid: "k1",
                alg: "ES256",
                id_token: Vec::new(),
                userinfo: Vec::new(),
                metadata: Vec::new(),
                broken: BTreeMap::new(),
                now,
                asked: Vec::new(),
                codes: BTreeMap::new(),
            })),
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/me", get(userinfo))
            .with_state(upstream.clone());
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        upstream
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// The person logs in there; the query with which the browser is sent back.
    pub(super) fn approve(&self, authorization: &str) -> String {
        let asked = query(authorization);
        assert!(authorization.starts_with(&format!("{}/auth?", self.issuer)));
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["code_challenge_method"], "S256");
        let mut script = self.script.lock().unwrap();
        let code = format!("code-{}", script.codes.len());
        let kept = (asked["nonce"].clone(), asked["code_challenge"].clone());
        script.codes.insert(code.clone(), kept);
        encode(&[
            ("code", &code),
            ("state", &asked["state"]),
            ("iss", &self.issuer),
        ])
    }

    /// A JWT by the key that it signs with.
    pub(super) fn sign(&self, typ: &str, claims: &Value) -> String {
        let script = self.script.lock().unwrap();
        let header = json!({ "alg": script.alg, "kid": script.kid, "typ": typ });
        script.signer.sign(&header, claims)
    }

    pub(super) fn asked(&self, path: &str) -> usize {
        let script = self.script.lock().unwrap();
        script.asked.iter().filter(|(it, _)| *it == path).count()
    }

    fn broken(&self, path: &'static str, sent: &str) -> Option<Response> {
        let mut script = self.script.lock().unwrap();
        script.asked.push((path, sent.to_owned()));
        let (status, body) = script.broken.get(path)?.clone();
        Some((status, [(header::LOCATION, "http://127.0.0.1:1/x")], body).into_response())
    }
}

async fn metadata(State(upstream): State<Upstream>) -> Response {
    if let Some(broken) = upstream.broken("metadata", "") {
        return broken;
    }
    let issuer = &upstream.issuer;
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/me"),
        "end_session_endpoint": format!("{issuer}/session/end"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        "authorization_response_iss_parameter_supported": true,
    });
    let script = upstream.script.lock().unwrap();
    axum::Json(changed(metadata, &script.metadata)).into_response()
}

async fn jwks(State(upstream): State<Upstream>) -> Response {
    let script = upstream.script.lock().unwrap();
    let mut jwk = script.signer.jwk();
    jwk["kid"] = script.kid.into();
    jwk["use"] = "sig".into();
    axum::Json(json!({ "keys": [jwk] })).into_response()
}

async fn token(
    State(upstream): State<Upstream>,
    headers: HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let code = &form["code"];
    if let Some(broken) = upstream.broken("token", code) {
        return broken;
    }
    let who = basic("cedar", "upstream-secret");
    assert_eq!(headers[header::AUTHORIZATION], who);
    let kept = upstream.script.lock().unwrap().codes.remove(code);
    let is_its =
        |challenge: &str| digest::sha256_base64url(form["code_verifier"].as_bytes()) == challenge;
    let Some((nonce, _)) = kept.filter(|(_, challenge)| is_its(challenge)) else {
        let error = json!({ "error": "invalid_grant" });
        return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
    };
    let (claims, alg) = {
        let script = upstream.script.lock().unwrap();
        let claims = json!({
            "iss": upstream.issuer, "sub": "u1", "aud": "cedar", "nonce": nonce, "sid": "up-1",
            "iat": script.now, "exp": script.now + 300, "auth_time": script.now - 5,
            "email": "Ann@Example.com", "groups": ["staff"], "acr": "mfa", "amr": ["otp"],
        });
        (changed(claims, &script.id_token), script.alg)
    };
    let mut id_token = upstream.sign("JWT", &claims);
    if alg == "none" {
        let header = base64(json!({ "alg": "none" }).to_string());
        id_token = format!("{header}.{}.", base64(claims.to_string()));
    }
    let tokens = json!({
        "access_token": "upstream-at", "token_type": "Bearer", "expires_in": 60,
        "id_token": id_token,
    });
    axum::Json(tokens).into_response()
}

async fn userinfo(State(upstream): State<Upstream>, headers: HeaderMap) -> Response {
    assert_eq!(headers[header::AUTHORIZATION], "Bearer upstream-at");
    if let Some(broken) = upstream.broken("userinfo", "") {
        return broken;
    }
    let claims = json!({
        "sub": "u1", "preferred_username": "ann", "name": "Ann <Upstream>",
        "realm": { "department": "sales" },
    });
    let script = upstream.script.lock().unwrap();
    axum::Json(changed(claims, &script.userinfo)).into_response()
}
