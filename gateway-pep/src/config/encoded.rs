//! Characters that a path may have percent-encoded, where a route says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A character that changes what a path means to whoever decodes it. Control characters are none: no path may
/// have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodedCharacter {
    /// `%2F`
    Slash,
    /// `%5C`
    Backslash,
    /// `%25`, where it does not begin an escape of its own (`%252F`)
    Percent,
    /// `%3B`
    Semicolon,
}

impl EncodedCharacter {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Slash, Self::Backslash, Self::Percent, Self::Semicolon];

    /// As configuration and metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slash => "slash",
            Self::Backslash => "backslash",
            Self::Percent => "percent",
            Self::Semicolon => "semicolon",
        }
    }
}
