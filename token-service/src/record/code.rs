//! An authorization code, under the keyed hash of its text.

use oauth::Scope;
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Authentication, Record};

/// What the person at the browser approved, waiting for the client to fetch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) state: CodeState,
    pub(crate) client_id: String,
    /// Where it was sent.
    pub(crate) redirect_uri: String,
    /// The client wrote `redirect_uri` in its request, and so has to repeat it.
    pub(crate) redirect_uri_given: bool,
    /// PKCE, S256.
    /// None: the client need not prove that it has asked for the code, but by its credential.
    pub(crate) challenge: Option<String>,
    pub(crate) sub: String,
    pub(crate) scope: Scope,
    /// As requested (RFC 8707); empty: not restricted.
    pub(crate) resources: Vec<String>,
    pub(crate) nonce: Option<String>,
    /// The thumbprint of the key that must be shown with it (RFC 9449 section 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) authentication: Authentication,
    pub(crate) exp: UnixTime,
}

/// A code is used once. The used one is kept, so that a second use can be answered by revoking
/// what the first one got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CodeState {
    Unused,
    /// Got this grant.
    Used {
        grant: String,
    },
    /// Presented wrongly; nothing was given for it and nothing will be.
    Burnt,
}

impl Record for Code {
    const AREA: &'static str = "ac";
}
