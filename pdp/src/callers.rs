//! Who may ask over HTTP: callers from the configuration, known by a key, or everyone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{ConfigIssue, Secret};

use crate::explain::ExplainRight;
use crate::rate::Rate;

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
    /// With it, the caller authenticates by HTTP Basic, with this name and the key as password;
    /// without it, by the key as a bearer token.
    #[serde(default)]
    pub basic_user: Option<String>,
    /// More requests than this are answered 429. A second's worth may come at once.
    #[serde(default)]
    pub rate_per_second: Option<u32>,
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
pub(crate) struct Callers(Vec<Known>);

/// A caller, and what it shows.
#[derive(Debug)]
struct Known {
    caller: Caller,
    basic_user: Option<Secret>,
    key: Secret,
}

/// A caller that showed its key.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) rate: Option<Arc<Rate>>,
    pub(crate) entities: EntityRight,
    pub(crate) explain: ExplainRight,
}

impl Callers {
    pub(crate) fn new(configured: &[CallerConfig], base: &Path) -> Result<Self, ConfigIssue> {
        let mut callers: Vec<Known> = Vec::new();
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
            if callers.iter().any(|other| other.key.matches(key.reveal())) {
                return Err(ConfigIssue::new(format!(
                    "{place}: the key is another caller's"
                )));
            }
            if caller
                .basic_user
                .as_ref()
                .is_some_and(|user| user.contains(':'))
            {
                return Err(ConfigIssue::new(format!(
                    "{place}: a `basic_user` cannot have a colon in it"
                )));
            }
            let now = tokio::time::Instant::now();
            callers.push(Known {
                caller: Caller {
                    name: caller.name.clone(),
                    rate: caller
                        .rate_per_second
                        .map(|per_second| Arc::new(Rate::new(per_second, now))),
                    entities: caller.entities,
                    explain: caller.explain,
                },
                basic_user: caller.basic_user.clone().map(Secret::new),
                key,
            });
        }
        Ok(Self(callers))
    }

    /// Nobody, where nobody is configured; else who showed a key, or the challenges for a 401.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<Caller>, Vec<&'static str>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(self.challenges("Bearer"));
        };
        let presented = Presented::read(value).ok_or_else(|| self.challenges("Bearer"))?;
        // SECURITY: every key is compared, so that time does not tell which came near.
        let mut found = None;
        for known in &self.0 {
            let key = known.key.matches(&presented.key);
            let user = match (&known.basic_user, &presented.user) {
                (Some(expected), Some(user)) => expected.matches(user),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if key & user {
                found = Some(known.caller.clone());
            }
        }
        found
            .map(Some)
            .ok_or_else(|| self.challenges("Bearer error=\"invalid_token\""))
    }

    /// One for each scheme that some caller uses.
    fn challenges(&self, bearer: &'static str) -> Vec<&'static str> {
        let mut challenges = Vec::new();
        if self.0.iter().any(|known| known.basic_user.is_none()) {
            challenges.push(bearer);
        }
        if self.0.iter().any(|known| known.basic_user.is_some()) {
            challenges.push("Basic realm=\"pdp\", charset=\"UTF-8\"");
        }
        challenges
    }
}

/// What a request shows.
struct Presented {
    user: Option<String>,
    key: String,
}

impl Presented {
    fn read(value: &HeaderValue) -> Option<Self> {
        let (scheme, shown) = value.to_str().ok()?.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self {
                user: None,
                key: shown.trim().to_owned(),
            });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(shown.trim()).ok()?;
        let (user, key) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some(Self {
            user: Some(user.to_owned()),
            key: key.to_owned(),
        })
    }
}
