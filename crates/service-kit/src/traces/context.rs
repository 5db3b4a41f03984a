//! Where a request is in a trace, as W3C Trace Context says it: `traceparent` and `tracestate`.
//! What is not valid to the letter is nothing: the request is in no trace then.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::recorder::Recorder;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static(TraceContext::HEADER);
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The span that a piece of work belongs to, ours or a caller's.
#[derive(Debug, Clone)]
pub struct TraceContext {
    pub(super) span: SpanContext,
    /// Records what is done within; none where the trace is not recorded here.
    pub(super) recorder: Option<Arc<Recorder>>,
}

/// A longer `tracestate` is not handed on; W3C asks for 512 characters at least.
const LONGEST_STATE: usize = 1024;

impl TraceContext {
    /// The header that says where a request belongs, in lower case.
    pub const HEADER: &str = "traceparent";

    /// What a caller says, where it is valid. Nothing is recorded within.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            return None;
        };
        let (trace, span, flags) = traceparent(parent.as_bytes())?;
        Some(Self {
            span: SpanContext::new(trace, span, flags, true, tracestate(headers)),
            recorder: None,
        })
    }

    /// Says the context to whoever gets these headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Ok(parent) = HeaderValue::try_from(format!(
            "00-{}-{}-{:02x}",
            self.span.trace_id(),
            self.span.span_id(),
            self.span.trace_flags() & TraceFlags::SAMPLED
        )) else {
            return;
        };
        headers.insert(TRACEPARENT, parent);
        let state = self.span.trace_state().header();
        match HeaderValue::try_from(state) {
            Ok(state) if !state.is_empty() => headers.insert(TRACESTATE, state),
            Ok(_) | Err(_) => headers.remove(TRACESTATE),
        };
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.span.trace_id().to_string()
    }

    /// 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        self.span.span_id().to_string()
    }

    /// Whether spans within it are recorded.
    pub fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// The same place, but nothing is recorded within.
    #[must_use]
    pub fn without_parts(&self) -> Self {
        Self {
            span: self.span.clone(),
            recorder: None,
        }
    }
}

/// `00-{trace id}-{span id}-{flags}`. A later version may say more behind a further `-`, and
/// nothing but the sampled flag is known of it.
fn traceparent(value: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (head, more) = value.split_at_checked(55)?;
    let mut parts = head.split(|byte| *byte == b'-');
    let mut part = |digits| number(parts.next()?, digits);
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let has_a_good_end = match version {
        0 => more.is_empty(),
        0xff => false,
        _ => matches!(more, [] | [b'-', ..]),
    };
    let span = u64::try_from(span).ok()?;
    let flags = u8::try_from(flags).ok()?;
    if !has_a_good_end || trace == 0 || span == 0 {
        return None;
    }
    Some((
        TraceId::from(trace),
        SpanId::from(span),
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
    ))
}

/// Lower-case hexadecimal digits, exactly so many.
fn number(text: &[u8], digits: usize) -> Option<u128> {
    if text.len() != digits {
        return None;
    }
    text.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// What vendors add for themselves; nothing where it is not valid, which is no reason to leave the
/// trace.
fn tracestate(headers: &HeaderMap) -> TraceState {
    let values = headers.get_all(TRACESTATE).iter();
    let values: Option<Vec<_>> = values.map(|value| value.to_str().ok()).collect();
    let state = values.unwrap_or_default().join(",");
    if state.len() > LONGEST_STATE {
        return TraceState::default();
    }
    state.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(parents: &[&str], states: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, parent.parse().unwrap());
        }
        for state in states {
            headers.append(TRACESTATE, state.parse().unwrap());
        }
        headers
    }

    /// What is handed on of what was received.
    fn passed(parents: &[&str], states: &[&str]) -> Option<(String, Option<String>)> {
        let context = TraceContext::from_headers(&headers(parents, states))?;
        let mut sent = HeaderMap::new();
        context.write(&mut sent);
        let text = |name| {
            sent.get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        Some((text(&TRACEPARENT).unwrap(), text(&TRACESTATE)))
    }

    #[test]
    fn a_valid_parent_is_handed_on() {
        for (version, flags, handed) in [
            ("00", "01", "01"),
            ("00", "00", "00"),
            // Flags that nobody knows yet are not handed on.
            ("00", "ff", "01"),
            ("00", "02", "00"),
            // A later version, with and without more to say.
            ("cc", "01", "01"),
            ("cc", "01-what-the-future-will-be-like", "01"),
            ("01", "00-", "00"),
        ] {
            let sent = format!("{version}-{TRACE}-{SPAN}-{flags}");
            let (parent, state) = passed(&[&sent], &[]).unwrap_or_else(|| panic!("{sent}"));
            assert_eq!(parent, format!("00-{TRACE}-{SPAN}-{handed}"), "{sent}");
            assert_eq!(state, None);
        }
    }

    #[test]
    fn what_is_not_valid_to_the_letter_is_nothing() {
        let (trace, span) = (TRACE, SPAN);
        let (short_trace, short_span) = ("0af7651916cd43dd8448eb211c80319", "b7ad6b716920333");
        for bad in [
            String::new(),
            "00".into(),
            format!("ff-{trace}-{span}-01"),
            format!("0-{trace}-{span}-01"),
            format!("000-{trace}-{span}-01"),
            format!(".0-{trace}-{span}-01"),
            format!("0A-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-"),
            format!("00-{trace}-{span}-01-what"),
            format!("cc-{trace}-{span}-01.what"),
            format!("cc-{trace}-{span}-0"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{}-01", span.to_uppercase()),
            format!("00-{trace}-{span}-0A"),
            format!("00-{short_trace}-{span}-01"),
            format!("00-{trace}0-{span}-01"),
            format!("00-{trace}-{short_span}-01"),
            format!("00-{trace}-{span}1-01"),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}-{span}-001"),
            format!("00-{short_trace}.-{span}-01"),
            format!("00-+{short_trace}-{span}-01"),
            format!("00_{trace}_{span}_01"),
            format!("00-{trace}-{span}"),
            format!("{GOOD},{GOOD}"),
        ] {
            assert_eq!(passed(&[&bad], &["a=b"]), None, "{bad}");
        }
        assert_eq!(passed(&[GOOD, GOOD], &[]), None, "two headers");
        assert_eq!(passed(&[], &["a=b"]), None, "no header");
    }

    #[test]
    fn state_is_handed_on_whole_or_not_at_all() {
        let long = format!("a={}", "b".repeat(200));
        for (sent, kept) in [
            (&["congo=t61,rojo=00f"][..], Some("congo=t61,rojo=00f")),
            (&["congo=t61", "rojo=00f"], Some("congo=t61,rojo=00f")),
            (&["congo"], None),
            (&["Congo=1"], None),
            (&["a=b\u{e9}"], None),
            (&[&long, &long, &long, &long, &long, &long], None),
        ] {
            let (parent, state) = passed(&[GOOD], sent).unwrap();
            assert_eq!(parent, GOOD);
            assert_eq!(state.as_deref(), kept, "{sent:?}");
        }
    }

    proptest! {
        #[test]
        fn ids_come_out_as_they_went_in(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let parent = format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(sampled));
            prop_assert_eq!(passed(&[&parent], &[]), Some((parent.clone(), None)));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = traceparent(&bytes);
        }
    }
}
