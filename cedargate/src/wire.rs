//! Wiring: builds the roles that a configuration names and connects them, in process where both
//! are here, over HTTP where one is elsewhere. Nothing else knows which it is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use authzen::{DecisionPoint, HttpDecisionPoint, PolicyEvent};
use axum::Router;
use bytes::Bytes;
use gateway_pep::{Gateway, GatewayParts, RunningGateway};
use oauth::{HttpTokenIntrospector, TokenIntrospector};
use pdp::{LocalPdp, Pdp, PdpParts};
use service_kit::admin::{self, Admin};
use service_kit::traces::{Server, Service};
use service_kit::{Health, Metrics, SharedClock, Tasks, Tls, Traces, serve};
use store::Store;
use token_service::{TokenService, TokenServiceConfig, TokenServiceParts};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::config::Shown;
use crate::admin::level::Level;
use crate::config::{ConnectPdp, FileConfig, LOCAL_RESOURCE_SERVER, Loaded};
use crate::reload::{self, Reloader};
use crate::{admin as administration, admin_host, cache_admin, demo_upstream, explain};

/// The event log that token service and PDP write and gateways follow.
pub const EVENT_LOG: &str = "events";

/// After a signal, requests in flight get this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A started process.
#[derive(Debug)]
pub struct Running {
    pub addresses: Addresses,
    tasks: Tasks,
    traces: Traces,
    gateway: Option<Reloader>,
}

/// What is listening where.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    pub gateway: Option<SocketAddr>,
    pub token_service: Option<SocketAddr>,
    /// For clients with certificates.
    pub token_service_mtls: Option<SocketAddr>,
    pub pdp: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub demo_upstream: Option<SocketAddr>,
}

/// What every role is given.
#[derive(Debug, Clone)]
struct Shared {
    store: Arc<dyn Store>,
    clock: SharedClock,
    metrics: Metrics,
    health: Health,
    tasks: Tasks,
    traces: Traces,
}

/// Who decides.
struct Decisions {
    /// For the gateway.
    point: Arc<dyn DecisionPoint>,
    /// For the token service. SECURITY: never behind what is announced. Gateways swap tokens again when policies
    /// have changed, and remember what they are told then.
    newest: Arc<dyn DecisionPoint>,
    /// It decides elsewhere: to ask takes as long as to look into a store.
    is_remote: bool,
    /// Where it decides by what another process hands out: changes when that does.
    changes: Option<watch::Receiver<u64>>,
}

impl Decisions {
    /// In this process.
    fn of(pdp: Pdp) -> Self {
        let point: Arc<dyn DecisionPoint> = Arc::new(pdp);
        Self {
            newest: point.clone(),
            point,
            is_remote: false,
            changes: None,
        }
    }
}

/// Starts every role of a configuration. When this returns, all of them answer.
pub async fn start(loaded: &Loaded, clock: SharedClock) -> anyhow::Result<Running> {
    let Loaded { base, config, .. } = loaded;
    if let Some(issue) = config.check_topology().into_iter().next() {
        bail!("{issue}");
    }
    let wall_clock = {
        let clock = clock.clone();
        Arc::new(move || clock.now().as_millis())
    };
    let metrics = Metrics::new();
    let shared = Shared {
        traces: open_traces(config, base, &clock, &metrics)?,
        store: store::open(&config.store, base, wall_clock)
            .await
            .context("cannot open the store")?,
        clock,
        metrics,
        health: Health::new(),
        tasks: Tasks::new(),
    };
    let mut addresses = Addresses::default();
    let local_pdp = start_pdp(config, base, &shared, &mut addresses).await?;
    let decisions = match (local_pdp, &config.connect.pdp) {
        (Some(pdp), _) => Some(Decisions::of(pdp)),
        (None, Some(remote)) => Some(connect_pdp(remote, base, &shared)?),
        (None, None) => None,
    };
    let newest = decisions.as_ref().map(|decisions| decisions.newest.clone());
    let local_tokens = start_token_service(config, base, &shared, newest, &mut addresses).await?;
    if let Some(upstream) = &config.demo_upstream {
        let listener = bind(upstream.listen, "demo_upstream.listen").await?;
        addresses.demo_upstream = Some(listener.local_addr()?);
        spawn_server(&shared.tasks, listener, demo_upstream::router());
    }
    let listener = bind(config.admin.listen, "admin.listen").await?;
    addresses.admin = Some(listener.local_addr()?);
    let gateway = start_gateway(config, base, &shared, decisions, local_tokens.as_ref())?;
    let (mut admin, shown) = admin_of_process(loaded, &shared);
    addresses.gateway = gateway.as_ref().map(RunningGateway::addr);
    let gateway = match gateway {
        Some(gateway) => Some(administered(&mut admin, loaded, gateway, (&shared, shown))?),
        None => None,
    };
    let admin = administration::described(admin);
    let admin = admin_host::guarded(admin, &config.admin.hosts);
    spawn_server(&shared.tasks, listener, admin);
    Ok(Running {
        addresses,
        tasks: shared.tasks,
        traces: shared.traces,
        gateway,
    })
}

/// What can be asked of every process, and what is shown of its configuration.
fn admin_of_process(loaded: &Loaded, shared: &Shared) -> (Router, Shown) {
    let admin = Admin {
        health: shared.health.clone(),
        metrics: shared.metrics.clone(),
    };
    let shown = Shown::new(loaded);
    let level = Level::new(loaded.config.log.level, &shared.tasks);
    let router = admin::router(admin)
        .merge(shown.clone().router())
        .merge(level.router());
    (router, shown)
}

/// Adds to the admin listener what can be asked of a gateway.
fn administered(
    admin: &mut Router,
    loaded: &Loaded,
    gateway: RunningGateway,
    (shared, shown): (&Shared, Shown),
) -> anyhow::Result<Reloader> {
    let (explainer, caches) = (gateway.explainer(), gateway.caches());
    let inspector = gateway.inspector();
    let told = (&shared.metrics, shared.health.clone(), shown);
    let reloader = Reloader::new(loaded, gateway, told)?;
    *admin = std::mem::take(admin)
        .merge(explain::router(explainer))
        .merge(cache_admin::router(caches))
        .merge(administration::of_gateway(inspector))
        .merge(reloader.router());
    Ok(reloader)
}

impl Running {
    /// Reads the configuration file again at every SIGHUP.
    pub fn reload_at_hangups(&self) -> std::io::Result<()> {
        reload::follow_hangups(self.gateway.clone(), &self.tasks)
    }

    /// Finishes what is in flight and stops. False when something had to be cut off.
    pub async fn stop(self) -> bool {
        self.tasks.drain();
        let gateway = match &self.gateway {
            Some(reloader) => reloader.take().await,
            None => None,
        };
        let drained = match gateway {
            Some(gateway) => gateway.finish(PATIENCE).await,
            None => true,
        };
        let finished = self.tasks.finish(PATIENCE).await;
        // The last requests have ended: so have their spans.
        self.traces.finish().await;
        finished && drained
    }
}

fn open_traces(
    config: &FileConfig,
    base: &Path,
    clock: &SharedClock,
    metrics: &Metrics,
) -> anyhow::Result<Traces> {
    let Some(section) = &config.tracing else {
        return Ok(Traces::off());
    };
    let service = Service {
        name: config.service_name(),
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(Traces::open(
        section,
        service,
        base,
        clock.clone(),
        metrics,
    )?)
}

/// The PDP of another process: asked, or decided by its snapshots.
fn connect_pdp(remote: &ConnectPdp, base: &Path, shared: &Shared) -> anyhow::Result<Decisions> {
    let peer = remote.resolve(base).map_err(|issue| anyhow!("{issue}"))?;
    let newest: Arc<dyn DecisionPoint> = Arc::new(HttpDecisionPoint::new(&peer)?);
    let Some(local) = &remote.local else {
        return Ok(Decisions {
            point: newest.clone(),
            newest,
            is_remote: true,
            changes: None,
        });
    };
    let parts = PdpParts {
        store: None,
        ..pdp_parts(shared)
    };
    let local = LocalPdp::open(local, base, &peer, parts)?;
    Ok(Decisions {
        changes: Some(local.changes()),
        point: Arc::new(local),
        newest,
        is_remote: false,
    })
}

fn pdp_parts(shared: &Shared) -> PdpParts {
    PdpParts {
        clock: shared.clock.clone(),
        metrics: shared.metrics.clone(),
        health: shared.health.clone(),
        tasks: shared.tasks.clone(),
        store: Some(shared.store.clone()),
        traces: shared.traces.clone(),
    }
}

async fn start_pdp(
    config: &FileConfig,
    base: &Path,
    shared: &Shared,
    addresses: &mut Addresses,
) -> anyhow::Result<Option<Pdp>> {
    let Some(section) = &config.pdp else {
        return Ok(None);
    };
    let pdp = Pdp::open(section, base, pdp_parts(shared))?;
    await_store(shared).await;
    pdp.restore_entities().await?;
    pdp.follow_entities();
    pdp.watch();
    pdp.hand_out();
    announce_policy_changes(&pdp, shared);
    let listener = bind(section.listen, "pdp.listen").await?;
    addresses.pdp = Some(listener.local_addr()?);
    spawn_server_by(&shared.tasks, listener, pdp.tls(), pdp.api());
    Ok(Some(pdp))
}

/// Tells every gateway that decisions made so far are void, now (this process may have replaced
/// one with other policies) and at every swap.
fn announce_policy_changes(pdp: &Pdp, shared: &Shared) {
    let mut changes = pdp.changes();
    let store = shared.store.clone();
    let draining = shared.tasks.draining();
    shared.tasks.spawn(async move {
        loop {
            let snapshot = changes.borrow_and_update().clone();
            let event = PolicyEvent::PolicyChanged {
                version: snapshot.version,
                epoch: snapshot.epoch,
            };
            let body = Bytes::from(serde_json::to_vec(&event).unwrap_or_default());
            // An event that is not appended would leave stale permits in every cache.
            while let Err(error) = store.append(EVENT_LOG, body.clone()).await {
                tracing::error!(%error, "cannot announce a policy change; trying again");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(200)) => {}
                    () = draining.cancelled() => return,
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = draining.cancelled() => return,
            }
        }
    });
}

/// Services that are started together come up in any order; the token service cannot begin without
/// its signing keys. Whether the store is there in the end, its first use tells.
async fn await_store(shared: &Shared) {
    let asking = async {
        while let Err(error) = shared.store.ping().await {
            tracing::warn!(%error, "waiting for the store");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, asking).await;
}

async fn start_token_service(
    config: &FileConfig,
    base: &Path,
    shared: &Shared,
    decisions: Option<Arc<dyn DecisionPoint>>,
    addresses: &mut Addresses,
) -> anyhow::Result<Option<TokenService>> {
    let Some(section) = &config.token_service else {
        return Ok(None);
    };
    let parts = TokenServiceParts {
        store: shared.store.clone(),
        decisions: decisions.ok_or_else(|| anyhow!("the token service has no PDP"))?,
        event_log: EVENT_LOG.to_owned(),
        clock: shared.clock.clone(),
        metrics: shared.metrics.clone(),
        health: shared.health.clone(),
        tasks: shared.tasks.clone(),
    };
    await_store(shared).await;
    let service = TokenService::open(section, base, parts).await?;
    let listener = bind(section.listen, "token_service.listen").await?;
    addresses.token_service = Some(listener.local_addr()?);
    let traces = (&shared.traces, trace_server(section));
    let router = traces.0.layer(service.router(), traces.1.clone());
    spawn_server_by(&shared.tasks, listener, service.tls(), router);
    if let (Some(mtls), Some((tls, router))) = (&section.mtls, service.mtls()) {
        let listener = bind(mtls.listen, "token_service.mtls.listen").await?;
        addresses.token_service_mtls = Some(listener.local_addr()?);
        let router = traces.0.layer(router, traces.1);
        spawn_server_by(&shared.tasks, listener, Some(tls), router);
    }
    Ok(Some(service))
}

fn start_gateway(
    config: &FileConfig,
    base: &Path,
    shared: &Shared,
    decisions: Option<Decisions>,
    local_tokens: Option<&TokenService>,
) -> anyhow::Result<Option<RunningGateway>> {
    let Some(gateway_config) = config.gateway() else {
        return Ok(None);
    };
    let introspector: Option<Arc<dyn TokenIntrospector>> =
        match (local_tokens, &config.connect.token_service) {
            _ if !gateway_config.needs_token_service() => None,
            (Some(service), _) => {
                let introspector = service.introspector(LOCAL_RESOURCE_SERVER);
                Some(introspector.ok_or_else(|| {
                    anyhow!(
                        "`token_service.resource_servers` has no `{LOCAL_RESOURCE_SERVER}`, \
                         which the gateway in this process acts as"
                    )
                })?)
            }
            (None, Some(remote)) => {
                let remote = remote.resolve(base).map_err(|issue| anyhow!("{issue}"))?;
                Some(Arc::new(HttpTokenIntrospector::new(&remote)?))
            }
            (None, None) => bail!("the gateway has no token service"),
        };
    let decisions = decisions.ok_or_else(|| anyhow!("the gateway has no PDP"))?;
    // The shared cache pays only where an answer would otherwise cross the network.
    let shared_if = |remote: bool| remote.then(|| shared.store.clone());
    let parts = GatewayParts {
        introspector,
        decisions: decisions.point,
        events: shared.store.clone(),
        event_log: EVENT_LOG.to_owned(),
        proofs: shared.store.clone(),
        rates: shared.store.clone(),
        shared_tokens: shared_if(local_tokens.is_none()),
        shared_decisions: shared_if(decisions.is_remote),
        clock: shared.clock.clone(),
        metrics: shared.metrics.clone(),
        health: shared.health.clone(),
        tasks: shared.tasks.clone(),
        traces: shared.traces.clone(),
    };
    let listen = gateway_config.gateway.listen;
    let gateway = Gateway::open(&gateway_config, base, parts)?;
    if let Some(changes) = decisions.changes {
        gateway.follow_decisions(changes);
    }
    Ok(Some(
        gateway
            .start(listen)
            .with_context(|| format!("cannot listen on `{listen}`"))?,
    ))
}

/// As spans name the token service.
fn trace_server(section: &TokenServiceConfig) -> Server {
    Server::of(Some(&section.issuer), section.listen, section.tls.is_some())
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on `{address}` (`{key}`)"))
}

fn spawn_server(tasks: &Tasks, listener: TcpListener, api: impl serve::Api) {
    tasks.spawn(serve::serve(listener, api, tasks.clone()));
}

/// By TLS, where there is some.
fn spawn_server_by(tasks: &Tasks, listener: TcpListener, tls: Option<Tls>, api: impl serve::Api) {
    match tls {
        Some(tls) => {
            tls.follow(tasks);
            tasks.spawn(serve::serve_tls(listener, tls, api, tasks.clone()));
        }
        None => spawn_server(tasks, listener, api),
    }
}
