//! What a request shows of who it is from: the one `Authorization` header.

use ::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// As the header has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// No header, or one of a scheme that nobody here uses.
    Nothing,
    /// Two headers, or one that is not what its scheme says.
    Broken,
    Bearer(&'a str),
    Basic {
        user: String,
        key: String,
    },
}

impl<'a> Presented<'a> {
    pub(super) fn read(headers: &'a HeaderMap) -> Self {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Self::Nothing,
            (Some(_), Some(_)) => return Self::Broken,
            (Some(value), None) => value,
        };
        let Ok(value) = value.to_str() else {
            return Self::Broken;
        };
        let (scheme, shown) = value.split_once(' ').unwrap_or((value, ""));
        let shown = shown.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Self::Bearer(shown)
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic(shown).unwrap_or(Self::Broken)
        } else {
            Self::Nothing
        }
    }
}

fn basic(shown: &str) -> Option<Presented<'static>> {
    let decoded = STANDARD.decode(shown).ok()?;
    let (user, key) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Presented::Basic {
        user: user.to_owned(),
        key: key.to_owned(),
    })
}
