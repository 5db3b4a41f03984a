//! What one client may exchange (RFC 8693), as it is written. What is not said is not allowed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Token exchange of one client.
#[expect(
    clippy::struct_excessive_bools,
    reason = "as it is written in the file, each by its own name"
)]
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeConfig {
    /// The resources that it may exchange tokens for.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The clients whose tokens it may exchange; its own only where it names itself.
    #[serde(default)]
    pub subject_clients: Vec<String>,
    /// It may exchange the tokens of every client.
    #[serde(default)]
    pub any_subject_client: bool,
    /// The resources that this client is: a token of another client must have been made out to one of
    /// them.
    #[serde(default)]
    pub subject_resources: Vec<String>,
    /// What is issued where no actor token is sent.
    #[serde(default)]
    pub without_actor_token: Semantics,
    /// A phantom JWT has the scope that one resource knows. True: what its access token has beyond
    /// that may be asked for, too.
    #[serde(default)]
    pub beyond_jwt_scope: bool,
    /// It may ask for a JWT in the place of an opaque token: it calls its audiences directly, not
    /// through a gateway.
    #[serde(default)]
    pub jwts: bool,
    /// It is a workload of the trust domain (`token_service.transaction_tokens`): it may ask for
    /// transaction tokens, and replace them.
    #[serde(default)]
    pub transaction_tokens: bool,
}

/// Who is seen to act (RFC 8693 section 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// The client: what is issued says that it acts for the subject (`act`).
    #[default]
    Delegation,
    /// Nobody but the subject: what is issued does not tell that another acts.
    Impersonation,
}
