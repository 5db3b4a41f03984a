//! The state machine of grants, checked exhaustively: the service's own code, two or three requests at
//! a time, in every order of what they do to the store, with a crash after every step.

mod explorer;
mod scenarios;
mod stepped;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, StatusCode};
use service_kit::{Clock as _, Health, ManualClock, Metrics, Tasks, UnixTime};

use self::explorer::explore;
use self::stepped::{Fault, SteppedClock, SteppedStore};
use super::harness::{Answer, BILLING, ORDERS, TestDecisions, World, config, refresh_form};
use crate::record::{Grant, RefreshToken};
use crate::{TokenService, TokenServiceConfig, TokenServiceParts, secret_hash};

/// The service on a store that stops before each verb.
pub(super) struct Model {
    world: World,
    store: Arc<SteppedStore>,
    clock: Arc<SteppedClock>,
    config: TokenServiceConfig,
    is_reloaded: AtomicBool,
}

/// With a device, a service that exchanges, and answers that are repeated so long.
fn configured(retry_secs: u64) -> TokenServiceConfig {
    let (tv, orders) = (secret_hash("tv-secret"), secret_hash("orders-secret"));
    let clients = format!(
        "clients:
  - {{ id: tv, secret_hash: '{tv}', grant_types: [device_code, refresh_token], scope: orders:read, consent: skip }}
  - {{ id: orders, secret_hash: '{orders}', grant_types: [token_exchange], scope: billing:read,
      exchange: {{ audiences: ['{BILLING}'], subject_clients: [web], subject_resources: ['{ORDERS}'] }} }}
"
    );
    let ttl = format!("ttl: {{ refresh_retry_secs: {retry_secs} }}");
    config(|text| format!("{ttl}\n{}", text.replacen("clients:\n", &clients, 1)))
}

impl Model {
    async fn new(retry_secs: u64) -> Self {
        let config = configured(retry_secs);
        let (store, decisions) = (
            Arc::<SteppedStore>::default(),
            Arc::<TestDecisions>::default(),
        );
        let clock = Arc::new(SteppedClock::at(1_800_000_000));
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
        let world = World {
            router: service.router(),
            service,
            store: Arc::default(),
            decisions,
            clock: ManualClock::at(clock.now()),
            metrics,
        };
        Self {
            world,
            store,
            clock,
            config,
            is_reloaded: AtomicBool::new(false),
        }
    }

    fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Puts another configuration in force, as one of those who act.
    async fn reload(&self, change: impl Fn(&mut TokenServiceConfig)) -> Answer {
        self.is_reloaded.store(true, Ordering::SeqCst);
        let mut config = self.config.clone();
        change(&mut config);
        let reloaded = self.world.service.reload(&config, Path::new(".")).await;
        reloaded.unwrap();
        done()
    }

    async fn pass(&self, secs: u64) -> Answer {
        self.clock.pass(&self.store, secs).await;
        done()
    }

    /// Puts back what is not in the store.
    async fn reset(&self) {
        if self.is_reloaded.swap(false, Ordering::SeqCst) {
            let reloaded = self.world.service.reload(&self.config, Path::new("."));
            reloaded.await.unwrap();
        }
    }

    async fn grants(&self) -> Vec<(String, Grant)> {
        let grants = self.store.records("grant:").await.into_iter();
        let grants = grants.map(|(key, bytes)| {
            let id = key.strip_prefix("grant:").unwrap().to_owned();
            (id, serde_json::from_slice(&bytes).unwrap())
        });
        grants.collect()
    }

    async fn refresh_tokens(&self) -> Vec<RefreshToken> {
        let tokens = self.store.records("rt:").await.into_iter();
        let tokens = tokens.map(|(_, bytes)| serde_json::from_slice(&bytes).unwrap());
        tokens.collect()
    }

    /// Whether a text is worth anything to whoever has it. What is found out by using it is undone.
    async fn is_live(&self, text: &str) -> bool {
        if text.starts_with("cg_at_") {
            for server in ["gw_orders", "gw_billing"] {
                let answer = self.world.introspect(server, text).await.json();
                if answer["active"] == true {
                    return true;
                }
            }
            return false;
        }
        let kept = self.store.keep(&self.clock).await;
        let mut is_live = false;
        for client in ["web", "tv"] {
            is_live |= self.world.token(client, &refresh_form(text)).await.status == 200;
        }
        self.store.restore(&kept, &self.clock).await;
        is_live
    }
}

/// Of somebody who does not ask over HTTP.
fn done() -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: String::new(),
    }
}
