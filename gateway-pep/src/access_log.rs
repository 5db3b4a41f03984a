//! The access log: one line a request, written when the answer has gone.
//!
//! A line never holds a token or a policy's text, and of a query only what the configuration names. The path is the
//! canonical one, the one that was decided on.

mod combined;
mod json;
mod masked;

use std::cell::{Ref, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use service_kit::{LineSink, UnixTime};
use tokio::sync::Notify;

use crate::cache::Source;
use crate::cache::verdict::Verdict;
use crate::config::LineFormat;
use crate::identity::Identity;
use crate::names::RequestId;
use crate::plan::LinePlan;

/// What is known about a request so far.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: UnixTime,
    pub(crate) id: &'a RequestId,
    /// The trace that it is in, by its id.
    pub(crate) trace: Option<&'a str>,
    /// Address and text.
    pub(crate) client: (IpAddr, &'a str),
    pub(crate) is_http2: bool,
    pub(crate) method: Option<&'a Method>,
    pub(crate) host: Option<&'a str>,
    pub(crate) target: Option<&'a PathAndQuery>,
    pub(crate) route: Option<usize>,
    pub(crate) upstream: Option<&'a str>,
    pub(crate) user_agent: Option<&'a HeaderValue>,
    /// Those of [`LinePlan::headers`].
    pub(crate) headers: &'a [Option<HeaderValue>],
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

    pub(crate) fn write(&self, line: &Line<'_>, plan: &LinePlan) {
        let mut gathered = self.gathered.borrow_mut();
        if gathered.is_empty() {
            gathered.reserve(ENOUGH + 2048);
            self.begun.notify_one();
        }
        let out = &mut *gathered;
        match plan.format {
            LineFormat::Json => json::write(line, plan, |out| self.stamp(line.at, out), out),
            LineFormat::Combined => {
                combined::write(line, plan, |out| self.calendar(line.at, out), out);
            }
        }
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

    /// As Apache writes it.
    fn calendar(&self, at: UnixTime, out: &mut Vec<u8>) {
        let text = calendar(&self.second(at));
        out.extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    /// RFC 3339.
    fn stamp(&self, at: UnixTime, out: &mut Vec<u8>) {
        out.extend_from_slice(self.second(at).as_bytes());
        let millis = at.as_millis() % 1000;
        let mut digits = itoa::Buffer::new();
        // 1000 to 1999: the leading one keeps the zeros.
        let digits = digits.format(millis + 1000);
        out.extend_from_slice(digits.as_bytes().get(1..).unwrap_or_default());
        out.push(b'Z');
    }

    /// RFC 3339 up to the fraction of a second; only made once a second.
    fn second(&self, at: UnixTime) -> Ref<'_, str> {
        let secs = at.as_secs();
        if self.second.borrow().0 != secs {
            let mut text = UnixTime::from_secs(secs).rfc3339();
            text.truncate(text.len().saturating_sub("000Z".len()));
            *self.second.borrow_mut() = (secs, text);
        }
        Ref::map(self.second.borrow(), |(_, text)| text.as_str())
    }
}

/// `10/Oct/2000:13:55:36 +0000`, of what RFC 3339 has up to the seconds, and a point.
fn calendar(text: &str) -> Option<String> {
    let (date, time) = text.split_once('T')?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    let time = time.get(..8)?;
    Some(format!("{day}/{month}/{year}:{time} +0000"))
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// So many bytes are handed over at once.
const ENOUGH: usize = 16 << 10;
/// So long a line is kept at most.
const SOON: Duration = Duration::from_millis(5);
