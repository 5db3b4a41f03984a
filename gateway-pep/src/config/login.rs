//! `gateway.logins:` and `gateway.sessions:`, how people with a browser log in at the gateway.
//!
//! Only shapes and defaults. What the values mean together is checked when [`crate::plan`] compiles
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::Secret;

/// `gateway.logins.NAME:`, an OpenID provider at which people log in, and the sessions that come of it.
///
/// Reserved for it, on every public origin: what is below `/.cedargate/NAME/`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginConfig {
    /// The provider's issuer identifier, to the letter. What else there is to know of it, its discovery
    /// document says.
    pub issuer: String,
    /// The gateway's own name there.
    pub client_id: String,
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// A file with `client_secret`.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// The authorities whose certificates are believed there, as PEM. Absent: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// What is asked for beside `openid`. With `offline_access`, many providers give out refresh tokens.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What access tokens are for (RFC 8707), where the provider wants to be told.
    #[serde(default)]
    pub resource: Option<String>,
    /// Further parameters of authorization requests.
    #[serde(default)]
    pub authorization_parameters: BTreeMap<String, String>,
    /// Where the provider sends browsers back to: the path of the redirect URI, on the origin that was
    /// asked for. Default: `/.cedargate/NAME/callback`.
    #[serde(default)]
    pub callback_path: Option<String>,
    /// The session cookie; `__Host-` is put before it. Default: `cedargate-NAME`.
    #[serde(default)]
    pub cookie: Option<String>,
    /// A session that was not used for so long has ended. Use is noted to an eighth of this.
    #[serde(default = "idle_secs")]
    pub idle_secs: u64,
    /// No session lasts longer.
    #[serde(default = "lifetime_secs")]
    pub lifetime_secs: u64,
    /// Whether logging out here is logging out at the provider, too (OpenID Connect RP-Initiated Logout).
    #[serde(default = "yes")]
    pub logout_at_provider: bool,
    /// Where people go when they have logged out. Default: a page of the gateway's,
    /// `/.cedargate/NAME/logged-out`.
    #[serde(default)]
    pub post_logout_redirect_uri: Option<String>,
}

/// `gateway.sessions:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsConfig {
    /// Seals sessions and makes their names in the store; at least 32 characters, the same for every
    /// gateway.
    pub secret: Option<Secret>,
    /// A file with `secret`.
    pub secret_file: Option<PathBuf>,
    /// For development alone: browsers reach the gateway by `http` on this very machine, and cookies are
    /// neither `Secure` nor `__Host-`.
    pub insecure_cookies: bool,
    /// Sessions that one worker remembers; 0 reads every one from the store, at every request.
    pub cached: usize,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            secret: None,
            secret_file: None,
            insecure_cookies: false,
            cached: 10_000,
        }
    }
}

fn idle_secs() -> u64 {
    3600
}

fn lifetime_secs() -> u64 {
    12 * 3600
}

fn yes() -> bool {
    true
}
