//! Why a gateway cannot be opened, started or reloaded.

use std::net::SocketAddr;

use service_kit::ConfigIssue;
use service_kit::line_sink::LineTarget;
use service_kit::metrics::MetricError;
use service_kit::random::RandomError;

/// Why a gateway cannot be.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("{}", list(.0))]
    Config(Vec<ConfigIssue>),
    #[error("a route accepts `token_service`, and there is none to swap tokens at")]
    NoTokenService,
    #[error("cannot listen on `{addr}`")]
    Listen {
        addr: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write lines to `{target:?}`")]
    AccessLog {
        target: LineTarget,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot start a worker")]
    Worker(#[source] std::io::Error),
    #[error(transparent)]
    Metric(#[from] MetricError),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("`gateway.cache.secret` makes no keys")]
    CacheSecret,
    #[error("{} cannot change while the gateway runs; restart it", list_keys(.0))]
    NeedsRestart(Vec<&'static str>),
    #[error("the keys of the issuer `{0}` cannot be read")]
    NoKeys(String),
    #[error("the gateway is stopping")]
    Stopping,
}

fn list(issues: &[ConfigIssue]) -> String {
    let lines: Vec<String> = issues.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn list_keys(keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}
