//! The gateway of a configuration, started on a free port of loopback among stand-ins.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use gateway_pep::{Config, DpopConfig, Gateway, GatewayParts, RunningGateway};
use service_kit::line_sink::LineTarget;
use service_kit::{Clock as _, Health, Metrics, Secret, SystemClock, Tasks, Traces};
use store::MemoryStore;

use super::issuer::StubIssuer;
use super::stubs::{StubPdp, StubTokens};
use crate::wire::EVENT_LOG;

/// What is attacked.
#[derive(Debug)]
pub(super) struct Stage {
    gateway: SocketAddr,
    ours: Option<Ours>,
}

#[derive(Debug)]
struct Ours {
    running: RunningGateway,
    pdp: Arc<StubPdp>,
    tasks: Tasks,
}

const PATIENCE: Duration = Duration::from_secs(5);

impl Stage {
    /// Starts, and waits until the gateway is ready.
    pub(super) async fn start(
        (mut config, issuer): (Config, &StubIssuer),
        upstream: SocketAddr,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock);
        issuer.take_over(&mut config);
        let tokens = StubTokens::new(&config.routes, clock.now().as_secs());
        let pdp = Arc::new(StubPdp::default());
        let health = Health::new();
        let parts = GatewayParts {
            introspector: Some(Arc::new(tokens)),
            decisions: pdp.clone(),
            proofs: Arc::new(MemoryStore::new()),
            rates: Arc::new(MemoryStore::new()),
            events: Arc::new(MemoryStore::new()),
            event_log: EVENT_LOG.to_owned(),
            shared_tokens: None,
            shared_decisions: None,
            acme: None,
            clock,
            metrics: Metrics::new(),
            health: health.clone(),
            tasks: tasks.clone(),
            traces: Traces::off(),
        };
        let gateway = Gateway::open(&on_loopback(config, upstream), Path::new(""), parts)?;
        let running = gateway
            .start(SocketAddr::from(([127, 0, 0, 1], 0)))
            .context("cannot start the gateway on loopback")?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !health.is_ready() {
            if tokio::time::Instant::now() > deadline {
                bail!("the gateway does not become ready");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self {
            gateway: running.addr(),
            ours: Some(Ours {
                running,
                pdp,
                tasks: tasks.clone(),
            }),
        })
    }

    /// A gateway that somebody else has started.
    pub(super) fn elsewhere(gateway: SocketAddr) -> Self {
        Self {
            gateway,
            ours: None,
        }
    }

    pub(super) fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Who decides, where it is ours.
    pub(super) fn pdp(&self) -> Option<&StubPdp> {
        self.ours.as_ref().map(|ours| &*ours.pdp)
    }

    pub(super) async fn stop(self) {
        if let Some(ours) = self.ours {
            ours.running.finish(PATIENCE).await;
            ours.tasks.finish(PATIENCE).await;
        }
    }
}

/// Takes the place of secrets of the user's.
const STAND_IN: &str = "no secret of anybody's, for the time of an attack";

/// The discard port, where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The configuration without anything that reaches beyond this process.
fn on_loopback(mut config: Config, upstream: SocketAddr) -> Config {
    for configured in config.upstreams.values_mut() {
        configured.url = format!("http://{upstream}");
        configured.endpoints.clear();
        configured.health_check = None;
        configured.dns = None;
    }
    // What a copy is, is said of what it is a copy of.
    for route in &mut config.routes {
        route.mirror = None;
    }
    let gateway = &mut config.gateway;
    gateway.workers = 1;
    // What is sent is HTTP/1.1, and certificates are of files of the user's.
    gateway.tls = None;
    gateway.h2c = false;
    gateway.access_log = LineTarget::Off;
    gateway.cache.secret = None;
    gateway.cache.secret_file = None;
    // Each question must be asked, so that it can be compared with what is forwarded.
    gateway.cache.tokens = 0;
    gateway.cache.decisions = 0;
    // Nonces are made of a secret of the user's. Tokens here are for whoever has them, but for one.
    gateway.dpop = DpopConfig::default();
    // Nobody logs in: there is no provider to be asked.
    gateway.sessions.secret = Some(Secret::new(STAND_IN));
    gateway.sessions.secret_file = None;
    for login in gateway.logins.values_mut() {
        NOWHERE.clone_into(&mut login.issuer);
        login.client_secret = Some(Secret::new(STAND_IN));
        login.client_secret_file = None;
        login.ca_file = None;
    }
    for route in &mut config.routes {
        route.dpop_bound_access_tokens_required = false;
        route.certificate_bound_access_tokens_required = false;
    }
    config
}
