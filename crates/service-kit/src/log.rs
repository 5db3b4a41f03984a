//! The operational log: JSON lines on standard error.

use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

type Change = Box<dyn Fn(LevelFilter) + Send + Sync>;

/// Changes the level of the log that is installed.
static CHANGE: OnceLock<Change> = OnceLock::new();

/// Installs the process's log. Only the first call counts.
pub fn install(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(LevelFilter::from(level));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    // A second call (two services in one test process) keeps the first log.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let change = move |level| {
            // Without its subscriber there is no log, and no level.
            let _ = handle.reload(level);
        };
        let _ = CHANGE.set(Box::new(change));
    }
}

/// Has the log say more or less from now on. False: there is none of ours.
pub fn change(level: LogLevel) -> bool {
    let change = CHANGE.get();
    if let Some(change) = change {
        change(level.into());
    }
    change.is_some()
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
        }
    }
}
