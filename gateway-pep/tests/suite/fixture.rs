//! A whole gateway on loopback, with everything around it at hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_pep::{
    Config, Gateway, GatewayConfig, GatewayParts, RouteConfig, RunningGateway, UpstreamConfig,
};
use serde::Deserialize;
use service_kit::{Health, Metrics, SharedClock, SystemClock, Tasks, Traces, Variables};
use store::{MemoryStore, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::fakes::{FakePdp, FakeTokens};
use crate::upstream::Upstream;

pub(crate) const LOG: &str = "events";
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    gateway: GatewayConfig,
    #[serde(default)]
    upstreams: BTreeMap<String, UpstreamConfig>,
    routes: Vec<RouteConfig>,
}

const ROUTES: &str = "
routes:
  - { match: '/records/{id}', methods: [GET, PUT, POST], upstream: a, action: view, resource: 'Record/{id}' }
  - { match: '/scoped', methods: [GET], upstream: a, action: view, resource: Service/x, scope: read write }
  - { match: '/stale/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', stale_decision_secs: 60 }
  - { match: '/public/{*rest}', methods: ['*'], upstream: a, public: true, websocket: true }
  - { match: '/public/echo', methods: [POST], upstream: a, public: true }
  - { match: '/admin/{*rest}', methods: [GET], upstream: a, action: administer, resource: 'Admin/{rest}' }
  - { match: '/only', methods: [GET], host: admin.gw.test, upstream: a, action: administer, resource: Service/x }
  - { match: '/todos/{todoId}', methods: ['*'], upstream: a, mapping: authzen_route }
  - { match: '/pay', methods: [GET], upstream: a, action: view, resource: Service/x, acr_values: [phr, phrh], max_age_secs: 60 }
  - { match: '/ws', methods: [GET], upstream: a, action: connect, resource: Service/ws, websocket: true }
";

/// How a gateway should be.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The `gateway:` section, flow style.
    pub(crate) gateway: String,
    pub(crate) events: Arc<dyn Store>,
    pub(crate) shared: Option<Arc<dyn Store>>,
    /// Of the upstream, beside its place: `connections: 1, …`
    pub(crate) upstream_settings: String,
    /// `http` or `https`.
    pub(crate) upstream_scheme: &'static str,
    /// Beside those that every test has, a line each.
    pub(crate) more_routes: &'static str,
    /// Remembers used proofs.
    pub(crate) proofs: Arc<dyn Store>,
    /// Counts what is limited.
    pub(crate) rates: Arc<dyn Store>,
    pub(crate) tokens: Arc<FakeTokens>,
    pub(crate) pdp: Arc<FakePdp>,
    pub(crate) upstream: Upstream,
    pub(crate) clock: SharedClock,
    pub(crate) traces: Traces,
    /// Tells that whoever decides here decides otherwise.
    pub(crate) changes: Option<watch::Receiver<u64>>,
}

#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) addr: SocketAddr,
    pub(crate) events: Arc<dyn Store>,
    pub(crate) tokens: Arc<FakeTokens>,
    pub(crate) pdp: Arc<FakePdp>,
    pub(crate) upstream: Upstream,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) tasks: Tasks,
    pub(crate) gateway: RunningGateway,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self {
            gateway: "{ workers: 1, access_log: 'off' }".into(),
            events: Arc::new(MemoryStore::new()),
            shared: None,
            upstream_settings: String::new(),
            upstream_scheme: "http",
            more_routes: "",
            proofs: Arc::new(MemoryStore::new()),
            rates: Arc::new(MemoryStore::new()),
            tokens: FakeTokens::new(),
            pdp: FakePdp::new(),
            upstream: Upstream::start().await,
            clock: Arc::new(SystemClock),
            traces: Traces::off(),
            changes: None,
        }
    }

    /// Starts, and waits until the event log is heard.
    pub(crate) async fn start(self) -> Fixture {
        let fixture = self.start_unheard();
        fixture.wait_until_heard().await;
        fixture
    }

    pub(crate) fn start_unheard(self) -> Fixture {
        let config = config(
            &self.gateway,
            (self.upstream_scheme, self.upstream.addr),
            &self.upstream_settings,
            self.more_routes,
        );
        let (metrics, health, tasks) = (Metrics::new(), Health::new(), Tasks::new());
        let parts = GatewayParts {
            introspector: Some(self.tokens.clone()),
            decisions: self.pdp.clone(),
            events: self.events.clone(),
            event_log: LOG.into(),
            proofs: self.proofs.clone(),
            rates: self.rates.clone(),
            shared_tokens: self.shared.clone(),
            shared_decisions: self.shared,
            acme: None,
            clock: self.clock,
            metrics: metrics.clone(),
            health: health.clone(),
            tasks: tasks.clone(),
            traces: self.traces,
        };
        let gateway = Gateway::open(&config, Path::new("."), parts).unwrap();
        if let Some(changes) = self.changes {
            gateway.follow_decisions(changes);
        }
        let gateway = gateway.start(([127, 0, 0, 1], 0).into()).unwrap();
        Fixture {
            addr: gateway.addr(),
            events: self.events,
            tokens: self.tokens,
            pdp: self.pdp,
            upstream: self.upstream,
            metrics,
            health,
            tasks,
            gateway,
        }
    }
}

/// With the routes that every test has, and more.
pub(crate) fn config(
    gateway: &str,
    (scheme, upstream): (&str, SocketAddr),
    upstream_settings: &str,
    more_routes: &str,
) -> Config {
    let text = format!(
        "gateway: {gateway}\nupstreams: {{ a: {{ url: '{scheme}://{upstream}', resource: 'https://a', {upstream_settings} }} }}\n{ROUTES}{more_routes}"
    );
    let file: File = service_kit::config::parse(&text, &Variables::default())
        .map_err(|issue| issue.to_string())
        .unwrap();
    Config {
        gateway: file.gateway,
        upstreams: file.upstreams,
        routes: file.routes,
    }
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Setup::new().await.start().await
    }

    pub(crate) async fn wait_until_heard(&self) {
        eventually("the event log is heard", || self.health.is_ready()).await;
    }

    /// Writes bytes on a fresh connection and reads to its end.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        raw(self.addr, request).await
    }

    /// A `GET` with a token, on a connection of its own.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.raw(&get(path, token)).await
    }

    pub(crate) async fn announce(&self, event: serde_json::Value) {
        self.events
            .append(LOG, Bytes::from(event.to_string()))
            .await
            .unwrap();
    }

    /// Announces, and waits until a metric says that it arrived.
    pub(crate) async fn announce_and_wait(&self, event: serde_json::Value) {
        let count = || self.metric("pep_events_total");
        let before = count();
        self.announce(event).await;
        eventually("the event arrived", || count() > before).await;
    }

    /// The counter with these labels; 0 where there is none.
    pub(crate) fn metric_of(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let rendered = self.metrics.render();
        let mut series = rendered.lines().filter(|line| {
            line.starts_with(&format!("{name}{{"))
                && labels
                    .iter()
                    .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        });
        let only = series.next();
        assert!(series.next().is_none(), "several of {name} {labels:?}");
        let value = only.and_then(|line| line.rsplit(' ').next());
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Whether the sum of a metric's series is this one.
    pub(crate) fn is(&self, name: &str, expected: f64) -> bool {
        (self.metric(name) - expected).abs() < 0.1
    }

    /// The sum of a metric's series.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.metrics
            .render()
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

pub(crate) fn get(path: &str, token: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
}

/// Bytes that came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer(pub(crate) String);

impl Answer {
    /// 0 where the connection was closed without an answer.
    pub(crate) fn status(&self) -> u16 {
        self.0
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let head = self.0.split("\r\n\r\n").next()?;
        head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

pub(crate) async fn raw(addr: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // Latin-1: bytes above 0x7f stand for themselves.
    let bytes: Vec<u8> = request
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    // It may be refused before it was sent whole.
    let _ = stream.write_all(&bytes).await;
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = vec![0; 65536];
        while let Ok(length) = stream.read(&mut buffer).await {
            if length == 0 {
                break;
            }
            answer.extend_from_slice(&buffer[..length]);
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(3), reading).await;
    Answer(String::from_utf8_lossy(&answer).into_owned())
}

/// Waits, within patience, until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 5 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not in time: {what}");
}
