//! One thread, one core: what the requests that it serves share.
//!
//! Everything a request touches on its way belongs to its worker; workers share only what never
//! changes, the feed of announcements, and metrics.

mod addresses;
mod calls;
pub(crate) mod client;
pub(crate) mod connection;
mod http1;
mod http2;
pub(crate) mod serve;
mod transport;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use authzen::DecisionPoint;
use service_kit::LineSink;
use service_kit::random::RandomError;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access_log::AccessLog;
use crate::cache::decisions::{DecisionCache, DecisionLimits};
use crate::cache::keyed::KeyedHash;
use crate::cache::sealed::Sealed;
use crate::cache::tokens::{TokenCache, TokenLimits};
use crate::cache::validity::Validity;
use crate::cache::{Epochs, Moment};
use crate::core::Core;
use crate::events::Change;
use crate::login::cache::SessionCache;
use crate::login::store::SessionStore;
use crate::names::Names;
use crate::purge::Purge;
use crate::streams::Streams;
use crate::upstream::Pool;
use crate::upstream::roster::Roster;
use addresses::Addresses;

/// What the requests of one thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) core: Arc<Core>,
    pub(crate) tokens: TokenCache,
    pub(crate) decisions: DecisionCache,
    pub(crate) sessions: SessionCache,
    pub(crate) pools: Vec<Rc<Pool>>,
    pub(crate) names: Names,
    pub(crate) access_log: AccessLog,
    /// In the order of their names.
    pub(crate) notifications: Vec<LineSink>,
    /// For decision keys.
    pub(crate) key_buffer: RefCell<Vec<u8>>,
    pub(crate) streams: Streams,
    pub(crate) validity: Rc<RefCell<Validity>>,
    /// Every answer is the last of its connection.
    draining: Cell<bool>,
    /// Connections end as soon as they have nothing to do; tunnels at once.
    closing: CancellationToken,
    connections: RefCell<HashMap<u64, Option<Waker>>>,
    addresses: Addresses,
    last_connection: Cell<u64>,
    all_closed: Notify,
    gauged: Cell<Gauged>,
}

/// What was last added to the process-wide gauges.
#[derive(Debug, Clone, Copy, Default)]
struct Gauged {
    tokens: i64,
    decisions: i64,
    dropped: u64,
}

/// A connection or a tunnel, as long as it is kept. Its place is given back however it ends: a panic, too, ends no more
/// than its connection.
#[derive(Debug)]
pub(crate) struct Open {
    worker: Rc<Worker>,
    /// None: it counts for no address.
    peer: Option<IpAddr>,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(peer) = self.peer {
            self.worker.addresses.leave(peer);
        }
        self.worker.close_connection(self.number);
    }
}

/// What a worker grows from, on its own thread.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    pub(crate) core: Arc<Core>,
    pub(crate) decisions: Arc<dyn DecisionPoint>,
    pub(crate) notifications: Vec<LineSink>,
    pub(crate) shared_tokens: Option<Sealed>,
    pub(crate) shared_decisions: Option<Sealed>,
    /// None: nobody logs in here.
    pub(crate) sessions: Option<SessionStore>,
    pub(crate) token_limits: TokenLimits,
    pub(crate) decision_limits: DecisionLimits,
    /// Longer than anything that was fetched before a revocation can be in a cache.
    pub(crate) remember_revocations: Duration,
    pub(crate) clock_skew: Duration,
}

impl Seed {
    /// A worker. Each has its own secret hash function.
    pub(crate) fn worker(&self, access_log: AccessLog) -> Result<Worker, RandomError> {
        let hash = KeyedHash::random()?;
        let validity = Rc::new(RefCell::new(Validity::new(
            hash,
            self.remember_revocations,
            self.clock_skew,
        )));
        let tokens = TokenCache::new(
            self.core.plan.issuers.clone(),
            self.shared_tokens.clone().map(Sealed::access),
            self.token_limits,
            (hash, self.core.plan.cache_secret.clone()),
            validity.clone(),
        );
        let decisions = DecisionCache::new(
            self.decisions.clone(),
            self.shared_decisions.clone().map(Sealed::access),
            self.decision_limits,
            (hash, self.core.plan.clone()),
            validity.clone(),
        );
        let core = self.core.clone();
        let sessions = SessionCache::new(core.clone(), self.sessions.clone(), hash);
        Ok(Worker::new(
            core,
            (tokens, decisions, sessions),
            validity,
            Names::new()?,
            (access_log, self.notifications.clone()),
        ))
    }
}

impl Worker {
    pub(crate) fn new(
        core: Arc<Core>,
        (tokens, decisions, sessions): (TokenCache, DecisionCache, SessionCache),
        validity: Rc<RefCell<Validity>>,
        names: Names,
        (access_log, notifications): (AccessLog, Vec<LineSink>),
    ) -> Self {
        let pool = |(upstream, roster): (usize, &Arc<Roster>)| {
            Pool::new(
                core.plan.clone(),
                (upstream, roster.clone()),
                core.metrics.clone(),
            )
        };
        Self {
            addresses: Addresses::new(core.max_connections_per_address),
            pools: core.rosters.iter().enumerate().map(pool).collect(),
            core,
            tokens,
            decisions,
            sessions,
            names,
            access_log,
            notifications,
            key_buffer: RefCell::default(),
            streams: Streams::default(),
            validity,
            draining: Cell::new(false),
            closing: CancellationToken::new(),
            connections: RefCell::default(),
            last_connection: Cell::new(0),
            all_closed: Notify::new(),
            gauged: Cell::default(),
        }
    }

    /// Now, and what caches may be used for: everything announced is applied before.
    pub(crate) fn moment(&self) -> Moment {
        let (instant, unix) = (Instant::now(), self.core.clock.now());
        let feed = &self.core.feed;
        // SECURITY: first whether we hear, then what we heard (see `events`).
        let trusted = feed.is_heard(instant);
        let mut validity = self.validity.borrow_mut();
        if feed.has_news(validity.cursor) {
            let (changes, cursor) = feed.news(validity.cursor, unix);
            for change in &changes {
                validity.apply(change, unix);
                self.sessions.apply(change);
                if let Change::Purge { purge, .. } = change {
                    self.purge(purge);
                }
            }
            validity.cursor = cursor;
        }
        Moment {
            instant,
            unix,
            trusted,
            epochs: Epochs {
                tokens: validity.tokens().generation,
                decisions: validity.decisions().generation,
                purges: validity.purges(),
            },
        }
    }

    fn purge(&self, purge: &Purge) {
        self.tokens.purge(purge);
        let routes = &self.core.plan.routes;
        self.decisions.purge(purge, |route| {
            let template = routes.get(route).map(|route| &*route.template);
            matches!(purge, Purge::Route(purged) if template == Some(purged.as_str()))
        });
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Resolves for tunnels when they must end.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Counts a tunnel among the connections, of which its own is none any more.
    pub(crate) fn open_tunnel(self: &Rc<Self>, peer: IpAddr) -> Open {
        self.addresses.stay(peer);
        self.open_connection(Some(peer))
    }

    /// `peer`: has been counted.
    fn open_connection(self: &Rc<Self>, peer: Option<IpAddr>) -> Open {
        let number = self.last_connection.get().wrapping_add(1);
        self.last_connection.set(number);
        self.connections.borrow_mut().insert(number, None);
        self.core.metrics.connections.inc();
        Open {
            worker: self.clone(),
            peer,
            number,
        }
    }

    fn close_connection(&self, number: u64) {
        self.core.metrics.connections.dec();
        self.connections.borrow_mut().remove(&number);
        if self.connections.borrow().is_empty() {
            self.all_closed.notify_waiters();
        }
    }

    /// A connection that is waiting will be woken when it should close.
    fn wake_on_close(&self, number: u64, waker: &Waker) {
        if let Some(slot) = self.connections.borrow_mut().get_mut(&number) {
            *slot = Some(waker.clone());
        }
    }

    /// Nothing new is taken on. Where many requests are answered on one connection, its client is told.
    fn drain(&self) {
        self.draining.set(true);
        self.wake_connections();
    }

    fn close(&self) {
        self.closing.cancel();
        self.wake_connections();
    }

    fn wake_connections(&self) {
        for waker in self.connections.borrow().values().flatten() {
            waker.wake_by_ref();
        }
    }

    async fn wait_until_closed(&self) {
        loop {
            let closed = self.all_closed.notified();
            if self.connections.borrow().is_empty() {
                return;
            }
            closed.await;
        }
    }

    fn update_gauges(&self) {
        self.pools.iter().for_each(|pool| pool.update_gauges());
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        let before = self.gauged.get();
        let now = Gauged {
            tokens: count(self.tokens.len()),
            decisions: count(self.decisions.len()),
            dropped: self.access_log.dropped(),
        };
        self.gauged.set(now);
        let metrics = &self.core.metrics;
        metrics.token_entries.add(now.tokens - before.tokens);
        metrics
            .decision_entries
            .add(now.decisions - before.decisions);
        let told = self
            .notifications
            .iter()
            .zip(&metrics.notifications_dropped);
        for (sink, dropped) in told {
            dropped.inc_by(sink.dropped().saturating_sub(dropped.get()));
        }
        // The count belongs to the sink, which all workers share: only ever raise it.
        let known = metrics.log_dropped.get();
        metrics
            .log_dropped
            .inc_by(now.dropped.saturating_sub(known));
    }
}
