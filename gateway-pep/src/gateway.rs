//! The gateway: opened from its configuration and the services that it asks, then started.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use authzen::DecisionPoint;
use oauth::TokenIntrospector;
use service_kit::line_sink::{LineTarget, LineWriter};
use service_kit::metrics::MetricError;
use service_kit::random::RandomError;
use service_kit::{
    ConfigIssue, Health, LineSink, Metrics, SharedClock, Tasks, Tls, descriptors, health,
};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use store::{Rates, Store};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::Pace;
use crate::cache::decisions::DecisionLimits;
use crate::cache::sealed::Sealed;
use crate::cache::tokens::TokenLimits;
use crate::capacity::Wanted;
use crate::config::{CacheConfig, Config};
use crate::core::{Core, StreamLimits, Timeouts};
use crate::events::{Change, Feed, Follower};
use crate::explain::Explainer;
use crate::identity::issuer::Kind;
use crate::identity::jwks::Told;
use crate::login::store::SessionStore;
use crate::metrics::GatewayMetrics;
use crate::obligation::rate::Limiter;
use crate::pipeline::canonical::Limits;
use crate::pipeline::respond::REASONS;
use crate::plan::Plan;
use crate::proofs::Proofs;
use crate::purge::Caches;
use crate::upstream::keeper::Keeper;
use crate::upstream::roster::Roster;
use crate::worker::Seed;
use crate::worker::client::Purpose;
use crate::worker::serve::{self, Fate};

/// A Policy Enforcement Point in front of upstreams, ready to be started.
#[derive(Debug)]
pub struct Gateway {
    seed: Seed,
    workers: usize,
    sink: LineSink,
    writers: Vec<LineWriter>,
    follower: Follower,
    caches: Caches,
    health: Health,
    tasks: Tasks,
}

/// What a gateway works with.
#[derive(Debug)]
pub struct GatewayParts {
    /// Swaps tokens. None: no route takes those that need it ([`Config::needs_token_service`]).
    pub introspector: Option<Arc<dyn TokenIntrospector>>,
    /// Decides.
    pub decisions: Arc<dyn DecisionPoint>,
    /// Has the event log that tells what is void, and the sessions of whoever has logged in: one batch ends
    /// a session and tells it.
    pub events: Arc<dyn Store>,
    /// The log's name.
    pub event_log: String,
    /// Remembers which proofs of keys were used: one for all gateways.
    pub proofs: Arc<dyn Store>,
    /// Counts what decisions limit: one for all gateways.
    pub rates: Arc<dyn Store>,
    /// Where swapped tokens are shared; only where asking would cross the network.
    pub shared_tokens: Option<Arc<dyn Store>>,
    /// Where decisions are shared; only where asking would cross the network.
    pub shared_decisions: Option<Arc<dyn Store>>,
    pub clock: SharedClock,
    pub metrics: Metrics,
    pub health: Health,
    pub tasks: Tasks,
}

/// A gateway that serves. Ends when the process's tasks drain.
#[derive(Debug)]
pub struct RunningGateway {
    addr: SocketAddr,
    forward_auth: Vec<SocketAddr>,
    explainer: Explainer,
    caches: Caches,
    threads: Vec<JoinHandle<()>>,
    writers: Vec<LineWriter>,
    idle: TaskTracker,
    abort: CancellationToken,
    tasks: Tasks,
}

/// Why a gateway cannot be.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("{}", list(.0))]
    Config(Vec<ConfigIssue>),
    #[error("a route accepts `token_service`, and there is none to swap tokens at")]
    NoTokenService,
    #[error("cannot listen on `{addr}`")]
    Listen {
        addr: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write lines to `{target:?}`")]
    AccessLog {
        target: LineTarget,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot start a worker")]
    Worker(#[source] std::io::Error),
    #[error(transparent)]
    Metric(#[from] MetricError),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("`gateway.cache.secret` makes no keys")]
    CacheSecret,
}

impl Gateway {
    /// Everything that is wrong with a configuration.
    pub fn check(config: &Config, base: &Path) -> Vec<ConfigIssue> {
        let mut issues = Plan::compile(config, base, None).err().unwrap_or_default();
        issues.extend(open_tls(config, base).err());
        issues
    }

    /// Compiles the configuration. Nothing is asked, bound or followed yet. Paths in the
    /// configuration are relative to `base`.
    pub fn open(config: &Config, base: &Path, parts: GatewayParts) -> Result<Self, GatewayError> {
        if config.needs_token_service() && parts.introspector.is_none() {
            return Err(GatewayError::NoTokenService);
        }
        let introspector = parts.introspector.clone();
        let mut plan = Plan::compile(config, base, introspector).map_err(GatewayError::Config)?;
        let gateway = &config.gateway;
        let workers = match gateway.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let fitting = Wanted::of(config, workers)
            .fit(descriptors::raise())
            .map_err(|issue| GatewayError::Config(vec![issue]))?;
        fitting.bound(&mut plan.upstreams);
        let plan = Arc::new(plan);
        let metrics = Arc::new(GatewayMetrics::new(&parts.metrics, &plan, REASONS)?);
        let lag = Duration::from_millis(gateway.cache.max_event_lag_ms);
        let feed = Arc::new(Feed::new(lag));
        let (sink, log_writer) = open_log(&gateway.access_log, base)?;
        let mut writers = vec![log_writer];
        let mut notifications = Vec::new();
        for target in gateway.notifications.values() {
            let (sink, writer) = open_log(target, base)?;
            notifications.push(sink);
            writers.push(writer);
        }
        let follower = Follower {
            store: parts.events.clone(),
            log: parts.event_log.clone(),
            feed: feed.clone(),
            clock: parts.clock.clone(),
            health: parts.health.clone(),
            lag: metrics.revocation_lag.clone(),
            received: metrics.events.clone(),
        };
        let tls = open_tls(config, base).map_err(|issue| GatewayError::Config(vec![issue]))?;
        let mut core = core(config, &parts, (plan, tls), (metrics, feed));
        core.max_connections = fitting.connections;
        let core = Arc::new(core);
        let caches = Caches {
            core: core.clone(),
            events: parts.events.clone(),
            event_log: parts.event_log.clone(),
            token_capacity: gateway.cache.tokens,
            decision_capacity: gateway.cache.decisions,
        };
        Ok(Self {
            caches,
            seed: seed(core, config, notifications, &parts)?,
            workers,
            sink,
            writers,
            follower,
            health: parts.health,
            tasks: parts.tasks,
        })
    }

    /// Forgets what was decided whenever this changes: for a decision point in this process, whose changes come
    /// at another time than the event log tells of them. Must be called within a runtime.
    pub fn follow_decisions(&self, mut changes: watch::Receiver<u64>) {
        let core = self.seed.core.clone();
        let draining = self.tasks.draining();
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() {
                        return;
                    },
                    () = draining.cancelled() => return,
                }
                let at = core.clock.now();
                core.feed.publish(vec![Change::AllDecisions { at }]);
            }
        });
    }

    /// Binds and serves. Must be called within a runtime: the event log is followed there.
    pub fn start(self, listen: SocketAddr) -> Result<RunningGateway, GatewayError> {
        let (addr, of_clients) = bind(listen, self.workers)?;
        let mut listeners: Vec<_> = of_clients
            .into_iter()
            .map(|listener| vec![(listener, Purpose::Forward)])
            .collect();
        let mut forward_auth = Vec::new();
        for (index, plan) in self.seed.core.plan.forward_auth.iter().enumerate() {
            let (addr, of_proxies) = bind(plan.listen, self.workers)?;
            forward_auth.push(addr);
            for (worker, listener) in listeners.iter_mut().zip(of_proxies) {
                worker.push((listener, Purpose::Ask(index)));
            }
        }
        let (idle, abort) = (TaskTracker::new(), CancellationToken::new());
        let mut threads = Vec::with_capacity(listeners.len());
        let (explaining, jobs) = mpsc::channel(1);
        let mut jobs = Some(jobs);
        for (index, listeners) in listeners.into_iter().enumerate() {
            let fate = Fate {
                draining: self.tasks.draining(),
                abort: abort.clone(),
                token: idle.token(),
                idle: idle.clone(),
            };
            let (seed, sink) = (self.seed.clone(), self.sink.clone());
            let thread = serve::spawn(index, seed, listeners, sink, (fate, jobs.take()));
            threads.push(thread.map_err(|error| {
                abort.cancel();
                GatewayError::Worker(error)
            })?);
        }
        idle.close();
        self.follow_keys();
        if let Some(tls) = &self.seed.core.tls {
            tls.follow(&self.tasks);
        }
        let stop = CancellationToken::new();
        self.keep_endpoints(&stop);
        self.tasks.spawn(self.follower.run(stop.clone()));
        let waiting = idle.clone();
        self.tasks.spawn(async move {
            // Shutdown waits for the workers, and the workers need the announcements.
            waiting.wait().await;
            stop.cancel();
        });
        self.health.set("gateway", health::Status::Ready);
        Ok(RunningGateway {
            addr,
            forward_auth,
            explainer: Explainer {
                worker: explaining,
                decisions: self.seed.decisions.clone(),
            },
            caches: self.caches,
            threads,
            writers: self.writers,
            idle,
            abort,
            tasks: self.tasks,
        })
    }
}

impl Gateway {
    /// Begins to look after where upstreams run.
    fn keep_endpoints(&self, stop: &CancellationToken) {
        let core = &self.seed.core;
        for (index, (plan, roster)) in core.plan.upstreams.iter().zip(&core.rosters).enumerate() {
            let keeper = core
                .metrics
                .upstream(index)
                .and_then(|metrics| Keeper::new(plan, roster, metrics, &self.health));
            if let Some(keeper) = keeper {
                let check = plan.health.check.clone();
                self.tasks.spawn(keeper.run(check, stop.clone()));
            }
        }
    }

    /// Begins to keep the keys of issuers up to date.
    fn follow_keys(&self) {
        let core = &self.seed.core;
        for (index, issuer) in core.plan.issuers.iter().enumerate() {
            let readings = core.metrics.key_readings(index);
            if let (Kind::Jwt(rules), Some(readings)) = (&issuer.kind, readings) {
                let told = Told {
                    issuer: issuer.name.clone(),
                    readings: readings.clone(),
                    health: self.health.clone(),
                };
                rules.keys.clone().follow(told, &self.tasks);
            }
        }
    }
}

impl RunningGateway {
    /// Where it listens: the port that was chosen, where none was given.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where other proxies ask, in the order of the configuration.
    pub fn forward_auth(&self) -> &[SocketAddr] {
        &self.forward_auth
    }

    /// Explains requests to it.
    pub fn explainer(&self) -> Explainer {
        self.explainer.clone()
    }

    /// What it remembers, and how it is made to forget.
    pub fn caches(&self) -> Caches {
        self.caches.clone()
    }

    /// Takes nothing new, finishes the requests in flight and writes the last log line. False
    /// when something had to be cut off because `patience` was over.
    pub async fn finish(self, patience: Duration) -> bool {
        self.tasks.drain();
        let in_time = tokio::time::timeout(patience, self.idle.wait())
            .await
            .is_ok();
        self.abort.cancel();
        let (threads, writers) = (self.threads, self.writers);
        let joined = tokio::task::spawn_blocking(move || {
            let well = threads.into_iter().all(|thread| thread.join().is_ok());
            writers.into_iter().for_each(LineWriter::join);
            well
        });
        in_time && joined.await.unwrap_or(false)
    }
}

fn core(
    config: &Config,
    parts: &GatewayParts,
    (plan, tls): (Arc<Plan>, Option<Tls>),
    (metrics, feed): (Arc<GatewayMetrics>, Arc<Feed>),
) -> Core {
    let gateway = &config.gateway;
    let patience = Duration::from_millis(gateway.timeouts.ask_ms);
    let upstreams = plan.upstreams.iter().enumerate();
    let rosters = upstreams.filter_map(|(index, plan)| {
        let roster = Roster::new(plan, metrics.upstream(index)?);
        Some(Arc::new(roster))
    });
    Core {
        rosters: rosters.collect(),
        proofs: Proofs::new(parts.proofs.clone(), patience),
        limiter: Limiter {
            shared: parts.rates.clone(),
            own: Rates::default(),
            patience,
        },
        realm: gateway.realm.clone(),
        request_limits: Limits {
            target_bytes: gateway.limits.target_bytes,
            body_bytes: gateway.limits.body_bytes,
            fields: gateway.limits.headers,
        },
        body_pace: Pace {
            idle: Duration::from_secs(gateway.timeouts.idle_body_secs),
            bytes_per_sec: gateway.limits.body_bytes_per_sec,
        },
        head_bytes: gateway.limits.head_bytes,
        max_headers: gateway.limits.headers,
        max_connections: gateway.limits.connections,
        max_connections_per_address: gateway.limits.connections_per_address,
        max_streams: gateway.limits.streams,
        h2c: gateway.h2c,
        tls,
        masked_body_bytes: gateway.limits.masked_body_bytes,
        filtered_elements: gateway.limits.filtered_elements,
        question_body_bytes: gateway.limits.question_body_bytes,
        question_resources: gateway.limits.question_resources,
        timeouts: Timeouts::new(&gateway.timeouts),
        streams: StreamLimits::new(&gateway.streams),
        plan,
        metrics,
        feed,
        clock: parts.clock.clone(),
    }
}

fn seed(
    core: Arc<Core>,
    config: &Config,
    notifications: Vec<LineSink>,
    parts: &GatewayParts,
) -> Result<Seed, GatewayError> {
    let cache = &config.gateway.cache;
    let ask = Duration::from_millis(config.gateway.timeouts.ask_ms);
    let (token_limits, decision_limits) = limits(cache, ask);
    let shared_ttl = Duration::from_secs(cache.shared_ttl_secs);
    let sealed = |store: &Option<Arc<dyn Store>>, area: &'static str| {
        let (Some(store), Some(secret)) = (store, &core.plan.cache_secret) else {
            return Ok(None);
        };
        Sealed::new(store.clone(), area, secret, shared_ttl)
            .map(Some)
            .ok_or(GatewayError::CacheSecret)
    };
    let shared_tokens = sealed(&parts.shared_tokens, "gateway-token")?;
    let shared_decisions = sealed(&parts.shared_decisions, "gateway-decision")?;
    let sessions = core.plan.logins.as_ref().map(|logins| {
        let (store, log) = (parts.events.clone(), parts.event_log.clone());
        SessionStore::new(store, log, logins.seal.clone(), ask)
    });
    Ok(Seed {
        sessions,
        decisions: parts.decisions.clone(),
        notifications,
        shared_tokens,
        shared_decisions,
        token_limits,
        decision_limits,
        clock_skew: Duration::from_secs(cache.clock_skew_secs),
        remember_revocations: token_limits.ttl
            + shared_ttl
            + Duration::from_secs(cache.clock_skew_secs)
            + ask * 2,
        core,
    })
}

fn limits(cache: &CacheConfig, ask: Duration) -> (TokenLimits, DecisionLimits) {
    let tokens = TokenLimits {
        capacity: cache.tokens,
        ttl: Duration::from_secs(cache.token_ttl_secs),
        inactive_ttl: Duration::from_secs(cache.inactive_ttl_secs),
        ask,
    };
    let decisions = DecisionLimits {
        capacity: cache.decisions,
        ttl: Duration::from_secs(cache.decision_ttl_secs),
        ask,
    };
    (tokens, decisions)
}

/// Reads certificates and keys, where clients come by TLS.
fn open_tls(config: &Config, base: &Path) -> Result<Option<Tls>, ConfigIssue> {
    let gateway = &config.gateway;
    let Some(tls) = &gateway.tls else {
        return Ok(None);
    };
    if gateway.h2c {
        return Err(
            ConfigIssue::new("`gateway.h2c` is for listeners without TLS")
                .hint("leave it out: by TLS, clients speak HTTP/2 where they want to"),
        );
    }
    Tls::open_named("gateway.tls", tls, base).map(Some)
}

/// One listener a worker, on one port; and which that is.
fn bind(
    listen: SocketAddr,
    workers: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), GatewayError> {
    let listeners = listeners(listen, workers).map_err(|source| GatewayError::Listen {
        addr: listen,
        source,
    })?;
    let bound = listeners.first().map(TcpListener::local_addr);
    Ok((bound.and_then(Result::ok).unwrap_or(listen), listeners))
}

fn listeners(listen: SocketAddr, workers: usize) -> std::io::Result<Vec<TcpListener>> {
    // Sockets that share a port would silently share it with another process, too: ask first.
    if listen.port() != 0 {
        drop(listener(listen, false)?);
    }
    let mut addr = listen;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers.max(1) {
        let listener = listener(addr, true)?;
        addr = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// A connection on which nothing moves is probed after so long, and so often.
const SILENT: Duration = Duration::from_mins(1);
const PROBE: Duration = Duration::from_secs(15);

fn listener(addr: SocketAddr, shares_port: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    socket.set_nonblocking(true)?;
    // Whoever is accepted here has it, too: a client that vanished without a word while nothing was to be sent, as in
    // a tunnel, would have its place for ever.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENT).with_interval(PROBE))?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// Opens what lines go to, and makes its folder.
fn open_log(configured: &LineTarget, base: &Path) -> Result<(LineSink, LineWriter), GatewayError> {
    configured
        .prepared(base)
        .and_then(|target| LineSink::open(&target))
        .map_err(|source| GatewayError::AccessLog {
            target: configured.clone(),
            source,
        })
}

fn list(issues: &[ConfigIssue]) -> String {
    let lines: Vec<String> = issues.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
