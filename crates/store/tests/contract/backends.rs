//! The three backends, each new and empty.

use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use store::{MemoryStore, RedbBounds, RedbStore, RedisConfig, RedisStore, Store, WallClock};
use tempfile::TempDir;

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
    }
}

pub(crate) fn redb() -> Backend {
    let folder = TempDir::new().unwrap();
    Backend {
        store: Arc::new(redb_at(&folder.path().join("store.redb"))),
        _folder: Some(folder),
        _server: None,
    }
}

pub(crate) async fn redis() -> Backend {
    let server = RedisServer::start().await;
    Backend {
        store: Arc::new(redis_at(&server)),
        _folder: None,
        _server: Some(server),
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
