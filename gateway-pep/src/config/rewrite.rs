//! What a route changes between the client and its upstream.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// `rewrite:` of a route: how the upstream is asked for what was decided on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RewriteConfig {
    /// The path that the upstream gets, with the parameters of `match`, each a whole segment: `/v2/{id}`, `/{*rest}`. The
    /// query stays as it is. Default: the path that was asked for.
    pub path: Option<String>,
    /// The `Host` that the upstream gets: `name` or `name:port`. Default: as the upstream has it.
    pub host: Option<String>,
}

/// `request_headers:` and `response_headers:` of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderChangesConfig {
    /// Fields that are set, in the place of those that came under these names.
    pub set: BTreeMap<String, String>,
    /// Fields that are taken away.
    pub remove: Vec<String>,
}
