//! Who may ask over HTTP: bearer keys from the configuration, or everyone.

use std::path::{Path, PathBuf};

use http::{HeaderMap, header};
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{ConfigIssue, Secret};

use crate::explain::ExplainRight;

/// A caller of the HTTP API, known by a bearer key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerConfig {
    /// Shown in the decision log.
    pub name: String,
    /// The key itself; better from a variable or a file.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// A file that holds the key.
    #[serde(default)]
    pub api_key_file: Option<PathBuf>,
    /// What it may do with entities, beside asking about them.
    #[serde(default)]
    pub entities: EntityRight,
    /// How much it may be told of why an answer is what it is.
    #[serde(default)]
    pub explain: ExplainRight,
}

/// What a caller may do with entities. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntityRight {
    #[default]
    None,
    /// Read them.
    Read,
    /// Write and delete them.
    Write,
}

/// The configured callers. None configured: nobody is asked for a key.
#[derive(Debug, Default)]
pub(crate) struct Callers(Vec<(Caller, Secret)>);

/// A caller that showed its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) entities: EntityRight,
    pub(crate) explain: ExplainRight,
}

impl Callers {
    pub(crate) fn new(configured: &[CallerConfig], base: &Path) -> Result<Self, ConfigIssue> {
        let mut callers: Vec<(Caller, Secret)> = Vec::new();
        for caller in configured {
            let place = format!("pdp.callers `{}`", caller.name);
            let key = Secret::from_config(
                "api_key",
                caller.api_key.clone(),
                caller.api_key_file.as_ref(),
                base,
            )
            .map_err(|issue| ConfigIssue {
                message: format!("{place}: {}", issue.message),
                ..issue
            })?;
            if key.reveal().len() < 16 {
                return Err(ConfigIssue::new(format!("{place}: the key is too short"))
                    .hint("use at least 16 characters of randomness"));
            }
            if callers.iter().any(|(_, other)| other.matches(key.reveal())) {
                return Err(ConfigIssue::new(format!(
                    "{place}: the key is another caller's"
                )));
            }
            let known = Caller {
                name: caller.name.clone(),
                entities: caller.entities,
                explain: caller.explain,
            };
            callers.push((known, key));
        }
        Ok(Self(callers))
    }

    /// Nobody, where nobody is configured; else who showed a key, or the challenge for a 401.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Option<Caller>, &'static str> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err("Bearer");
        };
        let presented = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
            .ok_or("Bearer")?;
        // SECURITY: every key is compared, so that time does not tell which came near.
        let mut found = None;
        for (caller, key) in &self.0 {
            if key.matches(presented) {
                found = Some(caller.clone());
            }
        }
        found.map(Some).ok_or("Bearer error=\"invalid_token\"")
    }
}
