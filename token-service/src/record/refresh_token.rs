//! A refresh token, under the keyed hash of its text.

use oauth::Scope;
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Record, is_other_key};

/// One link of the chain that keeps a grant alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefreshToken {
    pub(crate) state: RefreshState,
    pub(crate) grant: String,
    pub(crate) client_id: String,
    pub(crate) scope: Scope,
    /// When it ends if nobody uses it; never after its grant.
    pub(crate) exp: UnixTime,
    /// The thumbprint of the key that must be shown with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The certificate that must be shown with it, by its SHA-256 (RFC 8705 section 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// How it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation: Option<Rotation>,
}

/// The use of a refresh token: what it takes to give the same answer to the same request again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    pub(crate) at: UnixTime,
    /// What came of it is made of the token's own text and this.
    pub(crate) seed: String,
    /// A hash of what was asked for.
    pub(crate) request: String,
    /// The thumbprint of the key that was shown.
    pub(crate) key: Option<String>,
    /// Names the certificate that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
}

impl RefreshToken {
    /// Whether it needs another key or another certificate than what is shown.
    pub(crate) fn is_bound_to_other(&self, key: Option<&str>, certificate: Option<&str>) -> bool {
        is_other_key(self.key.as_deref(), key)
            || is_other_key(self.certificate.as_deref(), certificate)
    }
}

/// A token is used once. The used one is kept: whoever presents it again has a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefreshState {
    Live,
    Rotated,
}

impl Record for RefreshToken {
    const AREA: &'static str = "rt";
}
