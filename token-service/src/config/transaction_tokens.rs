//! Transaction tokens (draft-ietf-oauth-transaction-tokens), as they are written. Absent: there are
//! none.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SigningAlgorithm;

/// What workloads tell each other of one transaction, in one trust domain.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransactionTokensConfig {
    /// The name of the trust domain: their `aud`.
    pub trust_domain: String,
    /// How long they live, in seconds. At most 300.
    #[serde(default = "default_ttl_secs")]
    pub ttl_secs: u64,
    /// How they are signed.
    #[serde(default)]
    pub alg: SigningAlgorithm,
}

fn default_ttl_secs() -> u64 {
    60
}
