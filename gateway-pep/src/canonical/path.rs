//! The canonical form of a path (RFC 3986 section 6.2.2, and refusals where that leaves doubt).
//!
//! Percent-encoded unreserved characters are decoded, the hexadecimal digits of the rest are
//! upper case; segments are neither empty nor dots. The form is a fixed point: normalising it
//! again changes nothing, so an upstream that normalises sees the path that was decided on.

use crate::canonical::Ambiguity;
use crate::canonical::encoded::{Encoded, check_decoded};

/// The normal form, or none where the path has it already. Nothing in it is encoded that would change its
/// meaning.
pub(crate) fn normalize(path: &str) -> Result<Option<String>, Ambiguity> {
    match normalize_keeping(path)? {
        (normal, Encoded::NONE) => Ok(normal),
        _ => Err(Ambiguity::EncodedDelimiter),
    }
}

/// The same, and which characters stay encoded in it that would change its meaning. Whoever takes it further
/// knows that the place that it leads to takes them.
pub(crate) fn normalize_keeping(path: &str) -> Result<(Option<String>, Encoded), Ambiguity> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Ambiguity::TargetForm);
    };
    if rest.bytes().all(is_plain) {
        return check_segments(rest).map(|()| (None, Encoded::NONE));
    }
    let mut encoded = Encoded::NONE;
    let mut normal = String::with_capacity(path.len());
    normal.push('/');
    let mut bytes = rest.bytes();
    // The decoded path, to see whether it is text.
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !is_plain(byte) {
                return Err(Ambiguity::PathCharacter);
            }
            normal.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        let value = escape(bytes.next(), bytes.next())?;
        decoded.push(value);
        if is_unreserved(value) {
            normal.push(char::from(value));
        } else {
            if let Some(character) = Encoded::of(value) {
                encoded = encoded.with(character);
            } else if value.is_ascii_control() {
                return Err(Ambiguity::EncodedDelimiter);
            }
            normal.push('%');
            normal.push(hex_digit(value >> 4));
            normal.push(hex_digit(value & 15));
        }
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(Ambiguity::PathUtf8);
    }
    let segments = normal.strip_prefix('/').unwrap_or(&normal);
    check_segments(segments)?;
    if encoded != Encoded::NONE {
        check_decoded(segments)?;
    }
    Ok(((normal != path).then_some(normal), encoded))
}

/// What a segment (or several) of a canonical path stands for. `None` only for paths that are
/// not canonical.
pub(crate) fn decode_segment(segment: &str) -> Option<std::borrow::Cow<'_, str>> {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .ok()
}

/// No empty segment but the last, and none that is `.` or `..`.
fn check_segments(rest: &str) -> Result<(), Ambiguity> {
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if segments.peek().is_some() => return Err(Ambiguity::EmptySegment),
            "." | ".." => return Err(Ambiguity::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

fn escape(high: Option<u8>, low: Option<u8>) -> Result<u8, Ambiguity> {
    match (high.and_then(hex_value), low.and_then(hex_value)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err(Ambiguity::PercentEncoding),
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` and `/`, but `;`: what begins a parameter to one reader is a name to another.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'='
                | b':'
                | b'@'
        )
}
