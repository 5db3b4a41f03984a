//! What all workers share: the compiled plan, limits, and what is followed.

use std::sync::Arc;
use std::time::Duration;

use service_kit::SharedClock;

use crate::config::TimeoutsConfig;
use crate::events::Feed;
use crate::metrics::GatewayMetrics;
use crate::pipeline::canonical::Limits;
use crate::plan::Plan;
use crate::proofs::Proofs;

/// What all workers share and nobody changes.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) plan: Arc<Plan>,
    pub(crate) proofs: Proofs,
    pub(crate) realm: String,
    pub(crate) request_limits: Limits,
    pub(crate) head_bytes: usize,
    pub(crate) max_headers: usize,
    pub(crate) max_connections: usize,
    /// 0: as many as there may be.
    pub(crate) max_connections_per_address: usize,
    pub(crate) masked_body_bytes: usize,
    pub(crate) timeouts: Timeouts,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) clock: SharedClock,
}

/// [`TimeoutsConfig`] as durations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) head: Duration,
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
    pub(crate) idle_body: Duration,
    pub(crate) linger: Duration,
}

impl Timeouts {
    pub(crate) fn new(config: &TimeoutsConfig) -> Self {
        Self {
            head: Duration::from_secs(config.head_secs),
            connect: Duration::from_millis(config.connect_ms),
            response: Duration::from_secs(config.response_secs),
            idle_body: Duration::from_secs(config.idle_body_secs),
            linger: Duration::from_millis(config.linger_ms),
        }
    }
}
