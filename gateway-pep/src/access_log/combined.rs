//! A line in Apache's combined log format: `address - subject [time] "request" status bytes "referer" "user agent"`.
//!
//! SECURITY: whatever a request says is escaped, so that nobody ends a field or a line but us.

use http::Method;
use http::uri::PathAndQuery;

use super::{Line, masked};
use crate::plan::LinePlan;

/// Appends a line. `stamp` writes the time between the brackets.
pub(super) fn write(
    line: &Line<'_>,
    plan: &LinePlan,
    stamp: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let address = masked::address(line.client, plan.address);
    bare(address.as_deref().map(str::as_bytes), out);
    out.extend_from_slice(b" - ");
    let subject = line
        .caller
        .map(|caller| caller.vouched.facts.sub.as_bytes());
    bare(subject, out);
    out.extend_from_slice(b" [");
    stamp(out);
    out.extend_from_slice(b"] \"");
    match (line.method, line.target) {
        (Some(method), Some(target)) => request(method, target, (line, plan), out),
        // It was not understood, and its own words are not believed.
        _ => out.push(b'-'),
    }
    out.extend_from_slice(b"\" ");
    number(u64::from(line.status), out);
    out.push(b' ');
    number(line.bytes_out, out);
    let mut fields = line.headers.iter();
    let referer = fields.next().and_then(Option::as_ref);
    quoted(referer.map(masked::referer).as_deref(), out);
    quoted(line.user_agent.map(http::HeaderValue::as_bytes), out);
    out.push(b'\n');
}

fn request(
    method: &Method,
    target: &PathAndQuery,
    (line, plan): (&Line<'_>, &LinePlan),
    out: &mut Vec<u8>,
) {
    escape(method.as_str().as_bytes(), out, |_| false);
    out.push(b' ');
    let path = masked::path(target.path(), plan.masked(line.route));
    escape(path.as_bytes(), out, |byte| byte == b' ');
    if let Some(query) = masked::query(target.query(), plan) {
        out.push(b'?');
        escape(query.as_bytes(), out, |byte| byte == b' ');
    }
    out.extend_from_slice(if line.is_http2 {
        b" HTTP/2.0"
    } else {
        b" HTTP/1.1"
    });
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A field between spaces.
fn bare(text: Option<&[u8]>, out: &mut Vec<u8>) {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => escape(text, out, |byte| matches!(byte, b' ' | b'[' | b']')),
        None => out.push(b'-'),
    }
}

/// A field between quotes, with what stands before it.
fn quoted(text: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"");
    match text.filter(|text| !text.is_empty()) {
        Some(text) => escape(text, out, |_| false),
        None => out.push(b'-'),
    }
    out.push(b'"');
}

/// Quotes, backslashes, control characters and all that is not ASCII as `\xHH`, as nginx does.
fn escape(text: &[u8], out: &mut Vec<u8>, also: impl Fn(u8) -> bool) {
    for &byte in text {
        if matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\' && !also(byte) {
            out.push(byte);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\x");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_ends_a_field_or_a_line(text: Vec<u8>) {
            let mut out = Vec::new();
            quoted(Some(&text), &mut out);
            let inner = &out[2..out.len() - 1];
            prop_assert!(inner.iter().all(|byte| matches!(byte, 0x20..=0x7e) && *byte != b'"'));
            let mut out = Vec::new();
            bare(Some(&text), &mut out);
            prop_assert!(out.iter().all(|byte| matches!(byte, 0x21..=0x7e) && !b"\"[]".contains(byte)));
        }
    }

    #[test]
    fn what_is_escaped_can_be_read() {
        let mut out = Vec::new();
        quoted(Some(b"a\"b\\c\n\x00\xff d"), &mut out);
        assert_eq!(out, br#" "a\x22b\x5Cc\x0A\x00\xFF d""#);
    }
}
