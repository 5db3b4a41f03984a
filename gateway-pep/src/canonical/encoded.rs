//! Characters that change what a path means to whoever decodes it further on: `%2F` is a name's part to one
//! reader, and the end of the name to another.

use super::{Ambiguity, decode_segment};
use crate::config::EncodedCharacter;

/// Some of [`EncodedCharacter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Encoded(u8);

impl Encoded {
    pub(crate) const NONE: Self = Self(0);

    /// What a decoded byte is among them.
    pub(super) fn of(byte: u8) -> Option<Self> {
        let character = match byte {
            b'/' => EncodedCharacter::Slash,
            b'\\' => EncodedCharacter::Backslash,
            b'%' => EncodedCharacter::Percent,
            b';' => EncodedCharacter::Semicolon,
            _ => return None,
        };
        Some(Self::from(character))
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every one of `other` is one of these.
    pub(crate) fn cover(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    pub(crate) fn has(self, character: EncodedCharacter) -> bool {
        self.cover(Self::from(character))
    }
}

impl From<EncodedCharacter> for Encoded {
    fn from(character: EncodedCharacter) -> Self {
        Self(match character {
            EncodedCharacter::Slash => 1,
            EncodedCharacter::Backslash => 2,
            EncodedCharacter::Percent => 4,
            EncodedCharacter::Semicolon => 8,
        })
    }
}

/// SECURITY: whoever decodes such a path once gets to the same place as who does not: no part of it is empty or
/// dots, with or without what stands behind a `;`. Decoding it twice changes nothing more.
pub(super) fn check_decoded(segments: &str) -> Result<(), Ambiguity> {
    for (at, _) in segments.match_indices("%25") {
        if segments.get(at + 3..).is_some_and(begins_like_escape) {
            return Err(Ambiguity::EncodedDelimiter);
        }
    }
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        // A path may end in `/`, where nothing is encoded.
        if segment.is_empty() && segments.peek().is_none() {
            break;
        }
        let decoded = decode_segment(segment).ok_or(Ambiguity::PathUtf8)?;
        for part in decoded.split(['/', '\\']) {
            match part.split(';').next().unwrap_or_default() {
                "" => return Err(Ambiguity::EmptySegment),
                "." | ".." => return Err(Ambiguity::DotSegment),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Behind a `%`: two digits, or the `u` that some readers take for the beginning of four.
fn begins_like_escape(rest: &str) -> bool {
    match rest.as_bytes() {
        [b'u' | b'U', ..] => true,
        [high, low, ..] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    }
}
