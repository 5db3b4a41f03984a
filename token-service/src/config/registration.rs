//! How clients register themselves (RFC 7591), as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::Secret;

use super::{GrantType, SigningAlgorithm};

/// Section `token_service.registration`. Absent: nobody registers, and who has registered is nobody.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationConfig {
    /// Tokens that you hand out: whoever has one may register clients with it.
    #[serde(default)]
    pub initial_access_tokens: Vec<InitialAccessTokenConfig>,
    /// Anybody may register, without a token.
    #[serde(default)]
    pub open: Option<OpenRegistrationConfig>,
    /// A client that has got no token for so many days is forgotten.
    #[serde(default = "default_unused_days")]
    pub unused_days: u64,
    /// A client's secret ends after so many days, and the client fetches another by an update; 0:
    /// never.
    #[serde(default)]
    pub secret_days: u64,
    /// Ids of registered clients that get nothing, and what they have is dead.
    #[serde(default)]
    pub disabled_clients: Vec<String>,
    /// `backchannel_logout_uri` may lead to addresses that are not public. For closed networks.
    #[serde(default)]
    pub private_addresses: bool,
}

/// One token that you hand out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitialAccessTokenConfig {
    /// What it is called, in the audit log and for the clients that it has registered: they end where
    /// no token has this name any more.
    pub name: String,
    /// `sha256:` and the base64url of the SHA-256 of a random secret of 256 bits.
    pub secret_hash: Secret,
    /// It registers nothing from then on (RFC 3339); its clients live on. Absent: for ever.
    #[serde(default)]
    pub until: Option<String>,
    /// What its clients may have.
    pub bounds: RegistrationBoundsConfig,
}

/// Registration without a token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenRegistrationConfig {
    /// Attempts from one address: a proxy's, where there is one before us.
    #[serde(default = "default_attempts")]
    pub attempts: u64,
    /// The window in which they are counted, in seconds.
    #[serde(default = "default_window_secs")]
    pub window_secs: u64,
    /// What its clients may have.
    pub bounds: RegistrationBoundsConfig,
}

/// The most that registered clients may have, now: where it shrinks, they shrink with it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrationBoundsConfig {
    /// Scope tokens separated by spaces.
    pub scope: String,
    /// How many there may be at a time. At most 10000.
    #[serde(default = "default_clients")]
    pub clients: u64,
    /// What they may use at the token endpoint. Never `token_exchange`.
    #[serde(default = "default_grant_types")]
    pub grant_types: Vec<GrantType>,
    /// How they may prove who they are; `none` is a public client. One that does not say has
    /// `client_secret_basic`, or is public where it may not have that.
    #[serde(default = "default_auth_methods")]
    pub auth_methods: Vec<AuthMethod>,
    /// The hosts that `https` redirect URIs may have, compared exactly. Absent: any.
    #[serde(default)]
    pub redirect_hosts: Option<Vec<String>>,
    /// Redirect URIs may be `http` on loopback, for programs on somebody's machine.
    #[serde(default = "default_loopback")]
    pub loopback_redirects: bool,
    /// Redirect URIs may have a scheme of the app's own (`com.example.app:/cb`).
    #[serde(default)]
    pub private_use_redirects: bool,
    /// How their ID tokens may be signed; where a client does not say, RS256 if it is there, else the first.
    #[serde(default = "default_algs")]
    pub id_token_signed_response_algs: Vec<SigningAlgorithm>,
}

/// Client authentication, in the words of RFC 7591.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    None,
}

impl AuthMethod {
    const ALL: [Self; 4] = [
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::None,
    ];

    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }

    pub(crate) fn from_wire(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == word)
    }

    pub(crate) fn has_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

fn default_unused_days() -> u64 {
    90
}

fn default_attempts() -> u64 {
    20
}

fn default_window_secs() -> u64 {
    3600
}

fn default_clients() -> u64 {
    100
}

pub(super) fn default_grant_types() -> Vec<GrantType> {
    vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
}

fn default_auth_methods() -> Vec<AuthMethod> {
    AuthMethod::ALL.to_vec()
}

pub(super) fn default_loopback() -> bool {
    true
}

pub(super) fn default_algs() -> Vec<SigningAlgorithm> {
    vec![SigningAlgorithm::Es256, SigningAlgorithm::Rs256]
}
