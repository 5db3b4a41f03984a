//! Records of decisions, one line each: written as the answer is given, handed over together.

mod open;
mod refused;

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use authzen::{Asked, AskedAction, AskedEntity, SnapshotVersion};
use serde_json::Value;
use service_kit::UnixTime;
use strict_json::{Arena, JsonText, Members};

use super::{Asker, DecisionLog, Share};
use crate::answer::Id;
use crate::short::{is_short, short};
use crate::snapshot::{Answered, Failure};
use crate::spelled::Spelled;
pub(crate) use refused::Refused;

/// Records of one request, handed over together when it is answered.
#[derive(Debug)]
pub(crate) struct Lines<'l> {
    log: &'l DecisionLog,
    /// Who asks.
    asker: &'l Asker,
    text: JsonText,
    /// Entities that the question brings along.
    brought: &'l [Value],
    /// How the last one of this thread began: many are of one millisecond.
    begun: Option<Begun>,
    /// Where it is said there who asks, once it is.
    by: Option<Range<usize>>,
    /// Where a record of a decision ends there as all do, once one does.
    tail: Option<Range<usize>>,
    /// The last subject, and where it stands there: many entries of a batch share one.
    subject: Option<(AskedEntity<'l>, Range<usize>)>,
}

/// What a thread keeps of the last records.
#[derive(Debug, Default)]
struct Spare {
    /// What they were written into: it is warm, and large enough.
    text: JsonText,
    begun: Option<Begun>,
}

/// How a record of a decision begins, as all of one time and one process do.
#[derive(Debug)]
struct Begun {
    at: UnixTime,
    process: String,
    text: String,
}

thread_local! {
    static SPARE: Cell<Option<Spare>> = const { Cell::new(None) };
}

/// More are not kept back.
const TOGETHER: usize = 64 << 10;

/// A buffer that is larger is not used again. Where much is handed over, buffers go round that have held what
/// several requests have put down. Bytes.
const KEPT: usize = 16 * TOGETHER;

/// Attributes of one part of a question are recorded up to this. Bytes.
const LONGEST: usize = 4 << 10;

/// Room for a record, nearly always.
const RECORD: usize = 1 << 10;

impl<'l> Lines<'l> {
    pub(super) fn of(log: &'l DecisionLog, asker: &'l Asker) -> Self {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let Spare { text, begun } = spare.unwrap_or_default();
        Self {
            log,
            asker,
            text,
            brought: &[],
            begun,
            by: None,
            tail: None,
            subject: None,
        }
    }

    /// The same, where the question brings entities along, in Cedar's JSON format.
    pub(crate) fn with_entities(mut self, brought: &'l [Value]) -> Self {
        self.brought = brought;
        self
    }

    /// Records one decision.
    pub(crate) fn record(
        &mut self,
        asked: &Asked<'l>,
        answered: &Answered<'_>,
        now: UnixTime,
        took: Duration,
    ) {
        let (log, answer) = (self.log, &answered.answer);
        if !log.is_on() {
            return;
        }
        let share = log.share(answered);
        if !share.takes(answer.id) {
            log.meters.left_out.inc();
            return;
        }
        self.text.reserve(RECORD);
        self.decided(answer.id, answer.decision.is_permit(), share, now);
        self.asked(asked);
        self.brought();
        self.because(answered);
        self.text.raw(r#","duration_us":"#);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.text.number(took);
        self.tail(answer.version);
    }

    /// Begins a record.
    fn begin(&mut self, kind: &str, now: UnixTime) {
        let text = &mut self.text;
        text.raw(r#"{"kind":"#);
        text.text(kind);
        text.raw(r#","time":"#);
        text.text(&now.rfc3339());
    }

    /// Ends it.
    fn end(&mut self) {
        self.text.raw("}\n");
        if self.text.len() > TOGETHER {
            self.hand_over();
        }
    }

    fn decided(&mut self, id: Id<'_>, permits: bool, share: Share, now: UnixTime) {
        match &self.begun {
            Some(begun) if begun.at == now && begun.process == id.process => {
                self.text.raw(&begun.text);
            }
            _ => self.begin_decided(id, now),
        }
        let text = &mut self.text;
        text.raw("-");
        text.hexadecimal(id.count);
        text.raw(if permits {
            r#"","decision":true"#
        } else {
            r#"","decision":false"#
        });
        if share.0 < 1.0 {
            text.raw(r#","sample":"#);
            text.value(&share.0);
        }
    }

    fn begin_decided(&mut self, id: Id<'_>, now: UnixTime) {
        let start = self.text.len();
        self.begin("decision", now);
        self.text.raw(r#","id":""#);
        self.text.raw(id.process);
        let text = self.text.as_bytes().get(start..).unwrap_or_default();
        self.begun = Some(Begun {
            at: now,
            process: id.process.to_owned(),
            text: String::from_utf8_lossy(text).into_owned(),
        });
    }

    fn asked(&mut self, asked: &Asked<'l>) {
        self.text.raw(r#","subject":"#);
        self.subject(&asked.subject);
        self.text.raw(r#","action":"#);
        self.named(&asked.action);
        self.text.raw(r#","resource":"#);
        self.entity("resource", &asked.resource);
        if !asked.context.is_empty() {
            self.text.raw(r#","context":"#);
            self.shown(&["context"], asked.context);
        }
    }

    fn subject(&mut self, asked: &AskedEntity<'l>) {
        if let Some((known, written)) = &self.subject
            && known.is_same_part(asked)
        {
            return self.text.repeat(written.clone());
        }
        let start = self.text.len();
        self.entity("subject", asked);
        self.subject = Some((*asked, start..self.text.len()));
    }

    fn entity(&mut self, part: &str, asked: &AskedEntity<'_>) {
        if let Some(text) = asked.text
            && text.len() <= LONGEST
            && is_short(asked.kind)
            && is_short(asked.id)
            && self.log.mask.shows_all(asked.properties)
        {
            return self.text.raw(text);
        }
        self.text.raw(r#"{"type":"#);
        self.text.text(&short(asked.kind));
        self.text.raw(r#","id":"#);
        self.text.text(&short(asked.id));
        self.properties(&[part, "properties"], asked.properties);
        self.text.raw("}");
    }

    fn named(&mut self, action: &AskedAction<'_>) {
        self.text.raw(r#"{"name":"#);
        self.text.text(&short(action.name));
        self.properties(&["action", "properties"], action.properties);
        self.text.raw("}");
    }

    fn properties(&mut self, place: &[&str], members: &Members<'_>) {
        if !members.is_empty() {
            self.text.raw(r#","properties":"#);
            self.shown(place, members);
        }
    }

    /// Elements of arrays have no name: an attribute of theirs is masked as `entities.attrs.…`.
    fn brought(&mut self) {
        if self.brought.is_empty() {
            return;
        }
        self.text.raw(r#","entities":"#);
        let (start, mask) = (self.text.len(), &self.log.mask);
        self.text.list(self.brought, |text, entity| match entity {
            Value::Object(entity) => {
                let arena = Arena::new();
                mask.write(&["entities"], &Members::lent(entity, &arena), text);
            }
            _ => text.raw("null"),
        });
        self.bound(start, 0);
    }

    /// What is too long is left out: a few requests with much that nobody reads could else push out
    /// of the log what was there before.
    fn shown(&mut self, place: &[&str], members: &Members<'_>) {
        let (start, long) = (self.text.len(), members.text().map_or(0, str::len));
        if long <= LONGEST {
            self.log.mask.write(place, members, &mut self.text);
        }
        self.bound(start, long);
    }

    /// Takes back what has been written since `start` where it is too long, or would have been.
    fn bound(&mut self, start: usize, long: usize) {
        let long = long.max(self.text.len() - start);
        if long > LONGEST {
            self.text.truncate(start);
            self.text.raw(r#"{"[left out, bytes]":"#);
            self.text.number(long as u64);
            self.text.raw("}");
        }
    }

    fn because(&mut self, answered: &Answered<'_>) {
        let (text, answer) = (&mut self.text, &answered.answer);
        text.raw(r#","policies":"#);
        text.list(&answer.rules, |text, rule| text.text(&rule.reason.policy));
        let obligations = answer.rules.iter().flat_map(|rule| &rule.obligations);
        let mut obligations = obligations.peekable();
        if obligations.peek().is_some() {
            text.raw(r#","obligations":"#);
            text.list(obligations, |text, one| text.text(&one.kind));
        }
        if !answered.failures.is_empty() {
            text.raw(r#","errors":"#);
            text.list(&answered.failures, failure);
        }
        if let Some(error) = &answer.error {
            text.raw(r#","error":"#);
            text.value(error);
        }
    }

    /// Ends a record of a decision: by which snapshot it was made, and for whom.
    fn tail(&mut self, version: &Spelled<SnapshotVersion>) {
        if let Some(written) = &self.tail {
            self.text.repeat(written.clone());
        } else {
            let start = self.text.len();
            self.text.raw(r#","snapshot":"#);
            version.write(&mut self.text);
            self.by();
            self.tail = Some(start..self.text.len());
        }
        self.end();
    }

    fn by(&mut self) {
        let (text, asker) = (&mut self.text, self.asker);
        if let Some(written) = &self.by {
            return text.repeat(written.clone());
        }
        let start = text.len();
        text.raw(r#","caller":"#);
        text.text(&asker.caller);
        if let Some(id) = asker.request_id() {
            text.raw(r#","request_id":"#);
            text.text(&short(&id));
        }
        if let Some(trace) = &asker.trace {
            text.raw(r#","trace_id":"#);
            text.text(&trace.trace_id());
            text.raw(r#","span_id":"#);
            text.text(&trace.span_id());
        }
        self.by = Some(start..text.len());
    }

    fn hand_over(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.text = JsonText::after(self.log.hand_over(text.into_bytes()));
            (self.by, self.tail, self.subject) = (None, None, None);
        }
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        self.hand_over();
        let mut text = std::mem::take(&mut self.text);
        if text.capacity() > KEPT {
            text = JsonText::default();
        }
        let begun = self.begun.take();
        // A thread that is about to end keeps nothing.
        let _ = SPARE.try_with(|spare| spare.set(Some(Spare { text, begun })));
    }
}

fn failure(text: &mut JsonText, failure: &Failure) {
    let Failure {
        policy,
        message,
        place,
    } = failure;
    text.raw(r#"{"policy":"#);
    text.text(policy);
    text.raw(r#","message":"#);
    text.text(message);
    if let Some(place) = place {
        text.raw(r#","place":"#);
        text.text(place);
    }
    text.raw("}");
}
