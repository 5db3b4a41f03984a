//! Names for requests and traces: unpredictable, and made without asking the system each time.

use std::cell::Cell;

use http::{HeaderMap, HeaderValue};
use service_kit::random::{self, RandomError};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use crate::headers::{TRACEPARENT, TRACESTATE};

/// Makes the names of one worker.
pub(crate) struct Names {
    key: SipHasher13,
    count: Cell<u64>,
}

/// 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId([u8; 32]);

impl std::fmt::Debug for Names {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    pub(crate) fn new() -> Result<Self, RandomError> {
        Ok(Self {
            key: SipHasher13::new_with_key(&random::bytes::<16>()?),
            count: Cell::new(0),
        })
    }

    pub(crate) fn next(&self) -> RequestId {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let mut hasher = self.key;
        hasher.write_u64(count);
        let hash = hasher.finish128().as_u128();
        let mut digits = [0; 32];
        for (at, digit) in digits.iter_mut().enumerate() {
            let nibble = usize::try_from((hash >> (at * 4)) & 15).unwrap_or(0);
            *digit = HEX.get(nibble).copied().unwrap_or(b'0');
        }
        RequestId(digits)
    }
}

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn as_header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }

    /// A trace that begins here, W3C Trace Context.
    fn as_traceparent(&self) -> Option<HeaderValue> {
        let id = self.as_str();
        let mut value = Vec::with_capacity(55);
        value.extend_from_slice(b"00-");
        value.extend_from_slice(id.as_bytes());
        value.extend_from_slice(b"-");
        value.extend_from_slice(id.as_bytes().get(..16)?);
        value.extend_from_slice(b"-00");
        HeaderValue::from_bytes(&value).ok()
    }
}

/// Hands a client's valid trace on, or begins one. Returns the trace id's place in the header.
pub(crate) fn continue_trace(headers: &mut HeaderMap, id: &RequestId) {
    if trace(headers).is_some() {
        return;
    }
    headers.remove(TRACESTATE);
    if let Some(parent) = id.as_traceparent() {
        headers.insert(TRACEPARENT, parent);
    }
}

/// The one valid `traceparent`.
pub(crate) fn trace(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else {
        return None;
    };
    is_traceparent(parent.as_bytes()).then_some(parent)
}

/// The trace id of a valid `traceparent`.
pub(crate) fn trace_id(parent: &HeaderValue) -> Option<&str> {
    parent.to_str().ok()?.get(3..35)
}

fn is_traceparent(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b'-');
    let mut part = |length: usize| {
        parts.next().filter(|part| {
            part.len() == length
                && part
                    .iter()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let valid = part(2).is_some_and(|version| version == b"00")
        && part(32).is_some_and(|trace| !zero(trace))
        && part(16).is_some_and(|span| !zero(span))
        && part(2).is_some();
    valid && parts.next().is_none()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_a_bad_trace_is_replaced() {
        let names = Names::new().unwrap();
        let (one, two) = (names.next(), names.next());
        assert_ne!(one, two);
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (sent, kept) in [
            (good, true),
            (
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, sent.parse().unwrap());
            headers.insert(TRACESTATE, "a=b".parse().unwrap());
            continue_trace(&mut headers, &one);
            let parent = headers.get(TRACEPARENT).unwrap();
            assert_eq!(parent == sent, kept, "{sent}");
            assert_eq!(headers.contains_key(TRACESTATE), kept);
            assert_eq!(trace_id(parent), parent.to_str().unwrap().get(3..35));
        }
    }
}
