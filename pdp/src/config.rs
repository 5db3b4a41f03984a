//! The `pdp` section of the configuration file. Imports nothing of the rest.

mod caller;
mod provider;
mod sample;
mod snapshots;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service_kit::line_sink::LineTarget;
use service_kit::traces::Server;
use service_kit::{ConfigIssue, Secret, TlsConfig};

pub use caller::{
    CallerConfig, CertificateCallerConfig, EntityRight, ExplainRight, JwtCallerConfig,
};
pub use provider::{AttributeProviderConfig, HttpSource, PostgresqlSource, SqliteSource};
pub(crate) use sample::{Percent, Sample};
pub use snapshots::SnapshotsConfig;

/// How the PDP decides and what it shows. Every key has a default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PdpConfig {
    /// Where the HTTP API listens.
    pub listen: SocketAddr,
    /// Serves HTTPS instead of HTTP.
    pub tls: Option<TlsConfig>,
    /// Folder of `*.cedarschema`, `*.cedar`, `*links.json` and `entities*.json`; relative to the
    /// configuration file.
    pub policies: PathBuf,
    /// The identifier that the metadata shows, such as `https://pdp.example.org`. Without it
    /// the metadata endpoint answers 404: nothing is ever derived from a `Host` header.
    pub public_url: Option<String>,
    /// A private key (PEM, PKCS#8, P-256 or Ed25519) that signs the metadata (`signed_metadata`).
    pub metadata_signing_key_file: Option<PathBuf>,
    /// Who wins where a question and the store both know an attribute, by AuthZEN type.
    /// Overrides the schema's `@request_properties`.
    pub request_properties: BTreeMap<String, RequestProperties>,
    /// The member of the context that says when a question is asked, as a `datetime`: filled in
    /// here, whatever a question says. Absent: none.
    pub clock: Option<String>,
    /// Who may ask over HTTP. Empty: everyone who can connect.
    pub callers: Vec<CallerConfig>,
    /// The keys of the issuers of callers' tokens (`callers.jwt.jwks_url`) are fetched so often.
    pub jwks_refresh_seconds: u64,
    /// A token with an unknown key has them fetched at once, but not sooner than this after the
    /// last time. Milliseconds.
    pub jwks_rest_ms: u64,
    /// Where the decision log goes.
    pub decision_log: LineTarget,
    /// Attributes whose values the decision log does not show: names, at any depth, or paths from
    /// the record on, such as `context.**.token` (`*` is any name, `**` any number of them).
    pub decision_log_mask: Vec<String>,
    /// The share of permits that the decision log records, from 0 to 1.
    pub decision_log_sample_permits: f64,
    /// The share of denies, from 0 to 1. One by an error, and a batch's entry that is no question, are
    /// recorded always.
    pub decision_log_sample_denies: f64,
    /// Longer bodies are answered 413. Bytes.
    pub max_body_bytes: usize,
    /// Bodies that come in pieces are no longer than this together, from their first piece to their
    /// answer; a request that would be too much is answered 503. Bytes.
    pub max_bodies_bytes: usize,
    /// Bodies with arrays and objects nested deeper are answered 400. At most 100.
    pub max_json_depth: usize,
    /// Longer batches are answered 400.
    pub max_evaluations: usize,
    /// So many requests are answered at once, beside searches; more wait, then are answered 503.
    pub max_concurrent_requests: usize,
    /// The same for searches, filters, residuals and explanations.
    pub max_concurrent_searches: usize,
    /// How long a request waits for room. Milliseconds.
    pub max_wait_ms: u64,
    /// Every so many decisions, one is taken again by Cedar's plain authorizer, off the request
    /// path, and compared. 0: never.
    pub second_opinion_every: u64,
    /// Fewer are taken again where that would take a larger part of one core's time: the plain
    /// authorizer walks every policy, and where it shares a core with those who answer, they wait
    /// meanwhile. Percent, above 0 and at most 100.
    pub second_opinion_percent: f64,
    /// The most results on a page of a search, and how many there are where none is asked for.
    pub max_page: usize,
    /// The most candidates that are decided for one page of a search. A page that has used them
    /// up is handed out short, with a token that goes on.
    pub max_search_decisions: usize,
    /// Seals page tokens, so that every process with the same secret continues the searches of
    /// the others. Absent: a key of the process alone. At least 32 characters.
    pub page_token_secret: Option<Secret>,
    /// A file that holds it.
    pub page_token_secret_file: Option<PathBuf>,
    /// A request may demand entities of at least some revision; it waits so long for them before
    /// it is answered 503. Milliseconds.
    pub max_revision_wait_ms: u64,
    /// What anybody who can connect may do with entities where no callers are configured.
    pub entities_without_callers: EntityRight,
    /// Which entities a question over the Cedar API may bring along.
    pub inline_entities: InlineEntities,
    /// A file that says which tables and columns hold entities and their attributes, for data
    /// filters; relative to the configuration file.
    pub filters: Option<PathBuf>,
    /// Where attributes are fetched from that are kept elsewhere.
    pub attribute_providers: Vec<AttributeProviderConfig>,
    /// How much anybody who can connect may be told of why an answer is what it is, where no
    /// callers are configured.
    pub explain_without_callers: ExplainRight,
    /// Whether anybody who can connect may be told what policies leave open, where no callers are
    /// configured.
    pub residuals_without_callers: bool,
    /// Hands signed snapshots (policies, schema, entities) to callers that may have them, so that they
    /// decide where they are. Default: nobody gets one.
    pub snapshots: Option<SnapshotsConfig>,
    /// Whether anybody who can connect gets them, where no callers are configured.
    pub snapshots_without_callers: bool,
    /// The folder is compared with what decides this often, beside being watched. Milliseconds.
    pub rescan_ms: u64,
}

/// What the properties in a question may do to what the store knows about the same entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestProperties {
    /// Fill in what the store does not know. The store wins a conflict.
    #[default]
    Add,
    /// Replace what the store knows, for this question.
    Override,
    /// Nothing: only the store is believed.
    Ignore,
}

impl Default for PdpConfig {
    fn default() -> Self {
        let masked = [
            "ssn",
            "email",
            "phone",
            "date_of_birth",
            "password",
            "token",
        ];
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8082)),
            tls: None,
            policies: PathBuf::from("policies"),
            public_url: None,
            metadata_signing_key_file: None,
            request_properties: BTreeMap::new(),
            clock: None,
            callers: Vec::new(),
            jwks_refresh_seconds: 300,
            jwks_rest_ms: 10_000,
            decision_log: LineTarget::Stdout,
            decision_log_sample_permits: 1.0,
            decision_log_sample_denies: 1.0,
            decision_log_mask: masked.map(str::to_owned).to_vec(),
            max_body_bytes: 1 << 20,
            max_bodies_bytes: 64 << 20,
            max_json_depth: 32,
            max_evaluations: 1000,
            second_opinion_every: 1000,
            second_opinion_percent: 0.2,
            max_page: 1000,
            max_search_decisions: 20_000,
            page_token_secret: None,
            page_token_secret_file: None,
            max_concurrent_requests: 4096,
            max_concurrent_searches: 64,
            max_wait_ms: 100,
            max_revision_wait_ms: 2000,
            entities_without_callers: EntityRight::None,
            inline_entities: InlineEntities::Deny,
            filters: None,
            attribute_providers: Vec::new(),
            explain_without_callers: ExplainRight::None,
            residuals_without_callers: false,
            snapshots: None,
            snapshots_without_callers: false,
            rescan_ms: 1000,
        }
    }
}

/// What entities a question may bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InlineEntities {
    /// None.
    #[default]
    Deny,
    /// Such as the store does not hold. Of others who may read entities is told; for those who may
    /// not, the store wins.
    Add,
    /// Any; for this question they stand in the place of the stored ones.
    Override,
}

/// How questions are read, beside what the schema says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) request_properties: BTreeMap<String, RequestProperties>,
    pub(crate) clock: Option<String>,
    /// The texts of the files are kept, to be handed on.
    pub(crate) keeps_files: bool,
}

/// Levels of nesting that a body may have at most.
const DEEPEST: usize = 100;

impl PdpConfig {
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            request_properties: self.request_properties.clone(),
            clock: self.clock.clone(),
            keeps_files: self.snapshots.is_some(),
        }
    }

    /// How many decisions are taken again.
    pub(crate) fn second_opinions(&self) -> Result<Sample, ConfigIssue> {
        let (every, percent) = (self.second_opinion_every, self.second_opinion_percent);
        let percent = Percent::new(percent).ok_or_else(|| {
            ConfigIssue::new(format!(
                "`pdp.second_opinion_percent` is {percent}; it must be above 0 and at most 100"
            ))
            .hint("`second_opinion_every: 0` takes none")
        })?;
        Ok(Sample { every, percent })
    }

    /// Deeper bodies would be more than a thread's stack can take.
    pub(crate) fn check_limits(&self) -> Result<(), ConfigIssue> {
        if (1..=DEEPEST).contains(&self.max_json_depth) {
            return Ok(());
        }
        Err(ConfigIssue::new(format!(
            "`pdp.max_json_depth` is {}; it must be from 1 to {DEEPEST}",
            self.max_json_depth
        )))
    }

    /// As spans name it: by its identifier, or by where it listens.
    pub(crate) fn server(&self, identifier: Option<&Identifier>) -> Server {
        let url = identifier.map(|own| &*own.url);
        Server::of(url, self.listen, self.tls.is_some())
    }

    /// The identifier, checked: https (or http on loopback), no query, no fragment, no trailing
    /// slash.
    pub(crate) fn identifier(&self) -> Result<Option<Identifier>, ConfigIssue> {
        let Some(text) = &self.public_url else {
            return Ok(None);
        };
        let refuse = |why: &str| {
            ConfigIssue::new(format!("`pdp.public_url` is `{text}`: {why}"))
                .hint("write the URL that callers use, such as `https://pdp.example.org`")
        };
        let url: ::http::Uri = text.parse().map_err(|_| refuse("it is not a URL"))?;
        let host = url.host().ok_or_else(|| refuse("it has no host"))?;
        let loopback = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if loopback => {}
            _ => return Err(refuse("it must be https")),
        }
        if url.query().is_some() || text.contains('#') {
            return Err(refuse("it must have no query and no fragment"));
        }
        let path = url.path().trim_end_matches('/');
        if path.contains(['{', '}', '*']) {
            return Err(refuse("its path must be plain"));
        }
        Ok(Some(Identifier {
            url: text.trim_end_matches('/').to_owned(),
            path: path.to_owned(),
        }))
    }
}

/// Who this decision point says it is.
#[derive(Debug, Clone)]
pub(crate) struct Identifier {
    /// Without a trailing slash.
    pub(crate) url: String,
    /// The path of `url`; empty for a bare host.
    pub(crate) path: String,
}

impl RequestProperties {
    /// The word in a schema annotation.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "add" => Some(Self::Add),
            "override" => Some(Self::Override),
            "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_public_identifier_is_accepted() {
        for (url, accepted) in [
            ("https://pdp.example.org", true),
            ("https://pdp.example.org/tenant1", true),
            ("http://127.0.0.1:8082", true),
            ("http://[::1]:8082", true),
            ("http://pdp.example.org", false),
            ("https://pdp.example.org?x=1", false),
            ("https://pdp.example.org/#x", false),
            ("pdp", false),
        ] {
            let config = PdpConfig {
                public_url: Some(url.to_owned()),
                ..PdpConfig::default()
            };
            assert_eq!(config.identifier().is_ok(), accepted, "{url}");
        }
    }
}
