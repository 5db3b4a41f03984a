//! What all workers share: the compiled plan, limits, and what is followed.

use std::sync::Arc;
use std::time::Duration;

use service_kit::traces::Stranger;
use service_kit::{SharedClock, Tls, Traces};

use crate::body::Pace;
use crate::canonical::{Limits, UrlScheme};
use crate::config::{StreamsConfig, TimeoutsConfig};
use crate::events::Feed;
use crate::metrics::GatewayMetrics;
use crate::obligation::rate::Limiter;
use crate::plan::Plan;
use crate::proofs::Proofs;
use crate::upstream::roster::Roster;

/// What all workers share and nobody changes.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) plan: Arc<Plan>,
    /// Where each upstream of the plan runs.
    pub(crate) rosters: Vec<Arc<Roster>>,
    pub(crate) proofs: Proofs,
    pub(crate) limiter: Limiter,
    pub(crate) realm: String,
    pub(crate) request_limits: Limits,
    pub(crate) body_pace: Pace,
    pub(crate) head_bytes: usize,
    pub(crate) max_headers: usize,
    pub(crate) max_connections: usize,
    /// 0: as many as there may be.
    pub(crate) max_connections_per_address: usize,
    /// Requests that one HTTP/2 connection may have in flight.
    pub(crate) max_streams: u32,
    /// Clients may begin with HTTP/2 where there is no TLS.
    pub(crate) h2c: bool,
    /// None: clients come without TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) masked_body_bytes: usize,
    pub(crate) filtered_elements: usize,
    pub(crate) question_body_bytes: usize,
    pub(crate) question_resources: usize,
    pub(crate) timeouts: Timeouts,
    pub(crate) streams: StreamLimits,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) traces: Traces,
    pub(crate) client_traces: Stranger,
    pub(crate) clock: SharedClock,
}

impl Core {
    /// What clients reach the gateway by.
    pub(crate) fn scheme(&self) -> UrlScheme {
        match self.tls {
            Some(_) => UrlScheme::Https,
            None => UrlScheme::Http,
        }
    }
}

/// [`StreamsConfig`], compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    pub(crate) grace: Duration,
    pub(crate) questions: usize,
}

/// [`TimeoutsConfig`] as durations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) head: Duration,
    pub(crate) response: Duration,
    pub(crate) idle_body: Duration,
    pub(crate) question_body: Duration,
    pub(crate) linger: Duration,
}

impl StreamLimits {
    pub(crate) fn new(config: &StreamsConfig) -> Self {
        Self {
            grace: Duration::from_secs(config.grace_secs),
            questions: config.questions,
        }
    }
}

impl Timeouts {
    pub(crate) fn new(config: &TimeoutsConfig) -> Self {
        Self {
            head: Duration::from_secs(config.head_secs),
            response: Duration::from_secs(config.response_secs),
            idle_body: Duration::from_secs(config.idle_body_secs),
            question_body: Duration::from_secs(config.question_body_secs),
            linger: Duration::from_millis(config.linger_ms),
        }
    }
}
