//! One thread, one core: what the requests that it serves share.
//!
//! Everything a request touches on its way belongs to its worker; workers share only what never
//! changes, the feed of announcements, and metrics.

mod addresses;
pub(crate) mod connection;
pub(crate) mod doors;
pub(crate) mod spare;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use authzen::DecisionPoint;
use service_kit::LineSink;
use service_kit::random::RandomError;
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
use crate::events::{Change, Purge};
use crate::login::store::SessionStore;
use crate::names::Names;
use crate::session::SessionCache;
use crate::streams::Streams;
use crate::upstream::Pool;
use crate::upstream::roster::Roster;
use doors::Doors;
pub(crate) use doors::Open;

/// What the requests of one thread share that are answered by the same configuration.
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
    /// Shared with whoever comes after it on the thread.
    pub(crate) doors: Rc<Doors>,
    /// By whose configuration requests are answered from now on.
    successor: RefCell<Option<Rc<Worker>>>,
    /// Requests that it answers, and what goes on after their answers.
    in_use: Cell<usize>,
    /// Copies of requests that are under way.
    pub(crate) mirrored: Cell<usize>,
    gauged: Cell<Gauged>,
}

/// What was last added to the process-wide gauges.
#[derive(Debug, Clone, Copy, Default)]
struct Gauged {
    tokens: i64,
    decisions: i64,
    dropped: u64,
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
    ///
    /// `before`: whose clients it takes over.
    pub(crate) fn worker(
        &self,
        access_log: AccessLog,
        before: Option<&Worker>,
    ) -> Result<Worker, RandomError> {
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
            before.map(|before| before.doors.clone()),
        ))
    }
}

impl Worker {
    fn new(
        core: Arc<Core>,
        (tokens, decisions, sessions): (TokenCache, DecisionCache, SessionCache),
        validity: Rc<RefCell<Validity>>,
        names: Names,
        (access_log, notifications): (AccessLog, Vec<LineSink>),
        doors: Option<Rc<Doors>>,
    ) -> Self {
        let doors = doors.unwrap_or_else(|| Rc::new(Doors::new(core.metrics.connections.clone())));
        doors.addresses.limit(core.max_connections_per_address);
        let pool = |(upstream, roster): (usize, &Arc<Roster>)| {
            Pool::new(
                core.plan.clone(),
                (upstream, roster.clone()),
                core.metrics.clone(),
            )
        };
        Self {
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
            doors,
            successor: RefCell::default(),
            in_use: Cell::new(0),
            mirrored: Cell::new(0),
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
        self.doors.is_draining()
    }

    /// Resolves for connections on which nothing has been asked when they must end.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.doors.closing().clone()
    }

    /// Resolves for tunnels when they must end.
    pub(crate) fn parting(&self) -> CancellationToken {
        self.doors.parting().clone()
    }

    /// One more connection, if there may be one more. Whose `is_counted` is not, may have all.
    pub(crate) fn admit(&self, peer: IpAddr, is_counted: bool) -> Option<Open> {
        let (doors, refused) = (&self.doors, &self.core.metrics.refused);
        if doors.open() >= self.core.max_connections {
            refused.full.inc();
            tracing::debug!("too many connections");
            return None;
        }
        let mut open = doors.enter(None);
        if is_counted && !self.count(&mut open, peer) {
            return None;
        }
        Some(open)
    }

    /// Counts one that was counted for nobody for an address, if that may have one more.
    pub(crate) fn count(&self, open: &mut Open, peer: IpAddr) -> bool {
        let is_counted = open.count(peer);
        if !is_counted {
            self.core.metrics.refused.address.inc();
            tracing::debug!(%peer, "too many connections of an address");
        }
        is_counted
    }

    /// Counts a tunnel among the connections, of which its own is none any more.
    pub(crate) fn become_tunnel(&self, peer: IpAddr) -> Open {
        self.doors.become_tunnel(peer)
    }

    /// By whose configuration a request that comes now is answered.
    pub(crate) fn current(self: &Rc<Self>) -> Rc<Self> {
        let Some(mut current) = self.successor() else {
            return self.clone();
        };
        // Those between are needed by nobody: not by a connection that has seen all of them, either.
        while let Some(next) = current.successor() {
            self.successor.replace(Some(next.clone()));
            current = next;
        }
        current
    }

    fn successor(&self) -> Option<Rc<Self>> {
        self.successor.borrow().clone()
    }

    /// A request is answered by it; until [`Worker::leave`], it is needed.
    pub(crate) fn enter(&self) {
        self.in_use.set(self.in_use.get() + 1);
    }

    pub(crate) fn leave(&self) {
        self.in_use.set(self.in_use.get().saturating_sub(1));
    }

    /// Whether nothing goes on that began here.
    pub(crate) fn is_in_use(&self) -> bool {
        self.in_use.get() > 0
    }

    /// Answers no more requests: `next` does. What it remembers is of no more use.
    pub(crate) fn succeeded_by(&self, next: &Rc<Self>) {
        self.successor.replace(Some(next.clone()));
        self.forget();
    }

    fn forget(&self) {
        self.tokens.purge(&Purge::Everything);
        self.decisions.purge(&Purge::Everything, |_| false);
    }

    /// What it has added to gauges is taken off them.
    pub(crate) fn leave_gauges(&self) {
        self.forget();
        self.update_gauges();
    }

    pub(crate) fn update_gauges(&self) {
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
