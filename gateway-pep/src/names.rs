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

/// 32 hexadecimal digits; or the UUID that a proxy in front has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId {
    text: [u8; UUID],
    length: usize,
}

const DIGITS: usize = 32;
/// Length of a UUID, with its hyphens.
const UUID: usize = 36;

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
        let mut text = [0; UUID];
        for (at, digit) in text.iter_mut().take(DIGITS).enumerate() {
            let nibble = usize::try_from((hash >> (at * 4)) & 15).unwrap_or(0);
            *digit = HEX.get(nibble).copied().unwrap_or(b'0');
        }
        RequestId {
            text,
            length: DIGITS,
        }
    }
}

impl RequestId {
    /// One that a proxy in front has given: 32 hexadecimal digits, or a UUID (RFC 9562). None: it is something else.
    pub(crate) fn given(value: &HeaderValue) -> Option<Self> {
        let given = value.as_bytes();
        let is_formed = match given.len() {
            DIGITS => given.iter().all(u8::is_ascii_hexdigit),
            UUID => given.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            }),
            _ => false,
        };
        let mut text = [0; UUID];
        let place = text.get_mut(..given.len()).filter(|_| is_formed)?;
        place.copy_from_slice(given);
        Some(Self {
            text,
            length: given.len(),
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn as_header(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.bytes())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }

    /// A trace that begins here, W3C Trace Context.
    fn as_traceparent(&self) -> Option<HeaderValue> {
        let mut id = [0; DIGITS];
        match self.bytes().first_chunk() {
            Some(digits) if self.length == DIGITS => id = *digits,
            _ => {
                let digits = self.bytes().iter().filter(|byte| **byte != b'-');
                for (own, digit) in id.iter_mut().zip(digits) {
                    *own = *digit;
                }
            }
        }
        id.make_ascii_lowercase();
        let span: &[u8; 16] = id.first_chunk()?;
        // Zeros are no name.
        if span == b"0000000000000000" {
            return None;
        }
        let mut value = *b"00-................................-................-00";
        value.get_mut(3..35)?.copy_from_slice(&id);
        value.get_mut(36..52)?.copy_from_slice(span);
        HeaderValue::from_bytes(&value).ok()
    }
}

/// Begins a trace in the place of what is said of one. None: nothing is said of any then.
pub(crate) fn begin_trace(headers: &mut HeaderMap, id: &RequestId) -> Option<HeaderValue> {
    headers.remove(TRACESTATE);
    let parent = id.as_traceparent();
    match &parent {
        Some(parent) => headers.insert(TRACEPARENT, parent.clone()),
        None => headers.remove(TRACEPARENT),
    };
    parent
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
    fn a_given_name_is_digits_or_a_uuid_and_begins_a_trace() {
        let uuid = "6F9619FF-8b86-d011-b42d-00cf4fc964ff";
        for (given, is_taken) in [
            (uuid, true),
            ("0af7651916cd43dd8448eb211c80319c", true),
            ("00000000000000000000000000000000", true),
            ("0af7651916cd43dd8448eb211c80319", false),
            ("0af7651916cd43dd8448eb211c80319g", false),
            ("6f9619ff-8b86-d011-b42d_00cf4fc964ff", false),
            ("6f9619ff8-b86-d011-b42d-00cf4fc964f", false),
            ("", false),
        ] {
            let id = RequestId::given(&given.parse().unwrap());
            assert_eq!(id.is_some(), is_taken, "{given}");
            if let Some(id) = id {
                assert_eq!(id.as_str(), given);
                assert_eq!(id.as_header(), given);
            }
        }
        let trace_of = |given: &str| {
            let id = RequestId::given(&given.parse().unwrap()).unwrap();
            let mut headers = HeaderMap::new();
            let parent = begin_trace(&mut headers, &id);
            assert_eq!(headers.get(TRACEPARENT), parent.as_ref());
            parent
        };
        let parent = trace_of(uuid).unwrap();
        assert_eq!(trace_id(&parent), Some("6f9619ff8b86d011b42d00cf4fc964ff"));
        assert_eq!(trace_of("00000000-0000-0000-0000-000000000000"), None);
    }

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
            if trace(&headers).is_none() {
                begin_trace(&mut headers, &one);
            }
            let parent = headers.get(TRACEPARENT).unwrap();
            assert_eq!(parent == sent, kept, "{sent}");
            assert_eq!(headers.contains_key(TRACESTATE), kept);
            assert_eq!(trace_id(parent), parent.to_str().unwrap().get(3..35));
        }
    }
}
