//! The decision log: one JSON line a decision, handed over and never waited for.

mod lines;
mod mask;

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::HeaderValue;
use service_kit::line_sink::LineWriter;
use service_kit::traces::Span;
use service_kit::{ConfigIssue, LineSink, TraceContext};

use crate::PdpError;
use crate::answer::Id;
use crate::config::PdpConfig;
use crate::meters::LogMeters;
use crate::room::Place;
use crate::snapshot::Answered;
pub(crate) use lines::{Lines, Refused};
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
    /// May be told what is stored.
    pub(crate) may_read: bool,
}

impl Asker {
    /// Begins a part of the answer, where the trace is recorded.
    pub(crate) fn part(&self, name: &'static str) -> Option<Span> {
        self.trace.as_ref()?.part(name)
    }

    /// Whether parts of the answer are recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        self.trace.as_ref().is_some_and(TraceContext::is_recorded)
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
}

/// Writes decisions. Dropping it writes what is still queued.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    sink: Option<LineSink>,
    writer: Mutex<Option<LineWriter>>,
    mask: Mask,
    permits: Share,
    denies: Share,
    meters: LogMeters,
}

/// The share of such decisions that are recorded.
#[derive(Debug, Clone, Copy)]
struct Share(f64);

impl Share {
    const ALL: Self = Self(1.0);

    fn new(key: &str, share: f64) -> Result<Self, PdpError> {
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        let message = format!("`pdp.{key}` must be from 0 to 1");
        Err(PdpError::Config(ConfigIssue::new(message)))
    }

    /// Of the same decision it always says the same.
    fn takes(self, id: Id<'_>) -> bool {
        if self.0 >= 1.0 {
            return true;
        }
        let number = service_kit::digest::spread(id.to_string().as_bytes());
        f64::from(number) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

impl DecisionLog {
    /// Opens the target; a file is relative to `base`, and its folder is made when absent.
    pub(crate) fn open(
        config: &PdpConfig,
        base: &Path,
        meters: LogMeters,
    ) -> Result<Self, PdpError> {
        let permits = Share::new(
            "decision_log_sample_permits",
            config.decision_log_sample_permits,
        )?;
        let denies = Share::new(
            "decision_log_sample_denies",
            config.decision_log_sample_denies,
        )?;
        let mask = Mask::new(&config.decision_log_mask).map_err(PdpError::Config)?;
        let target = config.decision_log.prepared(base);
        let target = target.map_err(PdpError::DecisionLog)?;
        let (sink, writer) = LineSink::open(&target).map_err(PdpError::DecisionLog)?;
        Ok(Self {
            sink: Some(sink),
            writer: Mutex::new(Some(writer)),
            mask,
            permits,
            denies,
            meters,
        })
    }

    /// Where the records of a request are gathered.
    pub(crate) fn lines<'l>(&'l self, asker: &'l Asker) -> Lines<'l> {
        Lines::of(self, asker)
    }

    /// A deny that policies do not give, or not all of them that should have been asked, is recorded
    /// always: whoever looks for what is broken finds every one.
    fn share(&self, answered: &Answered<'_>) -> Share {
        if answered.answer.decision.is_permit() {
            self.permits
        } else if answered.answer.error.is_some() || !answered.failures.is_empty() {
            Share::ALL
        } else {
            self.denies
        }
    }

    fn is_on(&self) -> bool {
        self.sink.as_ref().is_some_and(LineSink::is_on)
    }

    /// Hands over whole lines, and counts what is lost by it. Gives an empty buffer for theirs.
    fn hand_over(&self, mut lines: Vec<u8>) -> Vec<u8> {
        if let Some(sink) = &self.sink {
            if let Cow::Owned(escaped) = unbroken(&lines) {
                lines = escaped;
            }
            sink.send_all(&mut lines);
            self.meters.dropped.is_now(sink.dropped());
        }
        lines.clear();
        lines
    }
}

/// Escapes what some readers of lines take for the end of one (U+2028 and U+2029). In JSON these can
/// stand in texts alone.
fn unbroken(lines: &[u8]) -> Cow<'_, [u8]> {
    let mut rest = lines;
    let mut escaped = Vec::new();
    let mut from = 0;
    while let Some(at) = memchr::memchr(0xE2, rest.get(from..).unwrap_or_default()) {
        let at = from + at;
        let escape = match rest.get(at..at + 3) {
            Some(b"\xE2\x80\xA8") => br"\u2028",
            Some(b"\xE2\x80\xA9") => br"\u2029",
            _ => {
                from = at + 1;
                continue;
            }
        };
        escaped.extend_from_slice(rest.get(..at).unwrap_or_default());
        escaped.extend_from_slice(escape);
        (rest, from) = (rest.get(at + 3..).unwrap_or_default(), 0);
    }
    if escaped.is_empty() {
        return Cow::Borrowed(lines);
    }
    escaped.extend_from_slice(rest);
    Cow::Owned(escaped)
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
