//! JSON Pointers (RFC 6901): which place of a document is meant.

use std::fmt;

use crate::Json;

/// A place in a document, by the names and indexes that lead there. By default the document itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pointer {
    segments: Vec<String>,
}

/// Why a text is no pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    #[error("`{0}` does not begin with `/`")]
    Start(String),
    #[error("`{0}` is too deep")]
    Depth(String),
    #[error("`{0}` has a `~` that is followed by neither `0` nor `1`")]
    Escape(String),
}

/// Longer ones lead nowhere in a document that is read here.
const SEGMENTS: usize = 64;

impl Pointer {
    /// Reads a pointer; the empty one is not written.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let segments = text
            .strip_prefix('/')
            .ok_or_else(|| PointerError::Start(text.to_owned()))?;
        if segments.split('/').count() > SEGMENTS {
            return Err(PointerError::Depth(text.to_owned()));
        }
        let segments = segments.split('/').map(unescape);
        let segments = segments.collect::<Option<_>>();
        segments
            .map(|segments| Self { segments })
            .ok_or_else(|| PointerError::Escape(text.to_owned()))
    }

    /// Unescaped, from the outermost on.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// What is there.
    pub fn find<'j, 'a>(&self, document: &'j Json<'a>) -> Option<&'j Json<'a>> {
        self.segments
            .iter()
            .try_fold(document, |place, segment| match place {
                Json::Object(members) => members.get(segment),
                Json::Array(items) => items.get(index(segment)?),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => None,
            })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            let segment = segment.replace('~', "~0").replace('/', "~1");
            write!(formatter, "/{segment}")?;
        }
        Ok(())
    }
}

/// RFC 6901 section 4: digits without leading zeros.
fn index(segment: &str) -> Option<usize> {
    let is_plain = segment.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = segment == "0" || !segment.starts_with('0');
    (is_plain && is_short).then(|| segment.parse().ok())?
}

fn unescape(segment: &str) -> Option<String> {
    let mut text = String::with_capacity(segment.len());
    let mut characters = segment.chars();
    while let Some(character) = characters.next() {
        match character {
            '~' => text.push(match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            }),
            other => text.push(other),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arena;

    #[track_caller]
    fn check(pointer: &str, expected: Option<&str>) {
        let arena = Arena::new();
        let document = br#"{"foo":["bar",{"x":1}],"":0,"a/b":1,"m~n":8,"01":2}"#;
        let document = Json::parse(document, &arena).unwrap();
        let found = Pointer::parse(pointer).unwrap();
        assert_eq!(found.to_string(), pointer);
        let found = found
            .find(&document)
            .map(|json| json.to_value().to_string());
        assert_eq!(found.as_deref(), expected, "{pointer}");
    }

    #[test]
    fn a_pointer_leads_where_the_standard_says() {
        check("/foo/0", Some("\"bar\""));
        check("/foo/1/x", Some("1"));
        check("/", Some("0"));
        check("/a~1b", Some("1"));
        check("/m~0n", Some("8"));
        check("/01", Some("2"));
        check("/foo/00", None);
        check("/foo/-", None);
        check("/foo/2", None);
        check("/foo/0/x", None);
        assert!(Pointer::default().segments().is_empty());
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        let deep = "/a".repeat(65);
        for text in ["", "a", "/~", "/~2", deep.as_str()] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }
}
