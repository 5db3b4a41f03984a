//! An opaque access token, under the keyed hash of its text.

use oauth::{Confirmation, Scope};
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Record, is_other_key};

/// What was issued. Whether it is still good depends on its grant, user and client, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessToken {
    /// Names it in events and to resource servers; random, not made from the token.
    pub(crate) token_ref: String,
    pub(crate) grant: String,
    pub(crate) client_id: String,
    pub(crate) scope: Scope,
    /// The resources that it may be swapped for.
    pub(crate) resources: Vec<String>,
    /// The client named the resources: the token is for them and for nothing else, not even for
    /// userinfo.
    pub(crate) restricted: bool,
    pub(crate) issued: UnixTime,
    pub(crate) exp: UnixTime,
    /// The thumbprint of the key that must be shown with it (RFC 9449). None: a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The certificate that must be shown with it, by its SHA-256 (RFC 8705 section 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
}

impl AccessToken {
    /// As it is named on the wire.
    pub(crate) fn token_type(&self) -> &'static str {
        if self.key.is_some() { "DPoP" } else { "Bearer" }
    }

    /// Whether it needs another key or another certificate than what is shown.
    pub(crate) fn is_bound_to_other(&self, key: Option<&str>, certificate: Option<&str>) -> bool {
        is_other_key(self.key.as_deref(), key)
            || is_other_key(self.certificate.as_deref(), certificate)
    }

    /// What whoever presents it has to prove.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        let key = self.key.clone().map(Confirmation::DpopKey);
        key.or_else(|| self.certificate.clone().map(Confirmation::Certificate))
    }
}

impl Record for AccessToken {
    const AREA: &'static str = "at";
}
