//! The access log: one JSON line a request, written when the answer has gone.
//!
//! A line never holds a token, a query string or a policy's text. The path is the canonical one,
//! the one that was decided on.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use service_kit::{LineSink, UnixTime};
use tokio::sync::Notify;

use crate::cache::Source;
use crate::cache::verdict::Verdict;
use crate::identity::Identity;
use crate::names::{RequestId, trace_id};

/// What is known about a request so far.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: UnixTime,
    pub(crate) id: &'a RequestId,
    pub(crate) trace: Option<&'a HeaderValue>,
    pub(crate) client_ip: &'a str,
    pub(crate) method: Option<&'a Method>,
    pub(crate) host: Option<&'a str>,
    pub(crate) target: Option<&'a PathAndQuery>,
    pub(crate) route: Option<&'a str>,
    pub(crate) upstream: Option<&'a str>,
    pub(crate) user_agent: Option<&'a HeaderValue>,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration_us: u64,
    pub(crate) upstream_us: Option<u64>,
    /// Whose session it came with.
    pub(crate) login: Option<&'a str>,
    pub(crate) caller: Option<&'a Rc<Identity>>,
    pub(crate) token_source: Option<Source>,
    pub(crate) decision: Option<(&'a Rc<Verdict>, Source)>,
    pub(crate) logged: &'a [String],
    pub(crate) error: Option<&'a str>,
}

/// Writes the lines of one worker.
#[derive(Debug)]
pub(crate) struct AccessLog {
    sink: LineSink,
    /// Lines that were not handed over yet: together they cost less.
    gathered: RefCell<Vec<u8>>,
    /// Told by the first line that is gathered.
    begun: Notify,
    /// The second of the last line, and how it is written.
    second: RefCell<(u64, String)>,
}

impl AccessLog {
    pub(crate) fn new(sink: LineSink) -> Self {
        Self {
            sink,
            gathered: RefCell::default(),
            begun: Notify::new(),
            second: RefCell::new((u64::MAX, String::new())),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.sink.is_on()
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let mut gathered = self.gathered.borrow_mut();
        if gathered.is_empty() {
            gathered.reserve(ENOUGH + 2048);
            self.begun.notify_one();
        }
        let json = &mut Json(&mut gathered);
        json.0.extend_from_slice(b"{\"ts\":\"");
        self.stamp(line.at, json.0);
        json.0.push(b'"');
        json.text("request_id", line.id.as_str());
        json.maybe("trace_id", line.trace.and_then(trace_id));
        json.text("client_ip", line.client_ip);
        json.maybe("method", line.method.map(Method::as_str));
        json.maybe("host", line.host);
        json.maybe("path", line.target.map(PathAndQuery::path));
        json.maybe("route", line.route);
        json.number("status", u64::from(line.status));
        json.number("bytes_in", line.bytes_in);
        json.number("bytes_out", line.bytes_out);
        json.number("duration_us", line.duration_us);
        if let Some(upstream_us) = line.upstream_us {
            json.number("upstream_us", upstream_us);
        }
        json.maybe("upstream", line.upstream);
        json.maybe("login", line.login);
        if let Some(caller) = line.caller {
            json.text("subject", &caller.vouched.facts.sub);
            json.text("client_id", &caller.vouched.facts.client_id);
            json.text("issuer", &caller.issuer);
        }
        json.maybe("token_source", line.token_source.map(Source::as_str));
        if let Some((verdict, source)) = line.decision {
            json.text(
                "decision",
                if verdict.is_permit() {
                    "permit"
                } else {
                    "deny"
                },
            );
            json.text("decision_source", source.as_str());
            json.maybe("decision_id", verdict.id.as_deref());
            json.maybe("policy_version", verdict.version.as_deref());
        }
        if !line.logged.is_empty() {
            json.text("obligations", &line.logged.join(" "));
        }
        json.maybe(
            "user_agent",
            line.user_agent.and_then(|value| value.to_str().ok()),
        );
        json.maybe("error", line.error);
        json.0.extend_from_slice(b"}\n");
        if gathered.len() >= ENOUGH {
            self.sink.send(&gathered);
            gathered.clear();
        }
    }

    /// Hands over what is gathered.
    pub(crate) fn flush(&self) {
        let mut gathered = self.gathered.borrow_mut();
        if !gathered.is_empty() {
            self.sink.send(&gathered);
            gathered.clear();
        }
    }

    /// Hands lines over soon after they were written, as long as the worker lives.
    pub(crate) async fn flush_soon(&self) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(SOON).await;
            self.flush();
        }
    }

    /// Lines lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.sink.dropped()
    }

    /// RFC 3339; the date is only made once a second.
    fn stamp(&self, at: UnixTime, out: &mut Vec<u8>) {
        let mut second = self.second.borrow_mut();
        if second.0 != at.as_secs() {
            let mut text = UnixTime::from_secs(at.as_secs()).rfc3339();
            text.truncate(text.len().saturating_sub("000Z".len()));
            *second = (at.as_secs(), text);
        }
        out.extend_from_slice(second.1.as_bytes());
        let millis = at.as_millis() % 1000;
        let mut digits = itoa::Buffer::new();
        // 1000 to 1999: the leading one keeps the zeros.
        let digits = digits.format(millis + 1000);
        out.extend_from_slice(digits.as_bytes().get(1..).unwrap_or_default());
        out.push(b'Z');
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// So many bytes are handed over at once.
const ENOUGH: usize = 16 << 10;
/// So long a line is kept at most.
const SOON: Duration = Duration::from_millis(5);

/// An object under construction; its first member is written by hand.
struct Json<'b>(&'b mut Vec<u8>);

impl Json<'_> {
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.0
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
        if value.bytes().all(plain) {
            self.0.push(b'"');
            self.0.extend_from_slice(value.as_bytes());
            self.0.push(b'"');
        } else if serde_json::to_writer(&mut *self.0, value).is_err() {
            // Writing to memory does not fail; if it did, the line must stay JSON.
            self.0.extend_from_slice(b"null");
        }
    }
}
