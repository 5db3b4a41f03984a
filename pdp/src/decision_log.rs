//! The decision log: one JSON line a decision, handed over and never waited for.

mod lines;
mod mask;

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::HeaderValue;
use authzen::{EvaluationRequest, SearchQuestion, SnapshotVersion};
use serde::Serialize;
use serde_json::{Value, json};
use service_kit::line_sink::LineWriter;
use service_kit::traces::Span;
use service_kit::{LineSink, TraceContext, UnixTime};
use strict_json::Members;

use crate::PdpError;
use crate::answer::Id;
use crate::config::PdpConfig;
use crate::meters::LogMeters;
use crate::room::Place;
use crate::search::PageFound;
pub(crate) use lines::Lines;
use mask::Mask;

/// Who asked, for the log and for as long as is worked for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    /// A configured caller's name, an address, or `in process`.
    pub(crate) caller: Arc<str>,
    pub(crate) request_id: Option<HeaderValue>,
    /// What trace the question is asked in.
    pub(crate) trace: Option<TraceContext>,
    /// What a search holds while it is worked on.
    pub(crate) place: Option<Place>,
}

impl Asker {
    /// Begins a part of the answer, where the trace is recorded.
    pub(crate) fn part(&self, name: &'static str) -> Option<Span> {
        self.trace.as_ref()?.part(name)
    }

    /// What trace that part is in.
    pub(crate) fn within<'a>(&'a self, part: Option<&'a Span>) -> Option<&'a TraceContext> {
        part.map(Span::context).or(self.trace.as_ref())
    }

    /// As the caller wrote it, where that is a text.
    fn request_id(&self) -> Option<Cow<'_, str>> {
        let id = self.request_id.as_ref()?;
        Some(String::from_utf8_lossy(id.as_bytes()))
    }

    fn trace_id(&self) -> Option<String> {
        self.trace.as_ref().map(TraceContext::trace_id)
    }

    fn span_id(&self) -> Option<String> {
        self.trace.as_ref().map(TraceContext::span_id)
    }
}

/// Writes decisions. Dropping it writes what is still queued.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    sink: Option<LineSink>,
    writer: Mutex<Option<LineWriter>>,
    mask: Mask,
    sampled: Sample,
    meters: LogMeters,
}

/// The share of permits that are recorded.
#[derive(Debug, Clone, Copy)]
struct Sample(f64);

impl Sample {
    /// Of the same decision it always says the same.
    fn takes(self, id: Id<'_>) -> bool {
        if self.0 >= 1.0 {
            return true;
        }
        let number = service_kit::digest::spread(id.to_string().as_bytes());
        f64::from(number) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

#[derive(Serialize)]
struct SearchRecord<'a> {
    kind: &'static str,
    time: String,
    search: &'static str,
    question: Value,
    results: usize,
    /// Whether more pages may follow.
    more: bool,
    decided: usize,
    snapshot: &'a SnapshotVersion,
    duration_us: u64,
    caller: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
}

impl DecisionLog {
    /// Opens the target; a file is relative to `base`, and its folder is made when absent.
    pub(crate) fn open(
        config: &PdpConfig,
        base: &Path,
        meters: LogMeters,
    ) -> Result<Self, PdpError> {
        let rate = config.decision_log_sample_permits;
        if !(0.0..=1.0).contains(&rate) {
            let message = "`pdp.decision_log_sample_permits` must be from 0 to 1";
            return Err(PdpError::Config(service_kit::ConfigIssue::new(message)));
        }
        let mask = Mask::new(&config.decision_log_mask).map_err(PdpError::Config)?;
        let target = config.decision_log.prepared(base);
        let target = target.map_err(PdpError::DecisionLog)?;
        let (sink, writer) = LineSink::open(&target).map_err(PdpError::DecisionLog)?;
        Ok(Self {
            sink: Some(sink),
            writer: Mutex::new(Some(writer)),
            mask,
            sampled: Sample(rate),
            meters,
        })
    }

    /// Where the records of a request are gathered.
    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines::of(self)
    }

    /// Records one page of a search.
    pub(crate) fn search(
        &self,
        question: &SearchQuestion,
        found: &PageFound,
        snapshot: &SnapshotVersion,
        asker: &Asker,
        now: UnixTime,
        took: Duration,
    ) {
        if !self.is_on() {
            return;
        }
        let Ok(Value::Object(asked)) = serde_json::to_value(question) else {
            return;
        };
        let asked = Members::from(&asked);
        let record = SearchRecord {
            kind: "search",
            time: now.rfc3339(),
            search: question.kind().as_str(),
            question: self.mask.value(&[], &asked),
            results: found.results.len(),
            more: found.next.is_some(),
            decided: found.decided,
            snapshot,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            caller: &asker.caller,
            request_id: asker.request_id(),
            trace_id: asker.trace_id(),
            span_id: asker.span_id(),
        };
        self.write(&record);
    }

    /// Records that somebody was told what policies leave open: `part` is the side that was open.
    pub(crate) fn left_open(
        &self,
        kind: &'static str,
        request: &EvaluationRequest,
        part: &'static str,
        snapshot: &SnapshotVersion,
        asker: &Asker,
        now: UnixTime,
    ) {
        if !self.is_on() {
            return;
        }
        let side = |name: &str, kind: &str, id: &str| {
            if name == part {
                json!({ "type": kind })
            } else {
                json!({ "type": kind, "id": id })
            }
        };
        let mut record = json!({
            "kind": kind,
            "time": now.rfc3339(),
            "subject": side("subject", &request.subject.kind, &request.subject.id),
            "action": { "name": request.action.name },
            "resource": side("resource", &request.resource.kind, &request.resource.id),
            "context": self.mask.value(&["context"], &Members::from(&request.context)),
            "snapshot": snapshot,
            "caller": *asker.caller,
            "request_id": asker.request_id(),
        });
        if let (Some(trace), Some(members)) = (&asker.trace, record.as_object_mut()) {
            members.insert("trace_id".into(), trace.trace_id().into());
            members.insert("span_id".into(), trace.span_id().into());
        }
        self.write(&record);
    }

    fn is_on(&self) -> bool {
        self.sink.as_ref().is_some_and(LineSink::is_on)
    }

    fn write(&self, record: &impl Serialize) {
        if let Ok(mut line) = serde_json::to_vec(record) {
            line.push(b'\n');
            self.hand_over(line);
        }
    }

    /// Hands over whole lines, and counts what is lost by it.
    fn hand_over(&self, lines: Vec<u8>) {
        if let Some(sink) = &self.sink {
            sink.send(lines);
            self.meters.dropped.is_now(sink.dropped());
        }
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        // The writer ends when the last sink is gone, and this is the only one.
        self.sink = None;
        let writer = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
