//! How a process begins: by itself, or in the place of another one.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use service_kit::traces::Service;
use service_kit::{Health, Listeners, Metrics, SharedClock, Tasks, Traces};
use store::{MovableStore, Store, StoreConfig, WallClock};

use crate::check;
use crate::config::{FileConfig, Loaded};
use crate::handover::{self, Predecessor};
use crate::running::{Lives, Running};
use crate::wire::{Shared, start_roles};

/// Starts every role of a configuration. When this returns, all of them answer.
pub async fn start(loaded: &Loaded, clock: SharedClock) -> anyhow::Result<Running> {
    let Loaded { base, config, .. } = loaded;
    let mut issues = config.check_topology();
    issues.extend(config.lifecycle.check(base));
    if let Some(issue) = issues.into_iter().next() {
        bail!("{issue}");
    }
    if let Some(path) = config.lifecycle.socket(base)
        && handover::is_served(&path).await?
    {
        bail!(
            "another process runs here, and hands over at `{}`; start with `--take-over` to take its place",
            path.display()
        );
    }
    start_after(None, loaded, clock).await
}

/// The same, in the place of a process that runs, if one does: without a lost request. With an error that one goes on
/// as it was.
pub async fn take_over(loaded: &Loaded, clock: SharedClock) -> anyhow::Result<Running> {
    let Some(path) = loaded.config.lifecycle.socket(&loaded.base) else {
        bail!("`--take-over` needs `lifecycle.handover_socket`");
    };
    // What can be known of it is known before the other process lets go of anything.
    check::check_loaded(loaded).map_err(|problems| anyhow!("{problems}"))?;
    let predecessor = handover::find(&path).await?;
    if predecessor.is_none() {
        tracing::info!("nobody runs here who could be taken over from");
    }
    start_after(predecessor, loaded, clock).await
}

async fn start_after(
    mut predecessor: Option<Predecessor>,
    loaded: &Loaded,
    clock: SharedClock,
) -> anyhow::Result<Running> {
    let Loaded { base, config, .. } = loaded;
    let socket = config.lifecycle.socket(base);
    let (metrics, tasks, served) = (Metrics::new(), Tasks::new(), Tasks::new());
    let listeners = match (&mut predecessor, &socket) {
        (Some(predecessor), _) => predecessor.listeners(),
        (None, Some(_)) => Listeners::to_be_handed_over(Vec::new()),
        (None, None) => Listeners::default(),
    };
    let traces = open_traces(config, base, &clock, &metrics)?;
    let opening = open_store(loaded, &clock, predecessor.as_mut(), &served);
    let (store, movable) = opening.await.context("cannot open the store")?;
    let shared = Shared {
        store,
        clock,
        metrics,
        health: Health::new(),
        serving: Tasks::new(),
        tasks,
        traces,
        listeners,
    };
    let mut roles = Box::pin(start_roles(loaded, &shared)).await?;
    for server in roles.servers.drain(..) {
        shared.serving.spawn(server);
    }
    let lives = Lives {
        config: config.lifecycle.clone(),
        served,
        movable,
    };
    let running = Running::new(roles, shared, lives);
    let is_successor = predecessor.is_some();
    if let Some(predecessor) = predecessor {
        predecessor.end().await?;
    }
    if let Some(path) = socket {
        match running.hand_over_at(&path) {
            Err(error) if is_successor => {
                tracing::error!(%error, "nobody can take over from this process");
            }
            waiting => waiting.context("`lifecycle.handover_socket`")?,
        }
    }
    Ok(running)
}

/// The store, and itself once more where it is a file that can be handed over.
async fn open_store(
    loaded: &Loaded,
    clock: &SharedClock,
    predecessor: Option<&mut Predecessor>,
    served: &Tasks,
) -> anyhow::Result<(Arc<dyn Store>, Option<MovableStore>)> {
    let Loaded { base, config, .. } = loaded;
    let wall_clock: WallClock = {
        let clock = clock.clone();
        Arc::new(move || clock.now().as_millis())
    };
    let (path, cache_mb) = match &config.store {
        StoreConfig::Redb { path, cache_mb } if config.lifecycle.handover_socket.is_some() => {
            (path, *cache_mb)
        }
        other => return Ok((store::open(other, base, wall_clock).await?, None)),
    };
    let (path, bounds) = (base.join(path), store::redb_bounds(cache_mb)?);
    let movable = match predecessor {
        Some(other) => {
            other
                .open_store(&path, (wall_clock, bounds), served)
                .await?
        }
        None => MovableStore::open(&path, wall_clock, bounds).await?,
    };
    Ok((Arc::new(movable.clone()), Some(movable)))
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
