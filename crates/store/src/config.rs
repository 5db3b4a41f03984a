//! `store:` in the configuration file, and how it becomes a store.

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::limits::DEFAULT_MAX_EVENTS;
use crate::redb::DEFAULT_CACHE_MB;
use crate::{MemoryStore, RedbBounds, RedbStore, RedisStore, Store, StoreError, WallClock};

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StoreConfig {
    /// In memory; gone with the process.
    Memory {},
    /// In one file, for one process.
    Redb {
        /// The file; it and its folder are created where they are missing.
        path: PathBuf,
        /// How much of the file is kept in memory, in mebibytes. What is read beyond that comes from
        /// the system's own cache of the file.
        #[serde(default = "default_cache_mb")]
        #[schemars(range(min = 1, max = 65_536))]
        cache_mb: u32,
    },
    /// In a Redis server, for any number of processes.
    Redis(RedisConfig),
}

/// `store.redis:`
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://`, `rediss://` (TLS) or `unix://`; may hold a password. This or `url_file`.
    #[serde(default)]
    pub url: Option<String>,
    /// A file that holds the URL.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// For `rediss://`: a PEM file with the authority to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Stands before every key.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// A verb that has no answer by then has failed.
    #[serde(default = "default_timeout_ms")]
    #[schemars(range(min = 10, max = 60_000))]
    pub timeout_ms: u64,
}

/// Opens what the configuration says; paths are relative to `base`. Redis need not be there
/// yet: verbs fail until it is.
pub async fn open(
    config: &StoreConfig,
    base: &Path,
    clock: WallClock,
) -> Result<Arc<dyn Store>, StoreError> {
    match config {
        StoreConfig::Memory {} => Ok(Arc::new(MemoryStore::new())),
        StoreConfig::Redb { path, cache_mb } => {
            let bounds = redb_bounds(*cache_mb)?;
            Ok(Arc::new(open_redb(&base.join(path), bounds, clock).await?))
        }
        StoreConfig::Redis(redis) => {
            let store = RedisStore::open(redis, base, DEFAULT_MAX_EVENTS)?;
            store.warn_if_forgetful().await;
            Ok(Arc::new(store))
        }
    }
}

/// Opens the file, off the runtime's own threads.
pub(crate) async fn open_redb(
    path: &Path,
    bounds: RedbBounds,
    clock: WallClock,
) -> Result<RedbStore, StoreError> {
    let path = path.to_owned();
    let opening = tokio::task::spawn_blocking(move || RedbStore::open(&path, clock, bounds));
    opening
        .await
        .map_err(|_| StoreError::Unavailable(Some("shutting down".into())))?
}

/// What `store.redb.cache_mb` stands for.
pub fn redb_bounds(cache_mb: u32) -> Result<RedbBounds, StoreError> {
    if !(1..=65_536).contains(&cache_mb) {
        return Err(StoreError::Internal {
            message: "`store.redb.cache_mb` must be from 1 to 65536".to_owned(),
            source: None,
        });
    }
    Ok(RedbBounds {
        cache_bytes: cache_mb as usize * 1024 * 1024,
        events: DEFAULT_MAX_EVENTS,
    })
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self::Memory {}
    }
}

impl RedisConfig {
    /// Everything else by default.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: Some(url.into()),
            url_file: None,
            ca_file: None,
            prefix: default_prefix(),
            timeout_ms: default_timeout_ms(),
        }
    }

    /// The URL from wherever it is.
    pub(crate) fn read_url(&self, base: &Path) -> Result<String, StoreError> {
        match (&self.url, &self.url_file) {
            (Some(url), None) => Ok(url.clone()),
            (None, Some(file)) => {
                let text = read_file("url_file", &base.join(file))?;
                let text = String::from_utf8(text).map_err(|_| StoreError::Internal {
                    message: "`store.redis.url_file` holds no text".to_owned(),
                    source: None,
                })?;
                Ok(text.trim().to_owned())
            }
            (Some(_), Some(_)) | (None, None) => Err(StoreError::Internal {
                message: "`store.redis` needs either `url` or `url_file`".to_owned(),
                source: None,
            }),
        }
    }

    pub(crate) fn read_ca(&self, base: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        self.ca_file
            .as_ref()
            .map(|file| read_file("ca_file", &base.join(file)))
            .transpose()
    }
}

impl Debug for RedisConfig {
    // SECURITY: the URL may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisConfig")
            .field("url", &self.url.as_ref().map(|_| "…"))
            .field("url_file", &self.url_file)
            .field("ca_file", &self.ca_file)
            .field("prefix", &self.prefix)
            .field("timeout_ms", &self.timeout_ms)
            .finish()
    }
}

fn read_file(key: &str, path: &Path) -> Result<Vec<u8>, StoreError> {
    std::fs::read(path).map_err(|error| StoreError::Internal {
        message: format!("cannot read `store.redis.{key}`: `{}`", path.display()),
        source: Some(Box::new(error)),
    })
}

fn default_cache_mb() -> u32 {
    DEFAULT_CACHE_MB
}

fn default_prefix() -> String {
    "cedargate:".to_owned()
}

fn default_timeout_ms() -> u64 {
    1000
}
