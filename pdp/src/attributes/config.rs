//! `pdp.attribute_providers`.

use std::path::PathBuf;

use cedar_policy_core::ast::EntityType;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mapping::Vocabulary;

/// Where some attributes of entities of one type are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeProviderConfig {
    /// Shown in answers, logs and metrics.
    pub name: String,
    /// The entity type, as the schema names it.
    pub entity_type: String,
    /// The attributes that it alone is believed about.
    pub attributes: Vec<String>,
    /// Asked over HTTP.
    pub http: HttpSource,
    /// A question waits so long for it, waiting for room included. Milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// What it says is believed for so long. Seconds; 0: for one question.
    #[serde(default = "cache_seconds")]
    pub cache_seconds: u64,
    /// The most entities whose attributes are remembered.
    #[serde(default = "max_entries")]
    pub max_entries: usize,
    /// It is asked about so many entities at once.
    #[serde(default = "max_concurrent")]
    pub max_concurrent: usize,
}

/// `GET url` answers a JSON object of attributes, or 404 with a JSON body where there is no such
/// entity.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSource {
    /// With `{id}` where the entity's id goes, percent-encoded.
    pub url: String,
    /// A file that holds a bearer token to send; relative to the configuration file.
    #[serde(default)]
    pub bearer_file: Option<PathBuf>,
}

fn timeout_ms() -> u64 {
    500
}

fn cache_seconds() -> u64 {
    60
}

fn max_entries() -> usize {
    100_000
}

fn max_concurrent() -> usize {
    64
}

impl AttributeProviderConfig {
    pub(super) fn place(&self) -> String {
        format!("pdp.attribute_providers `{}`", self.name)
    }

    /// The entity type; what the schema does not know is refused.
    pub(super) fn kind(&self, vocabulary: &Vocabulary) -> Result<EntityType, String> {
        let name = &self.entity_type;
        let kind: EntityType = name
            .parse()
            .map_err(|_| format!("`{name}` is not the name of an entity type"))?;
        let members = vocabulary
            .members(&kind)
            .ok_or_else(|| format!("the schema has no entity type `{name}`"))?;
        if self.attributes.is_empty() {
            return Err("it provides nothing: name `attributes`".into());
        }
        match self
            .attributes
            .iter()
            .find(|own| !members.contains_key(*own))
        {
            Some(unknown) => Err(format!(
                "the schema's `{name}` has no attribute `{unknown}`"
            )),
            None => Ok(kind),
        }
    }
}
