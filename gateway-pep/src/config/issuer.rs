//! `gateway.issuers:`, who gives out tokens that are taken beside those of the token service.
//!
//! Only shapes and defaults. What the values mean together is checked when [`crate::plan`] compiles
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use service_kit::Secret;

/// One of `gateway.issuers:`, by what its tokens are known by.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IssuerConfig {
    /// Its tokens are JWTs, verified here by its keys.
    Jwt(Box<JwtIssuerConfig>),
    /// It says itself what its tokens are worth (RFC 7662).
    Introspection(Box<IntrospectionIssuerConfig>),
    /// It gives out certificates, which clients show when they connect by TLS.
    Certificate(CertificateIssuerConfig),
}

/// `gateway.issuers.NAME.certificate:`
///
/// Certificates that an authority of `gateway.tls.client_ca_file` vouches for. Who shows one, and no
/// token, is known by a name in it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateIssuerConfig {
    /// Which name. One of which a certificate has several, or none, is nobody's.
    pub name: CertificateName,
    /// Scopes, separated by spaces, that whoever has a certificate has.
    #[serde(default)]
    pub scope: Option<String>,
    #[serde(default)]
    pub subject: CertificateSubjectConfig,
}

/// `subject:` of an issuer of certificates.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateSubjectConfig {
    /// Stands before the name, so that those of two issuers are never one. Default: the issuer's name
    /// and a colon.
    pub namespace: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: CertificateSubjectType,
}

/// The type of a certificate's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateSubjectType {
    #[default]
    Client,
    User,
}

/// A name in a certificate, as RFC 8705 section 2.1.2 calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateName {
    /// Its subject, as RFC 4514 writes it: `CN=billing,O=Example,C=DE`.
    SubjectDn,
    /// Its one DNS name among the subject alternative names.
    SanDns,
    /// Its one URI among them, such as a SPIFFE ID.
    SanUri,
    /// Its one email address among them.
    SanEmail,
}

/// `gateway.issuers.NAME.jwt:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtIssuerConfig {
    /// `iss` of its tokens, to the letter.
    pub issuer: String,
    /// Where its keys are. Without this, `jwks_file` and `jwks`, its metadata say so (OpenID Connect
    /// Discovery, RFC 8414).
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// A file with its keys (RFC 7517), read again when it changes.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Its keys themselves: an object with `keys`.
    #[serde(default)]
    pub jwks: Option<Value>,
    /// The authorities whose certificates are believed there, as PEM. Absent: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// One of these must be in `aud`. Without them, it is the `resource` of the route's upstream.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// By which its tokens may be signed. A key verifies only what it is for, whatever is here.
    #[serde(default = "all_algorithms")]
    pub algorithms: Vec<String>,
    /// What `typ` may say: `at+jwt` (RFC 9068), and `JWT`, which takes tokens that say nothing, too.
    #[serde(default = "access_tokens")]
    pub types: Vec<String>,
    /// Its clock may be so far from ours, in seconds; at most 120.
    #[serde(default = "leeway_secs")]
    pub leeway_secs: u64,
    /// From `iat` to `exp`, in seconds; tokens that live longer are refused.
    #[serde(default = "max_lifetime_secs")]
    pub max_lifetime_secs: u64,
    /// Its keys are read so often, in seconds.
    #[serde(default = "jwks_refresh_secs")]
    pub jwks_refresh_secs: u64,
    /// A key that is not known makes them be read again, but no sooner than so many seconds after the
    /// last time.
    #[serde(default = "jwks_rest_secs")]
    pub jwks_rest_secs: u64,
    /// Where they cannot be read, the last ones are good for so many seconds.
    #[serde(default = "jwks_keep_secs")]
    pub jwks_keep_secs: u64,
    /// Claims that must be there, each with one of these values.
    #[serde(default)]
    pub require: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    pub subject: SubjectConfig,
    /// What of the token an upstream receives.
    #[serde(default)]
    pub forward: Forward,
}

/// `gateway.issuers.NAME.introspection:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionIssuerConfig {
    /// The introspection endpoint.
    pub introspection_url: String,
    /// Its issuer identifier: `iss` of an answer must be this, where there is one, and JWTs that say
    /// this go there. Clients that look find it.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The gateway's own credential there.
    pub client_id: String,
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// A file with `client_secret`.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// How the credential is shown.
    #[serde(default)]
    pub auth_method: AuthMethod,
    /// The authorities whose certificates are believed there, as PEM. Absent: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// One of these must be in `aud`. Without them, it is the `resource` of the route's upstream.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// False takes answers that have no `aud`, too: the issuer has but one audience, and this is it.
    #[serde(default = "yes")]
    pub requires_audience: bool,
    /// An answer is used for so many seconds at most, and never past `exp`.
    #[serde(default = "ttl_secs")]
    pub ttl_secs: u64,
    /// Members of the answer that must be there, each with one of these values.
    #[serde(default)]
    pub require: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    pub subject: SubjectConfig,
    /// What of the token an upstream receives.
    #[serde(default)]
    pub forward: Forward,
}

/// `subject:` of an issuer: what its claims make of the subject of a question.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubjectConfig {
    /// Stands before `sub` and client id, so that those of two issuers are never one. Default: the
    /// issuer's name and a colon.
    pub namespace: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: SubjectType,
    /// The claim that has the client's id.
    pub client_id_claim: String,
    /// The claim that has the scope: a text, or a list.
    pub scope_claim: String,
    /// The claim that becomes the property `username`.
    pub username_claim: Option<String>,
    /// Properties of the subject, and the claim of each: by name, or by a JSON pointer such as
    /// `/realm_access/roles`. Other claims are not looked at.
    pub attributes: BTreeMap<String, String>,
}

/// The type of an issuer's subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectType {
    /// `Client` where `sub` is the client's id, or is not there (RFC 9068 section 2.2); else `User`.
    #[default]
    BySub,
    User,
    Client,
}

/// What an upstream receives as `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forward {
    /// Nothing.
    #[default]
    None,
    /// The client's own token, as `Bearer`. Whoever has it can use it elsewhere, too.
    Same,
}

/// How a client shows its secret (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    #[default]
    ClientSecretBasic,
    ClientSecretPost,
}

impl JwtIssuerConfig {
    /// An issuer with default settings.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            jwks_uri: None,
            jwks_file: None,
            jwks: None,
            ca_file: None,
            audiences: Vec::new(),
            algorithms: all_algorithms(),
            types: access_tokens(),
            leeway_secs: leeway_secs(),
            max_lifetime_secs: max_lifetime_secs(),
            jwks_refresh_secs: jwks_refresh_secs(),
            jwks_rest_secs: jwks_rest_secs(),
            jwks_keep_secs: jwks_keep_secs(),
            require: BTreeMap::new(),
            subject: SubjectConfig::default(),
            forward: Forward::default(),
        }
    }
}

impl Default for SubjectConfig {
    fn default() -> Self {
        Self {
            namespace: None,
            kind: SubjectType::default(),
            client_id_claim: "client_id".into(),
            scope_claim: "scope".into(),
            username_claim: None,
            attributes: BTreeMap::new(),
        }
    }
}

fn all_algorithms() -> Vec<String> {
    jose::Algorithm::ALL
        .iter()
        .map(|algorithm| algorithm.name().to_owned())
        .collect()
}

fn access_tokens() -> Vec<String> {
    vec!["at+jwt".into()]
}

fn leeway_secs() -> u64 {
    10
}

fn max_lifetime_secs() -> u64 {
    24 * 3600
}

fn jwks_refresh_secs() -> u64 {
    300
}

fn jwks_rest_secs() -> u64 {
    10
}

fn jwks_keep_secs() -> u64 {
    4 * 3600
}

fn ttl_secs() -> u64 {
    60
}

fn yes() -> bool {
    true
}
