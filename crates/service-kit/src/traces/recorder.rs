//! By which clock the spans of one request are, and where they go.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_sdk::trace::SdkTracer;
use tokio::time::Instant;

use crate::UnixTime;

/// Begins the spans of one request. The clock is read once for all of them, so that a step of the
/// clock makes none of them longer or shorter than it was.
#[derive(Debug)]
pub(super) struct Recorder {
    tracer: SdkTracer,
    at: SystemTime,
    since: Instant,
}

impl Recorder {
    pub(super) fn new(tracer: &SdkTracer, now: UnixTime) -> Arc<Self> {
        Arc::new(Self {
            tracer: tracer.clone(),
            at: UNIX_EPOCH + Duration::from_millis(now.as_millis()),
            since: Instant::now(),
        })
    }

    pub(super) fn tracer(&self) -> &SdkTracer {
        &self.tracer
    }

    pub(super) fn now(&self) -> SystemTime {
        self.at + self.since.elapsed()
    }
}
