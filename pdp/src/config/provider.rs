//! `pdp.attribute_providers`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{ConfigIssue, Secret};

/// Where some attributes of entities of one type are kept: one of `http`, `postgresql` and
/// `sqlite`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeProviderConfig {
    /// Shown in answers, logs and metrics.
    pub name: String,
    /// The entity type, as the schema names it.
    pub entity_type: String,
    /// The attributes that it alone is believed about.
    pub attributes: Vec<String>,
    /// Asked over HTTP.
    #[serde(default)]
    pub http: Option<HttpSource>,
    /// Asked of a PostgreSQL database.
    #[serde(default)]
    pub postgresql: Option<PostgresqlSource>,
    /// Looked up in an SQLite file.
    #[serde(default)]
    pub sqlite: Option<SqliteSource>,
    /// A question waits so long for it, waiting for room included. Milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// What it says is believed for so long. Seconds; 0: for one question.
    #[serde(default = "cache_seconds")]
    pub cache_seconds: u64,
    /// The most entities whose attributes are remembered.
    #[serde(default = "max_entries")]
    pub max_entries: usize,
    /// It is asked about so many entities at once: 64 over HTTP, 8 of a database, where each takes
    /// a connection.
    #[serde(default)]
    pub max_concurrent: Option<usize>,
}

/// `GET url` answers a JSON object of attributes, or 404 with a JSON body where there is no such
/// entity.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSource {
    /// With `{id}` where the entity's id goes, percent-encoded.
    pub url: String,
    /// A file that holds a bearer token to send; relative to the configuration file.
    #[serde(default)]
    pub bearer_file: Option<PathBuf>,
}

/// One query finds the row of an entity, whose columns have the attributes' names. No row: there is
/// no such entity; NULL: it has no such attribute.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresqlSource {
    /// `postgresql://USER@HOST[:PORT]/DATABASE`. TLS with a verified certificate, unless it ends in
    /// `?sslmode=disable` or the host is a socket's folder.
    pub url: Secret,
    /// A file that holds the user's password; relative to the configuration file.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// A file of the certificates (PEM) that alone may vouch for the server's; relative to the
    /// configuration file. None: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// With `$1` where the entity's id goes, as a text.
    pub query: String,
}

/// As `postgresql`, in a file that is only read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteSource {
    /// The database; relative to the configuration file.
    pub file: PathBuf,
    /// With `?1` where the entity's id goes, as a text.
    pub query: String,
}

fn timeout_ms() -> u64 {
    500
}

fn cache_seconds() -> u64 {
    60
}

fn max_entries() -> usize {
    100_000
}

impl AttributeProviderConfig {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.max(1))
    }

    pub(crate) fn at_once(&self) -> usize {
        let usual = if self.http.is_some() { 64 } else { 8 };
        self.max_concurrent.unwrap_or(usual).max(1)
    }

    pub(crate) fn issue(&self, why: &str) -> ConfigIssue {
        ConfigIssue::new(format!("pdp.attribute_providers `{}`: {why}", self.name))
    }
}
