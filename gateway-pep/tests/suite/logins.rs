//! People with a browser who log in at the gateway: through its own endpoints, at a provider that says what it
//! is told to say.

mod arrival;
mod browser;
mod cookies;
mod cors;
mod lasting;
mod logout;
mod outage;
mod provider;
mod renewal;
mod sessions;

use std::sync::Arc;

use service_kit::{ManualClock, UnixTime};
use store::{MemoryStore, Store};

use crate::fixture::{Answer, Fixture, Setup};
use crate::forward_auth::LISTENERS;
use browser::Browser;
use provider::Provider;

/// What the clock says.
const NOW: u64 = 1_800_000_000;

const ROUTES: &str = "  - { match: '/app/{id}', methods: ['*'], upstream: a, action: view, resource: 'Record/{id}', login: web, websocket: true }
  - { match: '/app-ws', methods: [GET], upstream: a, action: view, resource: Service/x, login: web, websocket: true }
  - { match: '/strong', methods: [GET], upstream: a, action: view, resource: Service/x, acr_values: [phr], max_age_secs: 60, login: web }
  - { match: '/shared/{id}', methods: ['*'], upstream: a, action: view, resource: 'Record/{id}', login: web, websocket: true, cors: { origins: ['https://front.test', 'https://*.fronts.test'], credentials: true } }
  - { match: '/lent/{id}', methods: ['*'], upstream: a, action: view, resource: 'Record/{id}', login: web, cors: { origins: ['https://front.test'] } }
  - { match: '/other/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', login: other }
  - { match: '/{*rest}', methods: ['*'], upstream: a, public: true }
";

const ORIGIN: &str = "https://app.test";

/// Gateways that share a store, and the provider.
struct Site {
    provider: Provider,
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    one: Fixture,
}

impl Site {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// `more`: of the login `web`, each after a comma.
    async fn start_with(more: &str) -> Self {
        Self::start_on(Arc::new(MemoryStore::new()), more).await
    }

    async fn start_on(store: Arc<dyn Store>, more: &str) -> Self {
        Self::start_so(store, more, "access_log: 'off'").await
    }

    async fn start_so(store: Arc<dyn Store>, more: &str, log: &str) -> Self {
        let provider = Provider::start().await;
        let clock = ManualClock::at(UnixTime::from_secs(NOW));
        let one = gateway(&provider, &clock, &store, (more, log)).await;
        Self {
            provider,
            clock,
            store,
            one,
        }
    }

    async fn start_logging(file: &std::path::Path) -> Self {
        let log = format!("access_log: {{ file: '{}' }}", file.display());
        Self::start_so(Arc::new(MemoryStore::new()), "", &log).await
    }

    /// With a listener for each dialect of other proxies.
    async fn start_asked() -> Self {
        let more = format!("access_log: 'off', {LISTENERS}");
        Self::start_so(Arc::new(MemoryStore::new()), "", &more).await
    }

    /// One more gateway.
    async fn second(&self) -> Fixture {
        let more = ("", "access_log: 'off'");
        gateway(&self.provider, &self.clock, &self.store, more).await
    }

    /// Somebody who has logged in.
    async fn logged_in(&self) -> Browser {
        let mut browser = Browser::new(&self.one);
        let arrived = browser.log_in(&self.provider, "/app/1001").await;
        assert_eq!(arrived.status(), 303, "{}", arrived.0);
        browser
    }
}

async fn gateway(
    provider: &Provider,
    clock: &Arc<ManualClock>,
    store: &Arc<dyn Store>,
    (more, log): (&str, &str),
) -> Fixture {
    let issuer = provider.issuer();
    let login = |more: &str| {
        format!(
            "{{ issuer: '{issuer}', client_id: gw, client_secret: s3cret, scopes: [read]{more} }}"
        )
    };
    let setup = Setup {
        gateway: format!(
            "{{ workers: 1, {log}, api_key_header: X-API-Key, public_origins: ['{ORIGIN}', 'https://b.test', 'https://gw.test', 'https://admin.gw.test'], \
             sessions: {{ secret: 'a secret of the tests, long enough to be' }}, \
             logins: {{ web: {}, other: {} }} }}",
            login(more),
            login(""),
        ),
        more_routes: ROUTES,
        events: store.clone(),
        clock: clock.clone(),
        ..Setup::new().await
    };
    setup.start().await
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status(), status, "{}", answer.0);
    let reason = reason.replace('_', "-");
    assert!(answer.body().contains(&reason), "{reason}: {}", answer.0);
    assert!(browser::set_cookies(answer).is_empty(), "{}", answer.0);
}
