//! What a route wants of a request beside its host, path and method.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `when:` of a route. All of it must hold; header fields and parameters that no route names play no part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhenConfig {
    /// By names of header fields, written with `-`: `X-Api-Version: { exact: '2' }`. Fields that are not the client's to
    /// say, or that no upstream gets, are refused.
    pub headers: BTreeMap<String, ConditionConfig>,
    /// By names of parameters of the query: `wsdl: present`.
    pub query: BTreeMap<String, ConditionConfig>,
}

impl WhenConfig {
    /// Whether it wants nothing.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.query.is_empty()
    }
}

/// What must be there, under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConditionConfig {
    /// This value, and no other in the same place. A request that says it in another case is refused (400).
    Exact(String),
    /// Some value.
    Present,
    /// Nothing under this name.
    Absent,
}
