//! API keys, as they are written: who may have how many, and for how long.

use schemars::JsonSchema;
use serde::Deserialize;

/// Section `token_service.api_keys`. Whoever has an access token with the scope `api_keys` makes them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeysConfig {
    /// How many living ones a person or a client may have. At most 100.
    pub per_subject: usize,
    /// How long one is good that does not say.
    pub default_days: u64,
    /// The longest that one can ask for. At most 3650.
    pub max_days: u64,
}

impl Default for ApiKeysConfig {
    fn default() -> Self {
        Self {
            per_subject: 20,
            default_days: 90,
            max_days: 365,
        }
    }
}
