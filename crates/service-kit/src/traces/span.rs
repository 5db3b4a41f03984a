//! A span that is being recorded: when it began, what is said of it, and when it ended.
//!
//! What is said leaves the process. Never say who asked about whom: no id, no property, no header.

use std::borrow::Cow;
use std::sync::Arc;

use super::context::TraceContext;
use super::recorder::Recorder;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};

/// A piece of work that is being recorded. Dropped before it is finished, it was cut off. Nearly
/// always there is none, and what has room for one is small.
#[derive(Debug)]
pub struct Span(Box<Recording>);

/// See [`Span`].
#[derive(Debug)]
struct Recording {
    span: opentelemetry_sdk::trace::Span,
    context: TraceContext,
    recorder: Arc<Recorder>,
    is_finished: bool,
}

/// What a span is about.
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    /// What it belongs to beside its trace.
    pub(super) links: Vec<Link>,
}

impl TraceContext {
    /// Begins a part of the work, where it is recorded.
    pub fn part(&self, name: &'static str) -> Option<Span> {
        self.child(name, SpanKind::Internal)
    }

    /// Begins a question to somebody else, where it is recorded.
    pub fn call(&self, name: &'static str) -> Option<Span> {
        self.child(name, SpanKind::Client)
    }

    fn child(&self, name: &'static str, kind: SpanKind) -> Option<Span> {
        let recorder = self.recorder.as_ref()?;
        let work = Work {
            name,
            kind,
            links: Vec::new(),
        };
        Span::begin(recorder, work, Some(&self.span)).1
    }
}

impl Span {
    /// Without a parent, a trace begins here. None where the trace is not recorded.
    pub(super) fn begin(
        recorder: &Arc<Recorder>,
        work: Work,
        parent: Option<&SpanContext>,
    ) -> (TraceContext, Option<Self>) {
        let builder = SpanBuilder::from_name(work.name)
            .with_kind(work.kind)
            .with_links(work.links)
            .with_start_time(recorder.now());
        let within = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(parent.clone())
        });
        let recording = recorder.tracer().build_with_context(builder, &within);
        let mut context = TraceContext {
            span: recording.span_context().clone(),
            recorder: None,
        };
        if !recording.is_recording() {
            return (context, None);
        }
        context.recorder = Some(Arc::clone(recorder));
        let recording = Recording {
            span: recording,
            context: context.clone(),
            recorder: Arc::clone(recorder),
            is_finished: false,
        };
        (context, Some(Self(Box::new(recording))))
    }

    /// Where the work is that is done within.
    pub fn context(&self) -> &TraceContext {
        &self.0.context
    }

    /// Says something of the work.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.span.set_attribute(KeyValue::new(key, value));
    }

    /// Says how many.
    pub fn count(&mut self, key: &'static str, count: usize) {
        self.set(key, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Says that it failed, and how: one of few words.
    pub fn fail(&mut self, kind: impl Into<Cow<'static, str>>) {
        self.set("error.type", kind.into());
        self.0.span.set_status(Status::error(""));
    }

    /// The work is done, well or not.
    pub fn finish(mut self) {
        self.0.is_finished = true;
    }

    /// Says what the work is, once that is known.
    pub fn rename(&mut self, name: String) {
        self.0.span.update_name(name);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.0.is_finished {
            self.fail("cancelled");
        }
        self.0.span.end_with_timestamp(self.0.recorder.now());
    }
}
