//! The gateway: opened from its configuration and the services that it asks, then started; and given another
//! configuration while it runs.

mod assemble;
mod lines;
mod listen;
mod reload;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use authzen::DecisionPoint;
use oauth::TokenIntrospector;
use service_kit::tls::Issuance;
use service_kit::{
    ConfigIssue, Health, LineSink, Listeners, Metrics, SharedClock, Tasks, Traces, health,
};
use store::Store;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acme::{Acme, AcmePlan};
use crate::config::Config;
use crate::error::GatewayError;
use crate::events::{Change, Follower};
use crate::explain::Explainer;
use crate::inspect::Inspector;
use crate::plan::Plan;
use crate::purge::{Caches, Remembering};
use crate::serve::{self, Fate, Orders, Succession};
use crate::worker::Seed;
use assemble::{assemble, open_tls, seed};
use lines::{Lines, Sinks};
use listen::Bound;
use reload::Fixed;
pub use reload::Prepared;

/// A Policy Enforcement Point in front of upstreams, ready to be started.
#[derive(Debug)]
pub struct Gateway {
    seed: Seed,
    access_log: LineSink,
    lines: Lines,
    follower: Follower,
    caches: Caches,
    parts: GatewayParts,
    fixed: Fixed,
}

/// What a gateway works with.
#[derive(Debug, Clone)]
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
    /// Gets certificates. None: those of files are all.
    pub acme: Option<Acme>,
    pub clock: SharedClock,
    pub metrics: Metrics,
    pub health: Health,
    pub tasks: Tasks,
    pub traces: Traces,
}

/// A gateway that serves. Ends when the process's tasks drain.
#[derive(Debug)]
pub struct RunningGateway {
    addr: SocketAddr,
    forward_auth: Vec<SocketAddr>,
    explainer: Explainer,
    caches: Caches,
    threads: Vec<Thread>,
    lines: Lines,
    idle: TaskTracker,
    parting: CancellationToken,
    abort: CancellationToken,
    parts: GatewayParts,
    /// What goes on for the configuration of now.
    following: Tasks,
    fixed: Fixed,
}

/// A worker's thread, and how it is given another configuration.
#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    successions: mpsc::Sender<Succession>,
}

impl Gateway {
    /// Everything that is wrong with a configuration.
    pub fn check(config: &Config, base: &Path) -> Vec<ConfigIssue> {
        let mut issues = Plan::compile(config, base, None).err().unwrap_or_default();
        issues.extend(AcmePlan::compile(config, base).err().unwrap_or_default());
        let issuance = config.gateway.acme.as_ref().map(|_| Issuance::new(None));
        issues.extend(open_tls(config, base, issuance).err());
        issues
    }

    /// Compiles the configuration. Nothing is asked, bound or followed yet. Paths in the
    /// configuration are relative to `base`.
    pub fn open(config: &Config, base: &Path, parts: GatewayParts) -> Result<Self, GatewayError> {
        let core = Arc::new(assemble(config, base, &parts, None)?);
        let mut lines = Lines::default();
        let Sinks {
            access_log,
            notifications,
            open,
        } = lines.open(&config.gateway, base)?;
        lines.keep(open);
        let follower = Follower {
            store: parts.events.clone(),
            log: parts.event_log.clone(),
            feed: core.feed.clone(),
            clock: parts.clock.clone(),
            health: parts.health.clone(),
            lag: core.metrics.revocation_lag.clone(),
            received: core.metrics.events.clone(),
        };
        let caches = Caches {
            of: Arc::new(RwLock::new(Remembering::of(core.clone(), config))),
            events: parts.events.clone(),
            event_log: parts.event_log.clone(),
        };
        Ok(Self {
            caches,
            seed: seed(core, config, notifications, &parts)?,
            access_log,
            lines,
            follower,
            parts,
            fixed: Fixed::of(config),
        })
    }

    /// Forgets what was decided whenever this changes: for a decision point in this process, whose changes come
    /// at another time than the event log tells of them. Must be called within a runtime.
    pub fn follow_decisions(&self, mut changes: watch::Receiver<u64>) {
        let core = self.seed.core.clone();
        let draining = self.parts.tasks.draining();
        self.parts.tasks.spawn(async move {
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
        self.start_on(listen, &Listeners::default())
    }

    /// The same, on listeners that may have been handed over, and that may be.
    pub fn start_on(
        self,
        listen: SocketAddr,
        known: &Listeners,
    ) -> Result<RunningGateway, GatewayError> {
        let Bound {
            addr,
            forward_auth,
            listeners,
        } = Bound::of(listen, &self.fixed, known)?;
        let tasks = &self.parts.tasks;
        let (idle, abort) = (TaskTracker::new(), CancellationToken::new());
        let parting = CancellationToken::new();
        let mut threads = Vec::with_capacity(listeners.len());
        let (explaining, jobs) = mpsc::channel(1);
        let mut jobs = Some(jobs);
        for (index, listeners) in listeners.into_iter().enumerate() {
            let fate = Fate {
                draining: tasks.draining(),
                parting: parting.clone(),
                abort: abort.clone(),
                token: idle.token(),
                idle: idle.clone(),
            };
            let (successions, receiver) = mpsc::channel(1);
            let orders = Orders {
                jobs: jobs.take(),
                successions: receiver,
            };
            let (seed, sink) = (self.seed.clone(), self.access_log.clone());
            let handle = serve::spawn(index, seed, listeners, sink, (fate, orders));
            let handle = handle.map_err(|error| {
                abort.cancel();
                GatewayError::Worker(error)
            })?;
            threads.push(Thread {
                handle,
                successions,
            });
        }
        idle.close();
        let following = reload::follow(&self.seed.core, &self.parts);
        reload::begin(&self.seed.core, &self.parts, &following);
        follow_events(self.follower, &idle, tasks);
        if let Some(acme) = &self.parts.acme {
            acme.follow(tasks);
        }
        self.parts.health.set("gateway", health::Status::Ready);
        Ok(RunningGateway {
            addr,
            forward_auth,
            explainer: Explainer {
                worker: explaining,
                decisions: self.seed.decisions.clone(),
            },
            caches: self.caches,
            threads,
            lines: self.lines,
            idle,
            parting,
            abort,
            parts: self.parts,
            following,
            fixed: self.fixed,
        })
    }
}

/// Follows until no worker has anything to answer: shutdown waits for the workers, and the workers need the
/// announcements.
fn follow_events(follower: Follower, idle: &TaskTracker, tasks: &Tasks) {
    let stop = CancellationToken::new();
    tasks.spawn(follower.run(stop.clone()));
    let waiting = idle.clone();
    tasks.spawn(async move {
        waiting.wait().await;
        stop.cancel();
    });
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

    /// What it goes by, now and after every reload.
    pub fn inspector(&self) -> Inspector {
        Inspector::of(&self.caches)
    }

    /// What it remembers, and how it is made to forget.
    pub fn caches(&self) -> Caches {
        self.caches.clone()
    }

    /// Takes nothing new, finishes the requests in flight and writes the last log line. False
    /// when something had to be cut off because `patience` was over.
    pub async fn finish(self, patience: Duration) -> bool {
        self.parting.cancel();
        self.end(patience).await
    }

    /// The same, where another process serves already: tunnels go on until `patience` is over.
    pub async fn finish_succeeded(self, patience: Duration) -> bool {
        self.end(patience).await
    }

    async fn end(self, patience: Duration) -> bool {
        self.parts.tasks.drain();
        let mut in_time = tokio::time::timeout(patience, self.idle.wait())
            .await
            .is_ok();
        if !in_time && !self.parting.is_cancelled() {
            self.parting.cancel();
            in_time = tokio::time::timeout(FAREWELL, self.idle.wait())
                .await
                .is_ok();
        }
        self.abort.cancel();
        let (threads, lines) = (self.threads, self.lines);
        let joined = tokio::task::spawn_blocking(move || {
            let mut threads = threads.into_iter();
            let well = threads.all(|thread| thread.handle.join().is_ok());
            lines.join();
            well
        });
        in_time && joined.await.unwrap_or(false)
    }
}

/// Tunnels that are told to end say so to both sides.
const FAREWELL: Duration = Duration::from_secs(2);
