//! Start, drain, stop: every task is tracked, so that shutdown can wait for it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one process. Clones share one fate.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    drain: CancellationToken,
    /// The token says so, too, but by a lock that all who look share.
    has_begun_to_drain: Arc<AtomicBool>,
    /// With which these drain, too.
    parent: Option<Arc<Tasks>>,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Tasks among these that can be drained without the others. They drain with the others, too.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            tracker: self.tracker.clone(),
            drain: self.drain.child_token(),
            has_begun_to_drain: Arc::default(),
            parent: Some(Arc::new(self.clone())),
        }
    }

    /// Runs a task that shutdown waits for. It must end soon after [`Tasks::draining`].
    #[expect(clippy::disallowed_methods, reason = "this is the tracked spawn")]
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(task))
    }

    /// Resolves when the process should finish what it has begun and take on nothing new.
    pub fn draining(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// What [`Tasks::draining`] resolves at, for those who look at each turn: whoever it has woken sees it.
    pub fn is_draining(&self) -> bool {
        self.has_begun_to_drain.load(Ordering::Acquire)
            || self
                .parent
                .as_ref()
                .is_some_and(|tasks| tasks.is_draining())
    }

    /// Begins to drain. Idempotent.
    pub fn drain(&self) {
        self.has_begun_to_drain.store(true, Ordering::Release);
        self.drain.cancel();
    }

    /// Drains and waits. True when every task ended within `patience`.
    pub async fn finish(&self, patience: Duration) -> bool {
        self.drain();
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait())
            .await
            .is_ok()
    }
}

/// Waits for the next one. False: the tasks drain, and none is waited for.
pub async fn next(signals: &mut Signal, draining: &CancellationToken) -> bool {
    tokio::select! {
        () = draining.cancelled() => false,
        signalled = signals.recv() => signalled.is_some(),
    }
}

/// SIGTERM and SIGINT (Ctrl-C), from the moment on that they are followed: the process does not end of them any more.
#[derive(Debug)]
pub struct Terminations {
    terminate: Signal,
    interrupt: Signal,
}

impl Terminations {
    /// Must be called within a runtime.
    pub fn follow() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves at the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
