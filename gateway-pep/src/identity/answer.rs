//! What an issuer says of a token, and what an upstream gets of it.

use std::sync::Arc;

use http::HeaderValue;
use oauth::ActiveToken;

use super::{Vouched, bearer};

/// What a token is worth.
#[derive(Debug)]
pub(crate) enum Answer {
    /// By the token service, whose events void it.
    Swapped(Arc<ActiveToken>),
    /// By another issuer.
    Vouched(Box<Vouched>),
    Inactive,
}

/// What an upstream gets of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarded {
    Nothing,
    Same,
}

impl Forwarded {
    pub(super) fn header(self, token: &str) -> Option<HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::Same => bearer(token),
        }
    }
}
