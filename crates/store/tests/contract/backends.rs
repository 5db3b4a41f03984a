//! The three backends, and a file that another process has taken over: each new and empty.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use store::{
    MemoryStore, MovableStore, RedbBounds, RedbStore, RedisConfig, RedisStore, Store, WallClock,
    serve_relay,
};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::redis_server::RedisServer;

/// A short log, so that it can be outrun.
pub(crate) const MAX_EVENTS: u64 = 2000;

pub(crate) fn bounds() -> RedbBounds {
    RedbBounds {
        events: MAX_EVENTS,
        ..RedbBounds::default()
    }
}

/// A store, and what has to live as long as it does.
pub(crate) struct Backend {
    store: Arc<dyn Store>,
    _folder: Option<TempDir>,
    _server: Option<RedisServer>,
    _tasks: JoinSet<()>,
}

impl Backend {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }
}

pub(crate) fn memory() -> Backend {
    Backend {
        store: Arc::new(MemoryStore::bounded(MAX_EVENTS)),
        _folder: None,
        _server: None,
        _tasks: JoinSet::new(),
    }
}

pub(crate) fn redb() -> Backend {
    let folder = TempDir::new().unwrap();
    Backend {
        store: Arc::new(redb_at(&folder.path().join("store.redb"))),
        _folder: Some(folder),
        _server: None,
        _tasks: JoinSet::new(),
    }
}

/// Of whoever had the file before, asked after it has gone on by the other.
pub(crate) async fn moved() -> Backend {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.redb");
    let (before, after) = (movable_at(&file).await, file.clone());
    before.let_go(Duration::from_secs(1)).await.unwrap();
    let after = movable_at(&after).await;
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_relay(Arc::new(after), theirs));
    tasks.spawn(before.go_on_by(ours));
    Backend {
        store: Arc::new(before),
        _folder: Some(folder),
        _server: None,
        _tasks: tasks,
    }
}

pub(crate) async fn movable_at(path: &Path) -> MovableStore {
    MovableStore::open(path, wall_clock(), bounds())
        .await
        .unwrap()
}

pub(crate) async fn redis() -> Backend {
    let server = RedisServer::start().await;
    Backend {
        store: Arc::new(redis_at(&server)),
        _folder: None,
        _server: Some(server),
        _tasks: JoinSet::new(),
    }
}

pub(crate) fn redb_at(path: &Path) -> RedbStore {
    RedbStore::open(path, wall_clock(), bounds()).unwrap()
}

pub(crate) fn redis_at(server: &RedisServer) -> RedisStore {
    redis_with(&RedisConfig::at(server.url()))
}

pub(crate) fn redis_with(config: &RedisConfig) -> RedisStore {
    RedisStore::open(config, Path::new("."), MAX_EVENTS).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the contract is held in real time"
)]
pub(crate) fn wall_clock() -> WallClock {
    Arc::new(|| {
        let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        u64::try_from(now.unwrap().as_millis()).unwrap()
    })
}
