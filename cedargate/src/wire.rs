//! Wiring: builds the roles that a configuration names and connects them, in process where both
//! are here, over HTTP where one is elsewhere. Nothing else knows which it is.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use authzen::{DecisionPoint, HttpDecisionPoint, PolicyEvent};
use axum::Router;
use bytes::Bytes;
use gateway_pep::{Acme, Gateway, GatewayParts, RunningGateway};
use oauth::{HttpTokenIntrospector, TokenIntrospector};
use pdp::{LocalPdp, Pdp, PdpParts};
use service_kit::admin::{self, Admin};
use service_kit::traces::Server;
use service_kit::{Health, Listeners, Metrics, SharedClock, Tasks, Tls, Traces, serve};
use store::Store;
use token_service::{TokenService, TokenServiceConfig, TokenServiceParts};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::config::Shown;
use crate::admin::level::Level;
use crate::config::{ConnectPdp, FileConfig, LOCAL_RESOURCE_SERVER, Loaded};
use crate::reload::{Reloader, Reloaders};
use crate::{
    acme_challenges, admin as administration, admin_host, cache_admin, demo_upstream, drain,
    explain,
};

/// The event log that token service and PDP write and gateways follow.
pub const EVENT_LOG: &str = "events";

/// What a process needs to begin is waited for so long.
const PATIENCE: Duration = Duration::from_secs(30);

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
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    /// What goes on until nothing is answered any more: who decides and who knows tokens has to be up to date as long
    /// as something is.
    pub(crate) tasks: Tasks,
    /// What answers. It drains first.
    pub(crate) serving: Tasks,
    pub(crate) traces: Traces,
    pub(crate) listeners: Listeners,
}

/// What was started.
pub(crate) struct Roles {
    pub(crate) addresses: Addresses,
    pub(crate) servers: Vec<Serving>,
    pub(crate) reloader: Option<Reloader>,
    /// Cancelled when somebody asks for the end at the admin listener.
    pub(crate) asked_to_end: CancellationToken,
}

/// A server that is bound, and accepts when it is run. What starts after it may fail, and whoever had been accepted
/// would be lost.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is bound so far.
#[derive(Default)]
struct Doors {
    addresses: Addresses,
    servers: Vec<Serving>,
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

/// Opens every role of a configuration and binds what it listens on. The gateway answers when this returns; the others
/// do when their servers run.
pub(crate) async fn start_roles(loaded: &Loaded, shared: &Shared) -> anyhow::Result<Roles> {
    let Loaded { base, config, .. } = loaded;
    let mut doors = Doors::default();
    let local_pdp = start_pdp(config, base, shared, &mut doors).await?;
    let decisions = match (local_pdp, &config.connect.pdp) {
        (Some(pdp), _) => Some(Decisions::of(pdp)),
        (None, Some(remote)) => Some(connect_pdp(remote, base, shared)?),
        (None, None) => None,
    };
    let newest = decisions.as_ref().map(|decisions| decisions.newest.clone());
    let local_tokens = start_token_service(config, base, shared, newest, &mut doors).await?;
    if let Some(upstream) = &config.demo_upstream {
        let listener = shared.bind(upstream.listen, "demo_upstream.listen").await?;
        doors.addresses.demo_upstream = Some(listener.local_addr()?);
        doors.serve(shared, listener, demo_upstream::router());
    }
    let listener = shared.bind(config.admin.listen, "admin.listen").await?;
    doors.addresses.admin = Some(listener.local_addr()?);
    let (mut admin, shown) = admin_of_process(loaded, shared);
    let asked_to_end = CancellationToken::new();
    admin = admin.merge(drain::router(asked_to_end.clone()));
    let gateway = start_gateway(
        config,
        base,
        shared,
        (decisions, local_tokens.as_ref()),
        &mut doors,
    );
    let gateway = gateway.await?;
    doors.addresses.gateway = gateway.as_ref().map(RunningGateway::addr);
    let reloader = administered(&mut admin, loaded, (gateway, local_tokens), (shared, shown))?;
    let admin = administration::described(admin);
    let admin = admin_host::guarded(admin, &config.admin.hosts);
    doors.serve(shared, listener, admin);
    Ok(Roles {
        addresses: doors.addresses,
        servers: doors.servers,
        reloader,
        asked_to_end,
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

impl Shared {
    async fn bind(&self, address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
        let bound = self.listeners.bind(key, address).await;
        bound.with_context(|| format!("cannot listen on `{address}` (`{key}`)"))
    }
}

impl Doors {
    fn serve(&mut self, shared: &Shared, listener: TcpListener, api: impl serve::Api) {
        let tasks = shared.serving.clone();
        self.servers
            .push(Box::pin(serve::serve(listener, api, tasks)));
    }

    /// By TLS, where there is some.
    fn serve_by(
        &mut self,
        shared: &Shared,
        listener: TcpListener,
        tls: Option<Tls>,
        api: impl serve::Api,
    ) {
        match tls {
            Some(tls) => {
                tls.follow(&shared.serving);
                let tasks = shared.serving.clone();
                self.servers
                    .push(Box::pin(serve::serve_tls(listener, tls, api, tasks)));
            }
            None => self.serve(shared, listener, api),
        }
    }
}

/// Adds to the admin listener what can be asked of a gateway, and what can be reloaded.
fn administered(
    admin: &mut Router,
    loaded: &Loaded,
    (gateway, tokens): (Option<RunningGateway>, Option<TokenService>),
    (shared, shown): (&Shared, Shown),
) -> anyhow::Result<Option<Reloader>> {
    if let Some(gateway) = &gateway {
        *admin = std::mem::take(admin)
            .merge(explain::router(gateway.explainer()))
            .merge(cache_admin::router(gateway.caches()))
            .merge(administration::of_gateway(gateway.inspector()));
    }
    if gateway.is_none() && tokens.is_none() {
        return Ok(None);
    }
    let told = (&shared.metrics, shared.health.clone(), shown);
    let reloader = Reloader::new(loaded, Reloaders { gateway, tokens }, told)?;
    *admin = std::mem::take(admin).merge(reloader.router());
    Ok(Some(reloader))
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
    doors: &mut Doors,
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
    let listener = shared.bind(section.listen, "pdp.listen").await?;
    doors.addresses.pdp = Some(listener.local_addr()?);
    doors.serve_by(shared, listener, pdp.tls(), pdp.api());
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
    doors: &mut Doors,
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
    let listener = shared.bind(section.listen, "token_service.listen").await?;
    doors.addresses.token_service = Some(listener.local_addr()?);
    let traces = (&shared.traces, trace_server(section));
    let router = traces.0.layer(service.router(), traces.1.clone());
    doors.serve_by(shared, listener, service.tls(), router);
    if let (Some(mtls), Some((tls, router))) = (&section.mtls, service.mtls()) {
        let listener = shared
            .bind(mtls.listen, "token_service.mtls.listen")
            .await?;
        doors.addresses.token_service_mtls = Some(listener.local_addr()?);
        let router = traces.0.layer(router, traces.1);
        doors.serve_by(shared, listener, Some(tls), router);
    }
    Ok(Some(service))
}

async fn start_gateway(
    config: &FileConfig,
    base: &Path,
    shared: &Shared,
    (decisions, local_tokens): (Option<Decisions>, Option<&TokenService>),
    doors: &mut Doors,
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
        acme: open_acme(&gateway_config, base, shared, doors).await?,
        clock: shared.clock.clone(),
        metrics: shared.metrics.clone(),
        health: shared.health.clone(),
        tasks: shared.serving.clone(),
        traces: shared.traces.clone(),
    };
    let listen = gateway_config.gateway.listen;
    let gateway = Gateway::open(&gateway_config, base, parts)?;
    if let Some(changes) = decisions.changes {
        gateway.follow_decisions(changes);
    }
    Ok(Some(
        gateway
            .start_on(listen, &shared.listeners)
            .with_context(|| format!("cannot listen on `{listen}`"))?,
    ))
}

/// As spans name the token service.
fn trace_server(section: &TokenServiceConfig) -> Server {
    Server::of(Some(&section.issuer), section.listen, section.tls.is_some())
}

/// Who gets certificates, with what there are; and where authorities look.
async fn open_acme(
    config: &gateway_pep::Config,
    base: &Path,
    shared: &Shared,
    doors: &mut Doors,
) -> anyhow::Result<Option<Acme>> {
    let told = (shared.clock.clone(), &shared.metrics, shared.health.clone());
    let Some(acme) = Acme::open(config, base, shared.store.clone(), told)? else {
        return Ok(None);
    };
    await_store(shared).await;
    acme.load().await;
    let listen = config.gateway.acme.as_ref().and_then(|it| it.http_listen);
    if let Some(listen) = listen {
        let listener = shared.bind(listen, "gateway.acme.http_listen").await?;
        doors.serve(shared, listener, acme_challenges::router(acme.clone()));
    }
    Ok(Some(acme))
}
