//! What every service needs and none should write twice: configuration, the clock, secrets,
//! problem details, HTTP serving, lifecycle, health, metrics, traces and logs.
//!
//! Knows nothing of tokens, policies or routes.

pub mod admin;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod digest;
pub mod error;
pub mod health;
pub mod lifecycle;
pub mod line_sink;
pub mod listeners;
pub mod log;
mod method;
pub mod metrics;
mod one_write;
pub mod outbound;
pub mod pem;
pub mod problem;
pub mod random;
pub mod renewal;
pub mod secret;
pub mod serve;
mod timeouts;
pub mod tls;
pub mod traces;

pub use clock::{Clock, ManualClock, SharedClock, SystemClock, UnixTime};
pub use config::{ConfigError, ConfigIssue, Variables};
pub use health::{Health, Status};
pub use lifecycle::Tasks;
pub use line_sink::LineSink;
pub use listeners::Listeners;
pub use method::KnownMethod;
pub use metrics::Metrics;
pub use one_write::OneWrite;
pub use problem::Problem;
pub use secret::Secret;
pub use timeouts::Timeouts;
pub use tls::{
    ClientCertificate, ClientCertificates, ClientTls, ClientTlsConfig, NamedTlsConfig, Tls,
    TlsConfig, WantedCertificate,
};
pub use traces::{TraceContext, Traces};
