//! `pdp.callers`: who may ask, how each shows who it is, and what each may do besides.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{ConfigIssue, Secret};

/// A caller of the HTTP API. Exactly one of `api_key`, `api_key_file`, `jwt` and `certificate`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
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
    /// The caller sends a JWT of an issuer as a bearer token.
    #[serde(default)]
    pub jwt: Option<JwtCallerConfig>,
    /// The caller has a client certificate; needs `pdp.tls.client_ca_file`.
    #[serde(default)]
    pub certificate: Option<CertificateCallerConfig>,
    /// More requests than this are answered 429. A second's worth may come at once.
    #[serde(default)]
    pub rate_per_second: Option<u32>,
    /// What it may do with entities, beside asking about them.
    #[serde(default)]
    pub entities: EntityRight,
    /// How much it may be told of why an answer is what it is.
    #[serde(default)]
    pub explain: ExplainRight,
    /// Whether it may be told what policies leave open where one side of a question is not known
    /// (residual policies, data filters). That says what policies are, and what the store knows.
    #[serde(default)]
    pub residuals: bool,
    /// Whether it gets snapshots (`pdp.snapshots`): everything that decides, policies and entities.
    #[serde(default)]
    pub snapshots: bool,
}

/// What the caller's token must say. Its signature is ES256, ES384, `EdDSA`, RS256 or PS256.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtCallerConfig {
    /// `iss`, exactly.
    pub issuer: String,
    /// `aud`, exactly, or one of them.
    pub audience: String,
    /// `sub`, exactly. Absent: any.
    #[serde(default)]
    pub subject: Option<String>,
    /// `client_id`, exactly. Absent: any.
    #[serde(default)]
    pub client_id: Option<String>,
    /// A scope that must be in `scope`.
    #[serde(default)]
    pub scope: Option<String>,
    /// A file with the issuer's keys as a JSON Web Key Set; read again when it changes.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Where the issuer's keys are as a JSON Web Key Set: https, or http on loopback.
    #[serde(default)]
    pub jwks_url: Option<String>,
}

/// What the caller's certificate must have. Exactly one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateCallerConfig {
    /// A DNS name among its subject alternative names.
    #[serde(default)]
    pub san_dns: Option<String>,
    /// A URI among its subject alternative names, such as a SPIFFE ID.
    #[serde(default)]
    pub san_uri: Option<String>,
    /// Its SHA-256 fingerprint: 64 hexadecimal digits, with or without colons.
    #[serde(default)]
    pub sha256: Option<String>,
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

/// How much a caller may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExplainRight {
    #[default]
    None,
    /// The outcome and the reasons that policies give for themselves.
    Short,
    /// Everything: policies, values, places.
    Full,
}

impl CallerConfig {
    /// Where it is, for messages.
    pub(crate) fn place(&self) -> String {
        format!("pdp.callers `{}`", self.name)
    }

    pub(crate) fn issue(&self, message: &str) -> ConfigIssue {
        ConfigIssue::new(format!("{}: {message}", self.place()))
    }
}
