//! Traces: spans of what a process does for a request, sent to a collector over OTLP, and the W3C
//! trace context that ties them to the spans of others.
//!
//! Where no collector is configured nothing is recorded, and a caller's context is handed on as it
//! came. A span never says who asked about whom.

mod config;
mod context;
mod current;
mod recorder;
mod send;
mod serve;
mod span;

use std::path::Path;
use std::sync::Arc;

use opentelemetry::trace::{Link, SpanKind, TracerProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanLimits};
use schemars::JsonSchema;
use serde::Deserialize;

pub use config::TracingConfig;
pub use context::TraceContext;
pub use current::{current, propagate, within};
pub use serve::{CallerName, Entered, Server, leave};
pub use span::Span;

use crate::metrics::MetricError;
use crate::random::{self, RandomError};
use crate::{ConfigIssue, Metrics, SharedClock, Tasks};

/// Records the spans of a process. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    tracer: SdkTracer,
    clock: SharedClock,
    /// Those that send. They outlive the requests that are finished at shutdown.
    tasks: Tasks,
}

/// What becomes of the trace of whoever sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stranger {
    /// It goes on.
    #[default]
    Continue,
    /// Another begins, with a link to it.
    Restart,
}

/// Who this process is in traces.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Where the configuration does not say.
    pub name: &'a str,
    pub version: &'a str,
}

/// Why there can be no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("{0}")]
    Config(ConfigIssue),
    #[error(transparent)]
    Metric(#[from] MetricError),
    #[error("no HTTP client can be made for `tracing.otlp_endpoint`")]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Traces {
    /// Records nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens nothing yet: whether there is a collector, the first spans tell.
    pub fn open(
        config: &TracingConfig,
        service: Service<'_>,
        base: &Path,
        clock: SharedClock,
        metrics: &Metrics,
    ) -> Result<Self, TracesError> {
        let target = config.target(base).map_err(TracesError::Config)?;
        let share = config.share().map_err(TracesError::Config)?;
        let resource = resource(config, service)?;
        let told = ResourceAttributesWithSchema::from(&resource);
        let (queue, courier) = send::queue(target, send::client()?, told, metrics)?;
        let tasks = Tasks::new();
        tasks.spawn(courier.run(tasks.draining()));
        // Everything is said, so that no variable of the environment is looked at.
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                share,
            ))))
            .with_span_limits(SpanLimits::default())
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        let scope = InstrumentationScope::builder("cedargate")
            .with_version(service.version.to_owned())
            .build();
        Ok(Self(Some(Arc::new(Open {
            tracer: provider.tracer_with_scope(scope),
            clock,
            tasks,
        }))))
    }

    /// Whether anything is recorded at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Sends what there is, for a bounded time. After the last request.
    pub async fn finish(&self) {
        if let Some(open) = &self.0 {
            open.tasks.finish(send::LAST_CALL * 2).await;
        }
    }

    /// Takes in a request: the context that it is answered in, and its span where it is recorded. Where nothing is
    /// recorded, what was sent is the context.
    pub fn receive(
        &self,
        sent: Option<TraceContext>,
        stranger: Stranger,
    ) -> (Option<TraceContext>, Option<Span>) {
        let Some(open) = &self.0 else {
            return (sent.filter(|_| stranger == Stranger::Continue), None);
        };
        let recorder = recorder::Recorder::new(&open.tracer, open.clock.now());
        let sent = sent.map(|sent| sent.span);
        let (parent, linked) = match stranger {
            Stranger::Continue => (sent, None),
            Stranger::Restart => (None, sent),
        };
        let work = span::Work {
            name: "request",
            kind: SpanKind::Server,
            links: linked.into_iter().map(Link::with_context).collect(),
        };
        let (context, span) = Span::begin(&recorder, work, parent.as_ref());
        (Some(context), span)
    }
}

fn resource(config: &TracingConfig, service: Service<'_>) -> Result<Resource, RandomError> {
    let name = config.service_name.as_deref().unwrap_or(service.name);
    let attributes = [
        KeyValue::new("service.version", service.version.to_owned()),
        KeyValue::new("service.instance.id", random::id()?),
    ];
    Ok(Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(name.to_owned())
        .with_attributes(attributes)
        .build())
}

#[cfg(test)]
mod tests;
