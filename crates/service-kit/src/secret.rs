//! Secrets that cannot be printed, and where configuration takes them from.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::config::ConfigIssue;

/// Text that no log, error or metric may hold. Wiped when dropped; compared in time that depends on the
/// lengths alone.
#[derive(Clone, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The bearer token in a file, without the space around it. None: what is there cannot be sent as
    /// one, as while it is written.
    pub fn bearer(file: &Path) -> io::Result<Option<Self>> {
        let text = Zeroizing::new(std::fs::read_to_string(file)?);
        let token = text.trim();
        let can_be_sent = !token.is_empty() && HeaderValue::from_str(token).is_ok();
        Ok(can_be_sent.then(|| Self::new(token)))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares in time that depends on the lengths alone.
    pub fn matches(&self, other: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), other.as_bytes())
            .is_ok()
    }

    /// One of the pair `name` and `name_file`, as configuration has them: exactly one must be
    /// given. A file is read relative to `base`, and one trailing newline is dropped.
    pub fn from_config(
        name: &str,
        inline: Option<Self>,
        file: Option<&PathBuf>,
        base: &Path,
    ) -> Result<Self, ConfigIssue> {
        match (inline, file) {
            (Some(secret), None) => Ok(secret),
            (None, Some(file)) => {
                let path = base.join(file);
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    ConfigIssue::new(format!(
                        "`{name}_file`: cannot read `{}`: {error}",
                        path.display()
                    ))
                })?;
                let text = Zeroizing::new(text);
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Self::new(text.strip_suffix('\r').unwrap_or(text)))
            }
            (Some(_), Some(_)) => Err(ConfigIssue::new(format!(
                "`{name}` and `{name}_file` are both given; keep one"
            ))),
            (None, None) => Err(ConfigIssue::new(format!(
                "`{name}` is missing; give `{name}_file: PATH` or `{name}: ${{VARIABLE}}`"
            ))),
        }
    }
}

/// As [`Secret::matches`].
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.reveal())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}
