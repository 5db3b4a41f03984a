//! Ended spans on their way to the collector: a bounded queue and one task that empties it. Nobody
//! waits for it: what does not fit, and what the collector does not take, is dropped and counted.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};
use prometheus::{IntCounter, IntCounterVec};
use prost::Message as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::Target;
use crate::Metrics;
use crate::metrics::MetricError;
use crate::outbound;

/// The near end.
#[derive(Debug)]
pub(super) struct Queue {
    spans: Sender<SpanData>,
    meters: Meters,
}

/// The far end.
#[derive(Debug)]
pub(super) struct Courier {
    spans: Receiver<SpanData>,
    /// Taken from the queue, not sent yet.
    gathered: Vec<SpanData>,
    target: Target,
    client: reqwest::Client,
    resource: ResourceAttributesWithSchema,
    meters: Meters,
    /// Whether the last batch failed, so that a failure is logged when it begins and when it ends.
    is_troubled: bool,
}

#[derive(Debug, Clone)]
struct Meters {
    sent: IntCounter,
    dropped: IntCounterVec,
}

/// A request that is worth repeating until it is answered.
#[derive(Debug)]
struct Batch {
    body: Bytes,
    spans: usize,
}

/// What became of a batch.
#[derive(Debug)]
enum Answer {
    /// Taken, but for so many.
    Taken { rejected: usize },
    /// It will never be taken.
    Refused(StatusCode),
    /// It may be taken later.
    NotNow(String),
}

/// Spans that may wait. More are dropped.
const QUEUE: usize = 4096;

/// Spans that are sent at once.
const BATCH: usize = 512;

/// How long spans are gathered before they are sent together.
const PACE: Duration = Duration::from_secs(1);

/// What is not taken now is sent again after a pause that doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The collector gets this long to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// At the end, it gets this long to take what there is.
pub(super) const LAST_CALL: Duration = Duration::from_secs(3);

/// Longer answers are not read.
const LONGEST: usize = 64 * 1024;

/// Both ends.
pub(super) fn queue(
    target: Target,
    client: reqwest::Client,
    resource: ResourceAttributesWithSchema,
    metrics: &Metrics,
) -> Result<(Queue, Courier), MetricError> {
    let meters = Meters::new(metrics)?;
    let (near, far) = channel(QUEUE);
    let queue = Queue {
        spans: near,
        meters: meters.clone(),
    };
    let courier = Courier {
        spans: far,
        gathered: Vec::new(),
        target,
        client,
        resource,
        meters,
        is_troubled: false,
    };
    Ok((queue, courier))
}

pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    outbound::client(TIMEOUT).build()
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        match self.spans.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.meters.dropped("full", 1),
            Err(TrySendError::Closed(_)) => self.meters.dropped("unsent", 1),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Courier {
    /// Sends until nobody can send any more, or the process drains.
    pub(super) async fn run(mut self, draining: CancellationToken) {
        let mut kept = None;
        tokio::select! {
            () = draining.cancelled() => {}
            () = self.deliver(&mut kept) => return,
        }
        let last = tokio::time::timeout(LAST_CALL, self.deliver_rest(&mut kept)).await;
        if last.is_err() {
            let unsent =
                kept.map_or(0, |batch| batch.spans) + self.gathered.len() + self.spans.len();
            self.meters.dropped("unsent", unsent);
            tracing::warn!(
                unsent,
                "spans are lost: the collector did not take them in time"
            );
        }
    }

    /// Ends when the queue is closed and empty. `kept` is what is being sent: it outlives this.
    async fn deliver(&mut self, kept: &mut Option<Batch>) {
        while self.gather().await {
            *kept = Some(self.pack());
            self.insist(kept).await;
        }
    }

    /// The queue is not waited for any more.
    async fn deliver_rest(&mut self, kept: &mut Option<Batch>) {
        loop {
            self.insist(kept).await;
            while self.gathered.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                self.gathered.push(span);
            }
            if self.gathered.is_empty() {
                return;
            }
            *kept = Some(self.pack());
        }
    }

    /// Takes spans from the queue until there is a batch of them, or the first has waited enough.
    /// False: there will be no more. Loses nothing when it is dropped.
    async fn gather(&mut self) -> bool {
        if self.gathered.is_empty() {
            self.spans.recv_many(&mut self.gathered, BATCH).await;
        }
        let due = Instant::now() + PACE;
        while self.gathered.len() < BATCH {
            let room = BATCH - self.gathered.len();
            let more = self.spans.recv_many(&mut self.gathered, room);
            match tokio::time::timeout_at(due, more).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        !self.gathered.is_empty()
    }

    fn pack(&mut self) -> Batch {
        let spans = mem::take(&mut self.gathered);
        let count = spans.len();
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        Batch {
            body: request.encode_to_vec().into(),
            spans: count,
        }
    }

    /// Sends a batch until it is answered for good.
    async fn insist(&mut self, kept: &mut Option<Batch>) {
        let mut pause = FIRST_PAUSE;
        while let Some(batch) = kept {
            match self.post(batch.body.clone()).await {
                Answer::Taken { rejected } => {
                    let rejected = rejected.min(batch.spans);
                    self.meters.sent.inc_by((batch.spans - rejected) as u64);
                    self.meters.dropped("refused", rejected);
                    self.settle((rejected > 0).then_some("it does not take all of them"));
                    *kept = None;
                }
                Answer::Refused(status) => {
                    self.meters.dropped("refused", batch.spans);
                    self.settle(Some(&format!("it answers {}", status.as_u16())));
                    *kept = None;
                }
                Answer::NotNow(why) => {
                    self.settle(Some(&why));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn post(&self, body: Bytes) -> Answer {
        let request = self
            .client
            .post(self.target.url.clone())
            .headers(self.target.headers.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => {
                return Answer::NotNow("it does not answer in time".to_owned());
            }
            Err(error) => {
                tracing::debug!(error = %error.without_url(), "a collector fails");
                return Answer::NotNow("it cannot be reached".to_owned());
            }
        };
        match answer.status() {
            status if status.is_success() => {}
            // OTLP: these alone are worth a repetition.
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => {
                return Answer::NotNow(format!("it answers {}", status.as_u16()));
            }
            status => return Answer::Refused(status),
        }
        let mut said = Vec::new();
        while let Ok(Some(part)) = answer.chunk().await {
            if said.len() + part.len() > LONGEST {
                break;
            }
            said.extend_from_slice(&part);
        }
        // An answer that cannot be read says nothing against the spans.
        let said = ExportTraceServiceResponse::decode(&*said).unwrap_or_default();
        let rejected = said.partial_success.map_or(0, |part| part.rejected_spans);
        Answer::Taken {
            rejected: usize::try_from(rejected).unwrap_or(0),
        }
    }

    /// Logs a trouble when it begins and when it is over.
    fn settle(&mut self, trouble: Option<&str>) {
        match (self.is_troubled, trouble) {
            (false, Some(why)) => tracing::warn!(why, "the collector does not take spans"),
            (true, None) => tracing::info!("the collector takes spans again"),
            (true, Some(_)) | (false, None) => {}
        }
        self.is_troubled = trouble.is_some();
    }
}

impl Meters {
    fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        let dropped = metrics.counters(
            "traces_dropped_total",
            "Spans that were lost: the queue was `full`, the collector `refused` them, or they \
             were `unsent` when the process ended.",
            &["reason"],
        )?;
        for reason in ["full", "refused", "unsent"] {
            dropped.with_label_values(&[reason]);
        }
        let sent = metrics.counter("traces_sent_total", "Spans that the collector has taken.")?;
        Ok(Self { sent, dropped })
    }

    fn dropped(&self, reason: &str, spans: usize) {
        self.dropped
            .with_label_values(&[reason])
            .inc_by(spans as u64);
    }
}

#[cfg(test)]
pub(super) mod tests;
