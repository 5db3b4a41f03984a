//! Follows the policy folder: notified by the system where it can be, and compared at an interval
//! where it cannot (network file systems, swapped links).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use service_kit::Status;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::PdpError;
use crate::entities::fit;
use crate::folder::{Folder, Stamp};
use crate::pdp::{HEALTH_PART, Inner, Pdp};
use crate::snapshot::Snapshot;

/// An edit is believed when the folder has read the same twice, this far apart.
const SETTLE: Duration = Duration::from_millis(60);

/// The same where a file has been written in its place: one that is still being written must not be taken
/// for a shorter one, however valid that is.
const WRITTEN: Duration = Duration::from_millis(250);

/// A stamp that has stood for so long tells a content that is read now from any later one: the
/// clocks of file systems tick faster.
const STANDING: Duration = Duration::from_secs(3);

/// Whatever stamps say, the content is compared this often.
const UNSEEN: Duration = Duration::from_mins(1);

impl Pdp {
    /// Follows the folder until the tasks drain: a valid change is swapped in whole, a broken
    /// one is told and refused.
    pub fn watch(&self) {
        let inner = Arc::clone(&self.0);
        let tasks = inner.tasks.clone();
        tasks.spawn(async move { run(inner).await });
    }
}

async fn run(inner: Arc<Inner>) {
    let draining = inner.tasks.draining();
    let (told, mut changes) = mpsc::channel::<()>(1);
    // Kept alive as long as the loop: dropping it ends the notifications.
    let watcher = watch_folder(&inner, told.clone());
    if let Err(error) = &watcher {
        tracing::warn!(%error, "the policy folder is compared at an interval only");
    }
    let mut follower = Follower::new(inner);
    let mut interval = tokio::time::interval(follower.inner.limits.rescan);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = draining.cancelled() => break,
            _ = changes.recv() => {
                follower.look().await;
            }
            _ = interval.tick() => follower.look_again().await,
        }
    }
    drop(watcher);
}

fn watch_folder(
    inner: &Inner,
    told: mpsc::Sender<()>,
) -> Result<notify::RecommendedWatcher, notify::Error> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // A look opens files: what only reads must not lead to the next look, without end.
        if event.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        // Full means that a look is due already.
        let _ = told.try_send(());
    })?;
    watcher.watch(&inner.folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

struct Follower {
    inner: Arc<Inner>,
    /// What was refused last, so that it is told once.
    refused: Option<Refused>,
    seen: Option<Seen>,
    /// What the folder looked like when its content was last known.
    known: Option<Stamp>,
}

/// What the folder looks like from outside.
struct Seen {
    stamp: Stamp,
    since: Instant,
    /// When its content was last compared, the stamp having stood for long enough.
    compared: Option<Instant>,
}

impl Seen {
    /// Nothing can have changed since it was compared.
    fn tells(&self) -> bool {
        self.compared.is_some_and(|at| at.elapsed() < UNSEEN)
    }
}

/// What was refused, and why.
struct Refused {
    /// None: it could not be read.
    version: Option<String>,
    /// At which revision, where entities that were written are in the way: another may let it in.
    revision: Option<u64>,
    reason: String,
}

impl Refused {
    fn unreadable(error: &PdpError) -> Self {
        Self {
            version: None,
            revision: None,
            reason: error.to_string(),
        }
    }

    fn version(version: String, revision: u64, error: &PdpError) -> Self {
        Self {
            version: Some(version),
            // What the folder alone has wrong is not read again with every change of an entity.
            revision: is_with_written(error).then_some(revision),
            reason: error.to_string(),
        }
    }

    fn is_same_mistake(&self, other: &Self) -> bool {
        self.version == other.version && self.reason == other.reason
    }
}

/// Whether entities that were written are in the way.
fn is_with_written(error: &PdpError) -> bool {
    matches!(error, PdpError::Policies(issues) if issues.iter().any(fit::is_with_written))
}

impl Follower {
    fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            refused: None,
            seen: None,
            known: None,
        }
    }

    /// Reads the folder where it may be another than it was.
    async fn look_again(&mut self) {
        match stamp(self.inner.folder.clone()).await {
            Some(stamp) if self.seen.as_ref().is_some_and(|seen| seen.stamp == stamp) => {}
            stamp => {
                self.seen = stamp.map(|stamp| Seen {
                    stamp,
                    since: Instant::now(),
                    compared: None,
                });
            }
        }
        if self.seen.as_ref().is_some_and(Seen::tells) && !self.is_overtaken() {
            return;
        }
        let begun = Instant::now();
        if self.look().await
            && let Some(seen) = &mut self.seen
            && begun.duration_since(seen.since) >= STANDING
        {
            seen.compared = Some(begun);
        }
    }

    /// For how long an edit that has been read must stand.
    async fn settle(&self) -> Duration {
        match (stamp(self.inner.folder.clone()).await, &self.known) {
            (Some(now), Some(known)) if now.is_only_moved_since(known) => SETTLE,
            _ => WRITTEN,
        }
    }

    /// Says whether what it has read is known already.
    async fn look(&mut self) -> bool {
        let before = stamp(self.inner.folder.clone()).await;
        match read(self.inner.folder.clone()).await {
            Ok(folder) if self.is_settled(&folder.version) => {
                self.known = before;
                return true;
            }
            Ok(first) => {
                tokio::time::sleep(self.settle().await).await;
                match read(self.inner.folder.clone()).await {
                    Ok(second) if second.version == first.version => self.take(second).await,
                    // Still changing, or just gone: the next look sees what it became.
                    Ok(_) | Err(_) => {}
                }
            }
            Err(error) => self.refuse(Refused::unreadable(&error)),
        }
        false
    }

    /// Whether this content needs no further look. Going back from a refused edit to what still
    /// decides ends being stale.
    fn is_settled(&mut self, version: &str) -> bool {
        if self.inner.snapshot.load().version.version == version {
            if self.refused.take().is_some() {
                tracing::info!("the policy folder is again what decides");
                self.inner.health.set(HEALTH_PART, Status::Ready);
            }
            return true;
        }
        let refused = self.refused.as_ref();
        refused.is_some_and(|refused| refused.version.as_deref() == Some(version))
            && !self.is_overtaken()
    }

    /// Whether what was refused may hold now, as other entities have been written.
    fn is_overtaken(&self) -> bool {
        let refused = self.refused.as_ref();
        let revision = refused.and_then(|refused| refused.revision);
        revision.is_some_and(|at| at != self.inner.snapshot.load().version.revision)
    }

    async fn take(&mut self, folder: Folder) {
        let inner = Arc::clone(&self.inner);
        let version = folder.version.clone();
        // Entities that are written meanwhile wait for what they are validated against.
        let _turn = self.inner.turn.clone().lock_owned().await;
        let before = inner.snapshot.load_full();
        let epoch = before.version.epoch + 1;
        let revision = before.version.revision;
        let built = tokio::task::spawn_blocking(move || {
            Snapshot::build(&folder, &inner.reading, epoch, Some(&before))
        })
        .await;
        match built {
            Ok(Ok(snapshot)) => self.swap(snapshot),
            Ok(Err(error)) => self.refuse(Refused::version(version, revision, &error)),
            // The builder panicked or the runtime is going down: nothing changes.
            Err(error) => tracing::error!(%error, "the policies could not be built"),
        }
    }

    fn swap(&mut self, snapshot: Snapshot) {
        let inner = &self.inner;
        let version = snapshot.version.value();
        snapshot.loaded.warn();
        inner.meters.entities(&snapshot.store, version.revision);
        inner.snapshot.store(Arc::new(snapshot));
        inner.meters.reload(true);
        inner
            .meters
            .epoch
            .set(i64::try_from(version.epoch).unwrap_or(i64::MAX));
        inner.health.set(HEALTH_PART, Status::Ready);
        self.refused = None;
        tracing::info!(
            version = version.version,
            epoch = version.epoch,
            "policies changed"
        );
        inner.changes.send_replace(version);
    }

    fn refuse(&mut self, refused: Refused) {
        let told = self.refused.as_ref();
        let is_told = told.is_some_and(|told| told.is_same_mistake(&refused));
        let reason = refused.reason.clone();
        // Even where it is told: it holds for another revision now.
        self.refused = Some(refused);
        if is_told {
            return;
        }
        tracing::error!(problems = reason, "the changed policies are refused");
        self.inner.meters.reload(false);
        self.inner.health.set(HEALTH_PART, Status::Stale { reason });
    }
}

/// None: it cannot be had, and reading the folder will say why.
async fn stamp(folder: PathBuf) -> Option<Stamp> {
    let stamp = tokio::task::spawn_blocking(move || Stamp::of(&folder)).await;
    stamp.ok()?.ok()
}

async fn read(folder: PathBuf) -> Result<Folder, PdpError> {
    match tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || Folder::read(&folder)
    })
    .await
    {
        Ok(read) => read,
        Err(error) => Err(PdpError::Policies(vec![crate::PolicyIssue::of_file(
            folder,
            error.to_string(),
        )])),
    }
}

#[cfg(test)]
mod tests;
