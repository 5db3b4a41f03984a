//! Where values are in a text that is known to be JSON, in which no object has a name twice.

use std::ops::Range;

use strict_json::Pointer;

/// How many bytes the value at the front takes. Does not recurse.
pub(super) fn value_length(json: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match json.get(at)? {
            b'"' => at += string_length(json.get(at..)?)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => {
                let scalar = json.get(at..)?.iter();
                at += scalar
                    .take_while(|byte| !b",:]} \t\r\n".contains(byte))
                    .count();
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

fn string_length(json: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', json.get(at..)?)?;
        if json.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Where an array and its elements are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Elements {
    /// Behind the opening bracket, and at the closing one.
    pub(super) inside: Range<usize>,
    pub(super) each: Vec<Range<usize>>,
}

/// The elements of an array. None: there is none at this place.
pub(super) fn elements(json: &[u8], place: &Pointer) -> Option<Elements> {
    let mut at = space(json, 0);
    for segment in place.segments() {
        at = step(json, at, segment)?;
    }
    if json.get(at) != Some(&b'[') {
        return None;
    }
    let start = at + 1;
    let mut each = Vec::new();
    at = space(json, start);
    while json.get(at)? != &b']' {
        let end = at + value_length(json.get(at..)?)?;
        each.push(at..end);
        at = next(json, end)?;
    }
    let inside = start..at;
    Some(Elements { inside, each })
}

/// From a value to one that it holds.
fn step(json: &[u8], at: usize, segment: &str) -> Option<usize> {
    let is_object = match json.get(at)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let mut at = space(json, at + 1);
    let mut index = 0_usize;
    while !matches!(json.get(at)?, b'}' | b']') {
        let name = if is_object {
            let end = at + value_length(json.get(at..)?)?;
            let name = serde_json::from_slice::<String>(json.get(at..end)?).ok()?;
            // The colon.
            at = space(json, space(json, end) + 1);
            name
        } else {
            index.to_string()
        };
        if name == segment {
            return Some(at);
        }
        index += 1;
        at = next(json, at + value_length(json.get(at..)?)?)?;
    }
    None
}

/// From the end of a value to the next, or to the end of what holds both.
fn next(json: &[u8], end: usize) -> Option<usize> {
    let at = space(json, end);
    match json.get(at)? {
        b',' => Some(space(json, at + 1)),
        _ => Some(at),
    }
}

fn space(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default().iter();
    from + rest.take_while(|byte| byte.is_ascii_whitespace()).count()
}
