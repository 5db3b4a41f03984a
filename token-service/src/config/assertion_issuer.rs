//! An issuer whose word is taken for somebody else (RFC 7523 section 2.1), as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One issuer of assertions that clients trade for tokens (`jwt_bearer`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssertionIssuerConfig {
    /// The `iss` of its assertions, exactly.
    pub issuer: String,
    /// Its public keys (a JSON Web Key Set, RFC 7517).
    pub jwks: Value,
    /// Whom the `sub` of its assertions names here.
    #[serde(default)]
    pub subject: SubjectIs,
    /// The clients that may bring them.
    pub clients: Vec<String>,
    /// The most that its word is good for; scope tokens separated by spaces.
    pub scope: String,
}

/// How the `sub` of somebody else's assertion is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectIs {
    /// The `sub` of a user.
    #[default]
    Sub,
    /// What a user types at login.
    Username,
    /// The email address of one user, and of no other.
    Email,
}
