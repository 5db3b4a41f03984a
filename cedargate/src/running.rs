//! A process that serves, until it is told to end or another one has taken its place: what has begun is finished.

use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;
use service_kit::lifecycle::Terminations;
use service_kit::{Health, Listeners, Status, Tasks, Traces};
use store::MovableStore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::LifecycleConfig;
use crate::handover::{self, Giver};
use crate::reload::{self, Reloader};
use crate::wire::{Addresses, Roles, Shared};

/// A started process.
#[derive(Debug)]
pub struct Running {
    pub addresses: Addresses,
    tasks: Tasks,
    serving: Tasks,
    traces: Traces,
    health: Health,
    listeners: Listeners,
    reloader: Option<Reloader>,
    asked_to_end: CancellationToken,
    handed_over: CancellationToken,
    lives: Lives,
}

/// How it ends, and who lives on it.
#[derive(Debug)]
pub(crate) struct Lives {
    pub(crate) config: LifecycleConfig,
    /// What answers processes before this one, which still finish what they have begun.
    pub(crate) served: Tasks,
    /// None: there is no file to be handed over.
    pub(crate) movable: Option<MovableStore>,
}

/// The part that says so when it ends.
const PART: &str = "process";
/// Tasks get so long when what they work for has ended, however late that is.
const AFTERWARDS: Duration = Duration::from_secs(5);

impl Running {
    pub(crate) fn new(roles: Roles, shared: Shared, lives: Lives) -> Self {
        Self {
            addresses: roles.addresses,
            reloader: roles.reloader,
            asked_to_end: roles.asked_to_end,
            tasks: shared.tasks,
            serving: shared.serving,
            traces: shared.traces,
            health: shared.health,
            listeners: shared.listeners,
            handed_over: CancellationToken::new(),
            lives,
        }
    }

    /// Lets another process take its place that asks there.
    pub(crate) fn hand_over_at(&self, path: &Path) -> std::io::Result<()> {
        let giver = Giver {
            listeners: self.listeners.clone(),
            store: self.lives.movable.clone(),
            handed_over: self.handed_over.clone(),
            relays: Tasks::new(),
        };
        giver.wait(path, &self.serving)
    }

    /// SIGHUP reads the configuration file again, SIGUSR2 starts a process that takes this one's place.
    pub fn follow_signals(&self) -> std::io::Result<()> {
        reload::follow_hangups(self.reloader.clone(), &self.serving)?;
        let can_hand_over = self.lives.config.handover_socket.is_some();
        handover::follow_signals(can_hand_over, &self.serving)
    }

    /// Serves until the process is told to end (SIGTERM, SIGINT, `POST /drain`), or another one serves in its place;
    /// then finishes what has begun. False when something had to be cut off.
    pub async fn serve_until_told(self, told: &mut Terminations) -> bool {
        tokio::select! {
            () = told.next() => {}
            () = self.asked_to_end.cancelled() => {}
            () = self.handed_over.cancelled() => return self.finish(true).await,
        }
        tell(&[NotifyState::Stopping]);
        let reason = "it ends".to_owned();
        self.health.set(PART, Status::NotReady { reason });
        let wait = self.lives.config.not_ready();
        if !wait.is_zero() {
            let secs = wait.as_secs();
            tracing::info!(secs, "not ready any more; serving on for a moment");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Told twice, it is meant.
                () = told.next() => {}
                () = self.handed_over.cancelled() => return self.finish(true).await,
            }
        }
        self.finish(false).await
    }

    /// Finishes what is in flight and stops. `is_succeeded`: another process serves meanwhile, and what lasts may last
    /// longer. False when something had to be cut off.
    async fn finish(self, is_succeeded: bool) -> bool {
        let config = &self.lives.config;
        let patience = if is_succeeded {
            config.handover_finish()
        } else {
            config.finish()
        };
        let end = Instant::now() + patience;
        self.listeners.let_go();
        self.serving.drain();
        let drained = match self.take_gateway().await {
            Some(gateway) if is_succeeded => gateway.finish_succeeded(patience).await,
            Some(gateway) => gateway.finish(patience).await,
            None => true,
        };
        if is_succeeded {
            // Whoever was before this process may need what it answers for.
            let left = end.saturating_duration_since(Instant::now());
            self.lives.served.finish(left).await;
        }
        self.end(end).await && drained
    }

    async fn take_gateway(&self) -> Option<gateway_pep::RunningGateway> {
        match &self.reloader {
            Some(reloader) => reloader.take().await,
            None => None,
        }
    }

    async fn end(self, end: Instant) -> bool {
        let left = || end.saturating_duration_since(Instant::now());
        // The connections first: they are answered by what the others keep up to date.
        let answered = self.serving.finish(left()).await;
        let finished = self.tasks.finish(left().max(AFTERWARDS)).await;
        // The last requests have ended: so have their spans.
        self.traces.finish().await;
        answered && finished
    }
}

/// Tells whoever watches over this process (systemd) that it is the one, and serves.
pub(crate) fn tell_ready() {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "nobody can be told how this process is");
    }
}
