//! One thread, one core: a current-thread runtime that accepts, serves and forgets nothing.
//!
//! Everything a request touches on its way belongs to its worker; workers share only what never
//! changes, the feed of announcements, and metrics.

pub(crate) mod connection;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;
use service_kit::LineSink;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::access_log::AccessLog;
use crate::cache::Moment;
use crate::cache::decisions::DecisionCache;
use crate::cache::tokens::TokenCache;
use crate::cache::validity::Validity;
use crate::gateway::{Core, Seed};
use crate::identity::Names;
use crate::upstream::Pool;

/// What the requests of one thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) core: Arc<Core>,
    pub(crate) tokens: TokenCache,
    pub(crate) decisions: DecisionCache,
    pub(crate) pools: Vec<Rc<Pool>>,
    pub(crate) names: Names,
    pub(crate) access_log: AccessLog,
    /// For decision keys.
    pub(crate) key_buffer: RefCell<Vec<u8>>,
    validity: Rc<RefCell<Validity>>,
    /// Every answer is the last of its connection.
    draining: Cell<bool>,
    /// Connections end as soon as they have nothing to do; tunnels at once.
    closing: CancellationToken,
    connections: RefCell<HashMap<u64, Option<Waker>>>,
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

/// How a thread learns that it should end, and says that it did.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) draining: CancellationToken,
    /// Patience is over.
    pub(crate) abort: CancellationToken,
    /// Resolves when no worker has a connection: until then each keeps its runtime alive, since
    /// connections to token service and PDP are shared among them.
    pub(crate) idle: tokio_util::task::TaskTracker,
    pub(crate) token: TaskTrackerToken,
}

const TICK: Duration = Duration::from_secs(2);
/// Connections that are accepted after the drain began, because they were complete before.
const MAX_LATE: usize = 4096;

/// Starts a worker on a bound listener.
pub(crate) fn spawn(
    index: usize,
    seed: Seed,
    listener: std::net::TcpListener,
    sink: LineSink,
    fate: Fate,
) -> io::Result<JoinHandle<()>> {
    let (started, is_started) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("gateway-{index}"))
        .spawn(move || {
            // Such a runtime cannot leave its thread, so it is made there.
            let built = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = match built {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            runtime.block_on(async move {
                if let Err(error) = run(&seed, listener, sink, fate).await {
                    tracing::error!(%error, "a gateway worker ended");
                }
            });
        })?;
    is_started.recv().map_err(io::Error::other)??;
    Ok(thread)
}

async fn run(
    seed: &Seed,
    listener: std::net::TcpListener,
    sink: LineSink,
    fate: Fate,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let Fate {
        draining,
        abort,
        idle,
        token,
    } = fate;
    let worker = Rc::new(
        seed.worker(AccessLog::new(sink))
            .map_err(io::Error::other)?,
    );
    let flushing = tokio::task::spawn_local({
        let worker = worker.clone();
        async move { worker.access_log.flush_soon().await }
    });
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => worker.serve(stream, peer.ip()),
                Err(error) => {
                    // Out of descriptors, say: the next accept would fail at once, too.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = ticks.tick() => worker.update_gauges(),
            () = draining.cancelled() => break,
        }
    }
    worker.draining.set(true);
    for _ in 0..MAX_LATE {
        // What the kernel accepted for us is a request in flight.
        match listener.accept().now_or_never() {
            Some(Ok((stream, peer))) => worker.serve(stream, peer.ip()),
            Some(Err(_)) | None => break,
        }
    }
    drop(listener);
    let linger = worker.core.timeouts.linger;
    let _ = tokio::time::timeout(linger, worker.wait_until_closed()).await;
    worker.close();
    tokio::select! {
        () = worker.wait_until_closed() => {}
        () = abort.cancelled() => {}
    }
    worker.update_gauges();
    flushing.abort();
    worker.access_log.flush();
    drop(token);
    tokio::select! {
        () = idle.wait() => {}
        () = abort.cancelled() => {}
    }
    Ok(())
}

impl Worker {
    pub(crate) fn new(
        core: Arc<Core>,
        tokens: TokenCache,
        decisions: DecisionCache,
        validity: Rc<RefCell<Validity>>,
        names: Names,
        access_log: AccessLog,
    ) -> Self {
        let pool = |upstream| {
            Pool::new(
                core.plan.clone(),
                upstream,
                core.metrics.clone(),
                core.timeouts.connect,
                core.timeouts.response,
            )
        };
        Self {
            pools: (0..core.plan.upstreams.len()).map(pool).collect(),
            core,
            tokens,
            decisions,
            names,
            access_log,
            key_buffer: RefCell::default(),
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
            }
            validity.cursor = cursor;
        }
        Moment {
            instant,
            unix,
            trusted,
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Resolves for tunnels when they must end.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    fn serve(self: &Rc<Self>, stream: TcpStream, peer: std::net::IpAddr) {
        if self.connections.borrow().len() >= self.core.max_connections {
            tracing::debug!("too many connections");
            return;
        }
        let number = self.last_connection.get().wrapping_add(1);
        self.last_connection.set(number);
        self.connections.borrow_mut().insert(number, None);
        self.core.metrics.connections.inc();
        let worker = self.clone();
        tokio::task::spawn_local(async move {
            connection::serve(&worker, number, stream, peer).await;
            worker.core.metrics.connections.dec();
            worker.connections.borrow_mut().remove(&number);
            if worker.connections.borrow().is_empty() {
                worker.all_closed.notify_waiters();
            }
        });
    }

    /// A connection that is waiting will be woken when it should close.
    fn wake_on_close(&self, number: u64, waker: &Waker) {
        if let Some(slot) = self.connections.borrow_mut().get_mut(&number) {
            *slot = Some(waker.clone());
        }
    }

    fn close(&self) {
        self.closing.cancel();
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
        // The count belongs to the sink, which all workers share: only ever raise it.
        let known = metrics.log_dropped.get();
        metrics
            .log_dropped
            .inc_by(now.dropped.saturating_sub(known));
    }
}
