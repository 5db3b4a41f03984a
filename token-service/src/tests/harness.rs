//! A service to talk to, a browser to log in with, and the two things around it that can fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use argon2::Params as Cost;
use async_trait::async_trait;
use authzen::{
    DecisionError, DecisionPoint, Evaluation, EvaluationRequest, EvaluationsRequest, Obligation,
    SearchRequest, SearchResults,
};
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use serde_json::Value;
use service_kit::{Health, ManualClock, Metrics, Tasks, UnixTime, Variables};
use store::{Batch, Commit, EventPage, MemoryStore, Position, ScanPage, Store, StoreError};
use tower::ServiceExt as _;
use url::Url;

use crate::{TokenService, TokenServiceConfig, TokenServiceParts, secret_hash};

pub(super) const ISSUER: &str = "https://as.example";
pub(super) const ORDERS: &str = "https://api.example/orders";
pub(super) const BILLING: &str = "https://api.example/billing";
pub(super) const CALLBACK: &str = "https://app.example/cb";
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(super) const PASSWORD: &str = "correct horse battery";

/// One service and everything that it touches.
pub(super) struct World {
    pub(super) service: TokenService,
    pub(super) router: axum::Router,
    pub(super) store: Arc<TestStore>,
    pub(super) decisions: Arc<TestDecisions>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) metrics: Metrics,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// A browser: a cookie jar.
#[derive(Debug, Default, Clone)]
pub(super) struct Browser {
    pub(super) cookies: BTreeMap<String, String>,
}

/// The memory store, which can be made to fail.
#[derive(Debug, Default)]
pub(super) struct TestStore {
    inner: MemoryStore,
    down: AtomicBool,
    /// Reads work, writes do not.
    read_only: AtomicBool,
}

/// Permits every scope that is not denied.
#[derive(Debug, Default)]
pub(super) struct TestDecisions {
    down: AtomicBool,
    denied: Mutex<Vec<String>>,
    obliged: Mutex<Vec<String>>,
    pub(super) asked: Mutex<Vec<EvaluationRequest>>,
    /// Nothing is answered while a test holds it.
    pub(super) hold: tokio::sync::Mutex<()>,
}

static PHC: LazyLock<String> = LazyLock::new(|| {
    let cost = Cost::new(64, 1, 1, None).unwrap();
    crate::password::hash_with(cost, PASSWORD.as_bytes()).unwrap()
});

/// The configuration of every test; `edit` changes its text.
pub(super) fn config(edit: impl Fn(String) -> String) -> TokenServiceConfig {
    let hash = secret_hash;
    let text = format!(
        r"
issuer: {ISSUER}
secret: 0123456789abcdef0123456789abcdef
clients:
  - {{ id: web, name: The <Web> Shop, secret_hash: '{web}', grant_types: [authorization_code, refresh_token],
      redirect_uris: ['{CALLBACK}', 'https://app.example/other'],
      scope: openid profile email offline_access orders:read orders:write billing:read }}
  - {{ id: other, secret_hash: '{other}', grant_types: [authorization_code, refresh_token, client_credentials],
      redirect_uris: ['https://other.example/cb'], scope: openid orders:read }}
  - {{ id: native, public: true, grant_types: [authorization_code, refresh_token],
      redirect_uris: ['http://127.0.0.1/cb'], scope: openid orders:read, consent: skip }}
  - {{ id: svc, secret_hash: '{svc}', grant_types: [client_credentials], scope: orders:read orders:write,
      attributes: {{ tier: gold }} }}
users:
  - {{ username: alice, password_hash: '{phc}', name: Alice Archer, email: alice@example.com,
      attributes: {{ roles: [customer], secret_note: hidden }} }}
  - {{ username: bob, sub: u-2, password_hash: '{phc}' }}
resources:
  - {{ id: '{ORDERS}', scope: orders:read orders:write, claims: [roles, email] }}
  - {{ id: '{BILLING}', scope: billing:read, jwt_ttl_secs: 30 }}
resource_servers:
  - {{ id: gw_orders, secret_hash: '{gw}', resources: ['{ORDERS}'] }}
  - {{ id: gw_billing, secret_hash: '{gw}', resources: ['{BILLING}'] }}
  - {{ id: gw_both, secret_hash: '{gw}', resources: ['{ORDERS}', '{BILLING}'] }}
  - {{ id: local, resources: ['{ORDERS}'] }}
",
        web = hash("web-secret"),
        other = hash("other-secret"),
        svc = hash("svc-secret"),
        gw = hash("gw-secret"),
        phc = *PHC,
    );
    service_kit::config::parse(&edit(text), &Variables::default()).unwrap()
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(config(|text| text)).await
    }

    pub(super) async fn with(config: TokenServiceConfig) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        Self::on(Arc::default(), clock, config).await
    }

    /// Another process on the same store, with another configuration.
    pub(super) async fn restarted(&self, config: TokenServiceConfig) -> Self {
        Self::on(self.store.clone(), self.clock.clone(), config).await
    }

    async fn on(
        store: Arc<TestStore>,
        clock: Arc<ManualClock>,
        config: TokenServiceConfig,
    ) -> Self {
        let decisions = Arc::new(TestDecisions::default());
        let metrics = Metrics::new();
        let parts = TokenServiceParts {
            store: store.clone(),
            decisions: decisions.clone(),
            event_log: "events".into(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            health: Health::new(),
            tasks: Tasks::new(),
        };
        let service = TokenService::open(&config, Path::new("."), parts)
            .await
            .unwrap();
        let router = service.router();
        Self {
            service,
            router,
            store,
            decisions,
            clock,
            metrics,
        }
    }

    pub(super) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// A form from a client or resource server with HTTP Basic.
    pub(super) async fn post_as(&self, who: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(as_client(who, path, form)).await
    }

    pub(super) async fn token(&self, who: &str, form: &[(&str, &str)]) -> Answer {
        self.post_as(who, "/token", form).await
    }

    pub(super) async fn redeem(&self, who: &str, code: &str) -> Answer {
        self.token(who, &code_form(code)).await
    }

    /// Logs alice in at `web` and redeems the code.
    pub(super) async fn tokens(&self, scope: &str) -> Value {
        let code = self.code("web", scope).await;
        let answer = self.redeem("web", &code).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Logs alice in at `web` in a new browser; every page is answered as the client wants it.
    pub(super) async fn code(&self, client: &str, scope: &str) -> String {
        let uri = authorize_uri(&[("client_id", client), ("scope", scope)]);
        let target = Browser::default().walk(self, &uri, "alice").await;
        query(&target)["code"].clone()
    }

    pub(super) async fn introspect(&self, who: &str, token: &str) -> Answer {
        self.post_as(who, "/introspect", &[("token", token)]).await
    }

    pub(super) async fn is_active(&self, token: &str) -> bool {
        let answer = self.introspect("gw_orders", token).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["active"].as_bool().unwrap()
    }

    /// The end of the event log.
    pub(super) async fn store_tail(&self) -> Position {
        self.store.tail("events").await.unwrap()
    }

    /// Every event since then.
    pub(super) async fn events(&self, since: &Position) -> Vec<Value> {
        match self
            .store
            .follow("events", since, Duration::ZERO)
            .await
            .unwrap()
        {
            EventPage::Events { events, .. } => events
                .iter()
                .map(|event| serde_json::from_slice(event).unwrap())
                .collect(),
            EventPage::Gap { .. } => panic!("a gap"),
        }
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn location(&self) -> &str {
        self.header(header::LOCATION)
    }

    #[track_caller]
    pub(super) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.json()["error"], code, "{}", self.body);
        assert_eq!(self.header(header::CACHE_CONTROL), "no-store");
    }

    /// The value of a hidden field.
    pub(super) fn field(&self, name: &str) -> String {
        let (_, rest) = self
            .body
            .split_once(&format!("name=\"{name}\" value=\""))
            .unwrap_or_else(|| panic!("no `{name}` in {}", self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }
}

impl Browser {
    pub(super) async fn get(&mut self, world: &World, uri: &str) -> Answer {
        let request = Request::get(path_of(uri)).header(header::COOKIE, self.cookie_header());
        self.keep(world.send(request.body(Body::empty()).unwrap()).await)
    }

    pub(super) async fn post(&mut self, world: &World, uri: &str, form: &[(&str, &str)]) -> Answer {
        let request = Request::post(path_of(uri))
            .header(header::COOKIE, self.cookie_header())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(encode(form)))
            .unwrap();
        self.keep(world.send(request).await)
    }

    /// Fills in the login page.
    pub(super) async fn log_in(&mut self, world: &World, page: &Answer, user: &str) -> Answer {
        let (interaction, csrf) = (page.field("interaction"), page.field("csrf"));
        let form = [
            ("interaction", interaction.as_str()),
            ("csrf", csrf.as_str()),
            ("username", user),
            ("password", PASSWORD),
        ];
        self.post(world, "/login", &form).await
    }

    pub(super) async fn decide(&mut self, world: &World, page: &Answer, decision: &str) -> Answer {
        let (interaction, csrf) = (page.field("interaction"), page.field("csrf"));
        let form = [
            ("interaction", interaction.as_str()),
            ("csrf", csrf.as_str()),
            ("decision", decision),
        ];
        self.post(world, "/consent", &form).await
    }

    /// Logs in and approves as long as pages come. Returns where the browser is sent at last.
    pub(super) async fn walk(&mut self, world: &World, uri: &str, user: &str) -> String {
        let mut page = self.get(world, uri).await;
        for _ in 0..5 {
            page = if page.status == 303 && page.location().starts_with('/') {
                let location = page.location().to_owned();
                self.get(world, &location).await
            } else if page.status == 303 {
                return page.location().to_owned();
            } else if page.body.contains("name=\"password\"") {
                self.log_in(world, &page, user).await
            } else {
                self.decide(world, &page, "approve").await
            };
        }
        panic!("no end: {page:?}");
    }

    fn cookie_header(&self) -> String {
        let pairs: Vec<_> = self
            .cookies
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        pairs.join("; ")
    }

    fn keep(&mut self, answer: Answer) -> Answer {
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            assert!(
                text.contains("; Path=/; HttpOnly; SameSite=Lax; Secure"),
                "{text}"
            );
            let (name, value) = text.split_once(';').unwrap().0.split_once('=').unwrap();
            assert!(name.starts_with("__Host-"), "{text}");
            self.cookies.insert(name.into(), value.into());
        }
        answer
    }
}

impl TestStore {
    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(super) fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::SeqCst);
    }

    fn read(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(None));
        }
        Ok(())
    }

    fn write(&self) -> Result<(), StoreError> {
        self.read()?;
        if self.read_only.load(Ordering::SeqCst) {
            return Err(StoreError::Timeout);
        }
        Ok(())
    }
}

#[async_trait]
impl Store for TestStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.read()?;
        let found = self.inner.get(key).await;
        // Lets others in between a read and the write that follows it.
        tokio::task::yield_now().await;
        found
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.write()?;
        self.inner.take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        self.write()?;
        self.inner.commit(batch).await
    }

    async fn scan(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StoreError> {
        self.read()?;
        self.inner.scan(prefix, cursor, limit).await
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        self.write()?;
        self.inner.count(key, window).await
    }

    async fn tail(&self, log: &str) -> Result<Position, StoreError> {
        self.inner.tail(log).await
    }

    async fn follow(
        &self,
        log: &str,
        after: &Position,
        wait: Duration,
    ) -> Result<EventPage, StoreError> {
        self.inner.follow(log, after, wait).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read()
    }
}

impl TestDecisions {
    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(super) fn deny(&self, scope: &str) {
        self.denied.lock().unwrap().push(scope.into());
    }

    pub(super) fn oblige(&self, scope: &str) {
        self.obliged.lock().unwrap().push(scope.into());
    }
}

#[async_trait]
impl DecisionPoint for TestDecisions {
    async fn evaluate(&self, request: &EvaluationRequest) -> Result<Evaluation, DecisionError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(DecisionError::Timeout);
        }
        self.asked.lock().unwrap().push(request.clone());
        drop(self.hold.lock().await);
        if self.denied.lock().unwrap().contains(&request.resource.id) {
            return Ok(Evaluation::deny());
        }
        let mut permit = Evaluation::permit();
        if self.obliged.lock().unwrap().contains(&request.resource.id) {
            permit.context.obligations.push(Obligation {
                id: "o".into(),
                kind: "mask".into(),
                properties: serde_json::Map::new(),
            });
        }
        Ok(permit)
    }

    async fn evaluate_many(
        &self,
        request: &EvaluationsRequest,
    ) -> Result<Vec<Evaluation>, DecisionError> {
        let mut answers = Vec::new();
        for entry in &request.entries {
            answers.push(self.evaluate(entry.as_ref().unwrap()).await?);
        }
        Ok(answers)
    }

    async fn search(&self, _request: &SearchRequest) -> Result<SearchResults, DecisionError> {
        Err(DecisionError::Unavailable(None))
    }
}

/// `/authorize` with everything in order but for what is given.
pub(super) fn authorize_uri(changes: &[(&str, &str)]) -> String {
    let mut params = BTreeMap::from([
        ("response_type", "code"),
        ("client_id", "web"),
        ("scope", "openid orders:read"),
        ("state", "s t&te"),
        ("nonce", "n-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    params.extend(changes.iter().copied());
    if !params.contains_key("redirect_uri") {
        let uri = match params["client_id"] {
            "other" => "https://other.example/cb",
            "native" => "http://127.0.0.1:51789/cb",
            _ => CALLBACK,
        };
        params.insert("redirect_uri", uri);
    }
    let pairs: Vec<_> = params
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    format!("/authorize?{}", encode(&pairs))
}

pub(super) fn code_form(code: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ]
}

pub(super) fn refresh_form(token: &str) -> [(&str, &str); 2] {
    [("grant_type", "refresh_token"), ("refresh_token", token)]
}

pub(super) fn as_client(who: &str, path: &str, form: &[(&str, &str)]) -> Request<Body> {
    let secret = if who.starts_with("gw_") {
        "gw-secret".into()
    } else {
        format!("{who}-secret")
    };
    Request::post(path)
        .header(header::AUTHORIZATION, basic(who, &secret))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encode(form)))
        .unwrap()
}

pub(super) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

pub(super) fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}

/// The query of an absolute URL.
pub(super) fn query(url: &str) -> BTreeMap<String, String> {
    Url::parse(url)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect()
}

pub(super) fn path_of(uri: &str) -> &str {
    uri.strip_prefix(ISSUER).unwrap_or(uri)
}

/// The claims of a JWT of ours, checked as a resource server would: by the published keys.
pub(super) async fn verified(world: &World, jwt: &str, typ: &str, audience: &str) -> Value {
    let jwks: jsonwebtoken::jwk::JwkSet =
        serde_json::from_str(&world.get("/jwks.json").await.body).unwrap();
    let header = jsonwebtoken::decode_header(jwt).unwrap();
    assert_eq!(header.typ.as_deref(), Some(typ));
    let jwk = jwks.find(header.kid.as_deref().unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap();
    assert_eq!(
        jwk.common.key_algorithm.unwrap().to_string(),
        format!("{:?}", header.alg)
    );
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[ISSUER]);
    // The test's clock is not the machine's.
    validation.validate_exp = false;
    validation.set_required_spec_claims(&["iss", "aud"]);
    jsonwebtoken::decode::<Value>(jwt, &key, &validation)
        .unwrap()
        .claims
}
