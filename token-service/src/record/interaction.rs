//! What waits for the person at the browser.

use oauth::Scope;
use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;

/// Consumed by the answer, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interaction {
    pub(crate) asked: Asked,
    /// The browser that asked: handle of its cookie. No other browser can answer.
    pub(crate) browser: String,
    /// The login that has been done for it: handle of the session.
    pub(crate) session: Option<String>,
    pub(crate) exp: UnixTime,
}

/// What the person is here for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// To answer a client.
    Authorization(Box<AuthorizationRequest>),
    /// To type the code that a device shows. Which one is not known before the login.
    Device,
}

/// A request that was checked: client, redirect URI and PKCE are in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) redirect_uri_given: bool,
    pub(crate) state: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<String>,
    /// The code is to be bound to this key: `dpop_jkt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// Requested, and within what the client may have.
    pub(crate) scope: Scope,
    pub(crate) resources: Vec<String>,
    pub(crate) prompt_consent: bool,
    /// Who is expected to log in, as the client says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login_hint: Option<String>,
    /// How the person is to log in, for an identity provider that is asked.
    #[serde(default)]
    pub(crate) wanted: LoginWanted,
}

/// What a client wants of a login.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginWanted {
    /// Not longer ago. 0: now, whoever is logged in already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_age_secs: Option<u64>,
    /// To be called one of these, the first most of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) acr_values: Vec<String>,
    /// Of this person, and nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
}

impl LoginWanted {
    /// Whether a login of this person will do, for all that the client has said of whom it expects.
    pub(crate) fn is_of(&self, sub: &str) -> bool {
        self.sub.as_ref().is_none_or(|expected| expected == sub)
    }
}

impl Record for Interaction {
    /// Not that of before there were devices, whose records cannot be read.
    const AREA: &'static str = "ia";
}
