//! The decision log: one JSON line a decision, handed over and never waited for.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use authzen::{EvaluationRequest, Properties, SearchQuestion, SnapshotVersion};
use serde::Serialize;
use serde_json::{Value, json};
use service_kit::line_sink::{LineTarget, LineWriter};
use service_kit::{LineSink, UnixTime};

use crate::PdpError;
use crate::search::PageFound;
use crate::snapshot::Answered;

/// Who asked, for the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    /// A configured caller's name, an address, or `in process`.
    pub(crate) caller: String,
    pub(crate) request_id: Option<String>,
}

/// Writes decisions. Dropping it writes what is still queued.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    sink: Option<LineSink>,
    writer: Mutex<Option<LineWriter>>,
    masked: HashSet<String>,
}

#[derive(Serialize)]
struct Record<'a> {
    kind: &'static str,
    time: String,
    id: &'a str,
    decision: bool,
    subject: Entity<'a>,
    action: ActionRecord<'a>,
    resource: Entity<'a>,
    #[serde(skip_serializing_if = "Properties::is_empty")]
    context: Properties,
    policies: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    obligations: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FailureRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Value>,
    snapshot: &'a Option<authzen::SnapshotVersion>,
    duration_us: u64,
    caller: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct SearchRecord<'a> {
    kind: &'static str,
    time: String,
    search: &'static str,
    question: Properties,
    results: usize,
    /// Whether more pages may follow.
    more: bool,
    decided: usize,
    snapshot: &'a SnapshotVersion,
    duration_us: u64,
    caller: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Entity<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Properties::is_empty")]
    properties: Properties,
}

#[derive(Serialize)]
struct ActionRecord<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Properties::is_empty")]
    properties: Properties,
}

#[derive(Serialize)]
struct FailureRecord<'a> {
    policy: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
}

impl DecisionLog {
    /// Opens the target; a file is relative to `base`, and its folder is made when absent.
    pub(crate) fn open(
        target: &LineTarget,
        masked: &[String],
        base: &Path,
    ) -> Result<Self, PdpError> {
        let target = match target {
            LineTarget::File(path) => {
                let path = base.join(path);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(PdpError::DecisionLog)?;
                }
                LineTarget::File(path)
            }
            other => other.clone(),
        };
        let (sink, writer) = LineSink::open(&target).map_err(PdpError::DecisionLog)?;
        Ok(Self {
            sink: Some(sink),
            writer: Mutex::new(Some(writer)),
            masked: masked.iter().cloned().collect(),
        })
    }

    /// Lines lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.sink.as_ref().map_or(0, LineSink::dropped)
    }

    /// Records one decision.
    pub(crate) fn record(
        &self,
        request: &EvaluationRequest,
        answered: &Answered,
        asker: &Asker,
        now: UnixTime,
        took: Duration,
    ) {
        let Some(sink) = self.sink.as_ref().filter(|sink| sink.is_on()) else {
            return;
        };
        let context = &answered.evaluation.context;
        let record = Record {
            kind: "decision",
            time: now.rfc3339(),
            id: context.id.as_deref().unwrap_or_default(),
            decision: answered.evaluation.decision.is_permit(),
            subject: Entity {
                kind: &request.subject.kind,
                id: &request.subject.id,
                properties: self.masked(&request.subject.properties),
            },
            action: ActionRecord {
                name: &request.action.name,
                properties: self.masked(&request.action.properties),
            },
            resource: Entity {
                kind: &request.resource.kind,
                id: &request.resource.id,
                properties: self.masked(&request.resource.properties),
            },
            context: self.masked(&request.context),
            policies: context.reasons.iter().map(|r| r.policy.as_str()).collect(),
            obligations: context
                .obligations
                .iter()
                .map(|o| o.kind.as_str())
                .collect(),
            errors: answered
                .failures
                .iter()
                .map(|failure| FailureRecord {
                    policy: &failure.policy,
                    message: &failure.message,
                    place: failure.place.as_deref(),
                })
                .collect(),
            error: context.error.as_ref(),
            snapshot: &context.snapshot,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            caller: &asker.caller,
            request_id: asker.request_id.as_deref(),
        };
        if let Ok(mut line) = serde_json::to_vec(&record) {
            line.push(b'\n');
            sink.send(line);
        }
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
        let Some(sink) = self.sink.as_ref().filter(|sink| sink.is_on()) else {
            return;
        };
        let Ok(Value::Object(asked)) = serde_json::to_value(question) else {
            return;
        };
        let record = SearchRecord {
            kind: "search",
            time: now.rfc3339(),
            search: question.kind().as_str(),
            question: self.masked(&asked),
            results: found.results.len(),
            more: found.next.is_some(),
            decided: found.decided,
            snapshot,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            caller: &asker.caller,
            request_id: asker.request_id.as_deref(),
        };
        if let Ok(mut line) = serde_json::to_vec(&record) {
            line.push(b'\n');
            sink.send(line);
        }
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
        let Some(sink) = self.sink.as_ref().filter(|sink| sink.is_on()) else {
            return;
        };
        let side = |name: &str, kind: &str, id: &str| {
            if name == part {
                json!({ "type": kind })
            } else {
                json!({ "type": kind, "id": id })
            }
        };
        let record = json!({
            "kind": kind,
            "time": now.rfc3339(),
            "subject": side("subject", &request.subject.kind, &request.subject.id),
            "action": { "name": request.action.name },
            "resource": side("resource", &request.resource.kind, &request.resource.id),
            "context": self.masked(&request.context),
            "snapshot": snapshot,
            "caller": asker.caller,
            "request_id": asker.request_id,
        });
        if let Ok(mut line) = serde_json::to_vec(&record) {
            line.push(b'\n');
            sink.send(line);
        }
    }

    fn masked(&self, properties: &Properties) -> Properties {
        properties
            .iter()
            .map(|(name, value)| {
                let shown = if self.masked.contains(name) {
                    Value::from(MASK)
                } else {
                    self.masked_value(value)
                };
                (name.clone(), shown)
            })
            .collect()
    }

    fn masked_value(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) => Value::Object(self.masked(members)),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.masked_value(item)).collect())
            }
            other => other.clone(),
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

/// What stands in the place of a masked value.
const MASK: &str = "[masked]";

#[cfg(test)]
mod tests;
