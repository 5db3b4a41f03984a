//! A service to talk to: its configuration, its clock, and what is asked of it.

mod browser;
mod faults;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::Params as Cost;
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, StatusCode, header};
use serde_json::Value;
use service_kit::serve::Client;
use service_kit::{Health, ManualClock, Metrics, Tasks, UnixTime, Variables};
use store::{EventPage, Position, Store};
use tower::ServiceExt as _;
use url::Url;

pub(super) use browser::Browser;
pub(super) use faults::{TestDecisions, TestStore};

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

/// A form from whoever it says.
pub(super) fn posted(path: &str, form: &[(&str, &str)]) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encode(form)))
        .unwrap()
}

/// A request from somewhere.
pub(super) fn from(address: impl Into<IpAddr>, mut request: Request<Body>) -> Request<Body> {
    let client = Client::of(SocketAddr::from((address.into(), 50_000)));
    request.extensions_mut().insert(client);
    request
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
