//! Who outside is told of security events, as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::Secret;

use super::SigningAlgorithm;

/// One receiver of security event tokens (OpenID Shared Signals Framework 1.0, pushed by RFC 8935).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventReceiverConfig {
    /// A name for logs and metrics. What waits for a receiver is kept under it.
    pub id: String,
    /// The `aud` of its tokens.
    pub audience: String,
    /// Where they are sent: `https`, or `http` on loopback.
    pub endpoint: String,
    /// A bearer token that is sent along. Where neither this nor the file is given, none is.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// File with the bearer token.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Whom an event is said to be about.
    #[serde(default)]
    pub subject: SubjectFormat,
    /// It is told of logins that led to tokens of these clients; where empty, of all.
    #[serde(default)]
    pub clients: Vec<String>,
    /// How its tokens are signed.
    #[serde(default)]
    pub jwt_alg: SigningAlgorithm,
}

/// How `sub_id` is written (RFC 9493).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectFormat {
    /// The user, by issuer and `sub`: every session of the user is over.
    #[default]
    IssSub,
    /// The user and the one session, by its `sid` (a complex subject).
    Session,
}
