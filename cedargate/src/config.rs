//! The configuration file: one YAML with a section for each role that this process plays.

mod lifecycle;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_pep::{GatewayConfig, RouteConfig, UpstreamConfig};
use http::HeaderValue;
use pdp::{LocalConfig, PdpConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::log::LogLevel;
use service_kit::traces::{self, TracingConfig};
use service_kit::{ConfigError, ConfigIssue, Secret, Variables};
use store::StoreConfig;
use token_service::TokenServiceConfig;
use url::Url;

use crate::peer_tls::{PeerTls, PeerTlsFiles};
pub use lifecycle::LifecycleConfig;
pub(crate) use lifecycle::folder as lifecycle_folder;

/// A configuration file. A role runs where its section is present.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The operational log on standard error.
    #[serde(default)]
    pub log: LogConfig,
    /// Spans of requests. Default: none.
    pub tracing: Option<TracingConfig>,
    /// Health and metrics.
    #[serde(default)]
    pub admin: AdminConfig,
    /// How it ends, and how another process takes its place.
    #[serde(default)]
    pub lifecycle: LifecycleConfig,
    /// Where state is kept. Default: in memory, gone with the process.
    #[serde(default)]
    pub store: StoreConfig,
    /// Runs a Policy Decision Point.
    pub pdp: Option<PdpConfig>,
    /// Runs a token service.
    pub token_service: Option<TokenServiceConfig>,
    /// Runs a gateway; needs `upstreams` and `routes`.
    pub gateway: Option<GatewayConfig>,
    /// Services that the gateway protects, by name.
    #[serde(default)]
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// What the gateway lets through, and on which question. Anything else is 404.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
    /// Roles that other processes play for this one.
    #[serde(default)]
    pub connect: ConnectConfig,
    /// Runs the demo's records API.
    pub demo_upstream: Option<DemoUpstreamConfig>,
}

/// `log:`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    #[serde(default)]
    pub level: LogLevel,
}

/// `admin:`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Keep it on an address that clients cannot reach.
    #[serde(default = "default_admin_listen")]
    pub listen: SocketAddr,
    /// Names by which it is asked, beside addresses and `localhost`. Others are refused: a page of the web can be
    /// led here by a name of its own.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// `connect:`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectConfig {
    /// A PDP in another process: any AuthZEN 1.0 decision point.
    pub pdp: Option<ConnectPdp>,
    /// A token service in another process.
    pub token_service: Option<ConnectTokenService>,
}

/// `connect.pdp:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectPdp {
    /// Base URL; `/access/v1/evaluation` is appended.
    #[schemars(with = "String")]
    pub url: Url,
    /// Our key there (`pdp.callers`), where it asks for one.
    pub api_key: Option<Secret>,
    pub api_key_file: Option<PathBuf>,
    /// The authorities whose certificates are believed there, as PEM. Absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, as PEM, where it knows us by one; needs `client_key_file`.
    pub client_certificate_file: Option<PathBuf>,
    /// The private key of our certificate.
    pub client_key_file: Option<PathBuf>,
    /// For one question, milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Decides in this process, by snapshots that the PDP hands out (`pdp.snapshots`). Absent: each question
    /// goes there.
    pub local: Option<LocalConfig>,
}

/// `connect.token_service:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectTokenService {
    /// The introspection endpoint.
    #[schemars(with = "String")]
    pub introspection_url: Url,
    /// The gateway's own credential there (`token_service.resource_servers`).
    #[serde(default = "default_resource_server")]
    pub client_id: String,
    pub client_secret: Option<Secret>,
    pub client_secret_file: Option<PathBuf>,
    /// The authorities whose certificates are believed there, as PEM. Absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, as PEM, where it knows us by one in the place of a secret; needs
    /// `client_key_file`, and the introspection endpoint of `mtls_endpoint_aliases`.
    pub client_certificate_file: Option<PathBuf>,
    /// The private key of our certificate.
    pub client_key_file: Option<PathBuf>,
    /// For one swap, milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

/// `demo_upstream:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DemoUpstreamConfig {
    pub listen: SocketAddr,
}

/// A file that was read: the values, and the folder that its relative paths start from.
#[derive(Debug)]
pub struct Loaded {
    pub file: PathBuf,
    pub base: PathBuf,
    /// What its `${NAME}` stand for.
    pub variables: Variables,
    pub config: FileConfig,
    /// What it was read from. There may be secrets in it.
    pub text: Secret,
}

/// The credential that a gateway uses towards a token service in the same process.
pub const LOCAL_RESOURCE_SERVER: &str = "gateway";

impl Loaded {
    /// Reads a file; every problem in its text is in the error.
    pub fn read(file: &Path, variables: &Variables) -> Result<Self, ConfigError> {
        Self::of(file, &service_kit::config::read(file)?, variables)
    }

    /// Of the text of a file that was read before.
    pub(crate) fn of(file: &Path, text: &str, variables: &Variables) -> Result<Self, ConfigError> {
        let config = service_kit::config::parse_file(file, text, variables)?;
        let base = file.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self {
            file: file.to_owned(),
            base,
            variables: variables.clone(),
            config,
            text: Secret::new(text),
        })
    }
}

impl FileConfig {
    /// The gateway's part, in its own form.
    pub fn gateway(&self) -> Option<gateway_pep::Config> {
        self.gateway.as_ref().map(|gateway| gateway_pep::Config {
            gateway: gateway.clone(),
            upstreams: self.upstreams.clone(),
            routes: self.routes.clone(),
        })
    }

    /// What this process is called in traces, by the roles that it plays.
    pub fn service_name(&self) -> &'static str {
        match (&self.pdp, &self.token_service, &self.gateway) {
            (Some(_), None, None) => "cedargate-pdp",
            (None, Some(_), None) => "cedargate-token-service",
            (None, None, Some(_)) => "cedargate-gateway",
            _ => "cedargate",
        }
    }

    /// What is wrong with how the sections fit together.
    pub fn check_topology(&self) -> Vec<ConfigIssue> {
        let mut issues = Vec::new();
        if self.pdp.is_none()
            && self.token_service.is_none()
            && self.gateway.is_none()
            && self.demo_upstream.is_none()
        {
            issues.push(
                ConfigIssue::new("no role is configured")
                    .hint("add a section: `pdp`, `token_service` or `gateway`"),
            );
        }
        if self.gateway.is_none() && !(self.routes.is_empty() && self.upstreams.is_empty()) {
            issues.push(
                ConfigIssue::new("`routes` and `upstreams` need a gateway")
                    .hint("add `gateway: {}`"),
            );
        }
        if self.pdp.is_some() && self.connect.pdp.is_some() {
            issues.push(ConfigIssue::new(
                "`pdp` and `connect.pdp` are both given; keep one",
            ));
        }
        if self.token_service.is_some() && self.connect.token_service.is_some() {
            issues.push(ConfigIssue::new(
                "`token_service` and `connect.token_service` are both given; keep one",
            ));
        }
        let decides = self.connect.pdp.as_ref().and_then(|pdp| pdp.local.as_ref());
        if decides.is_some() && self.gateway.is_none() {
            issues.push(
                ConfigIssue::new("`connect.pdp.local` needs a gateway, which decides by it")
                    .hint("leave it out: a token service asks the PDP itself"),
            );
        }
        let is_forgetful = matches!(self.store, StoreConfig::Memory {});
        if self.lifecycle.handover_socket.is_some() && self.token_service.is_some() && is_forgetful
        {
            issues.push(
                ConfigIssue::new(
                    "`lifecycle.handover_socket` hands over what is in a file, and `store` is in memory: tokens \
                     would be gone with the process that gave them out",
                )
                .hint("add `store: { redb: { path: … } }`, or leave the socket out"),
            );
        }
        issues.extend(self.check_gateway_topology());
        if self.token_service.is_some() && self.pdp.is_none() && self.connect.pdp.is_none() {
            issues.push(
                ConfigIssue::new("the token service has no PDP to ask which scopes to grant")
                    .hint("add `pdp:` or `connect.pdp.url:`"),
            );
        }
        issues
    }

    fn check_gateway_topology(&self) -> Vec<ConfigIssue> {
        let mut issues = Vec::new();
        if self.gateway.is_none() {
            return issues;
        }
        if self.pdp.is_none() && self.connect.pdp.is_none() {
            issues.push(
                ConfigIssue::new("the gateway has no PDP to ask")
                    .hint("add `pdp:` or `connect.pdp.url:`"),
            );
        }
        let swaps = self
            .gateway()
            .is_some_and(|gateway| gateway.needs_token_service());
        if swaps && self.token_service.is_none() && self.connect.token_service.is_none() {
            issues.push(
                ConfigIssue::new("the gateway has no token service to swap tokens at").hint(
                    "add `token_service:` or `connect.token_service:`, or take the tokens of \
                     `gateway.issuers` alone",
                ),
            );
        }
        let connects = self.connect.pdp.is_some() || self.connect.token_service.is_some();
        if connects && !matches!(self.store, StoreConfig::Redis { .. }) {
            // Without a shared event log a revocation elsewhere would never reach this cache.
            issues.push(
                ConfigIssue::new(
                    "a gateway that connects to other processes hears of revocations and policy \
                     changes through a shared store, and `store` is not Redis",
                )
                .hint("add `store: { redis: { url: … } }`, the same for every process"),
            );
        }
        issues
    }
}

impl ConnectTokenService {
    /// As the HTTP client takes it.
    pub fn resolve(&self, base: &Path) -> Result<oauth::HttpTokenIntrospectorConfig, ConfigIssue> {
        let files = PeerTlsFiles {
            place: "connect.token_service.",
            authorities: self.ca_file.as_deref(),
            certificate: self.client_certificate_file.as_deref(),
            key: self.client_key_file.as_deref(),
        };
        let tls = PeerTls::read(base, &files)?;
        if self.introspection_url.scheme() != "https" && !tls.is_none() {
            return Err(ConfigIssue::new(format!(
                "`connect.token_service` has certificates, and `{}` is plain HTTP",
                self.introspection_url
            ))
            .hint("write `https` into `introspection_url`, or leave the certificates out"));
        }
        let has_secret = self.client_secret.is_some() || self.client_secret_file.is_some();
        if has_secret && tls.identity.is_some() {
            return Err(ConfigIssue::new(
                "`connect.token_service` has a secret and a certificate; keep one",
            ));
        }
        let client_secret = match &tls.identity {
            Some(_) => None,
            None => Some(Secret::from_config(
                "connect.token_service.client_secret",
                self.client_secret.clone(),
                self.client_secret_file.as_ref(),
                base,
            )?),
        };
        Ok(oauth::HttpTokenIntrospectorConfig {
            url: self.introspection_url.clone(),
            client_id: self.client_id.clone(),
            client_secret: client_secret.map(|secret| secret.reveal().to_owned().into()),
            trusted: tls.trusted,
            identity: tls.identity,
            timeout: Duration::from_millis(self.timeout_ms),
            propagate: Some(traces::propagate),
        })
    }
}

impl ConnectPdp {
    fn tls_files(&self, place: &'static str) -> PeerTlsFiles<'_> {
        PeerTlsFiles {
            place,
            authorities: self.ca_file.as_deref(),
            certificate: self.client_certificate_file.as_deref(),
            key: self.client_key_file.as_deref(),
        }
    }

    /// As the HTTP client takes it.
    pub fn resolve(&self, base: &Path) -> Result<authzen::HttpDecisionPointConfig, ConfigIssue> {
        let mut config = authzen::HttpDecisionPointConfig::new(self.url.clone());
        config.timeout = Duration::from_millis(self.timeout_ms);
        if self.api_key.is_some() || self.api_key_file.is_some() {
            let key = Secret::from_config(
                "connect.pdp.api_key",
                self.api_key.clone(),
                self.api_key_file.as_ref(),
                base,
            )?;
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.reveal()))
                .map_err(|_| ConfigIssue::new("`connect.pdp.api_key` cannot stand in a header"))?;
            value.set_sensitive(true);
            config.authorization = Some(value);
        }
        let tls = PeerTls::read(base, &self.tls_files("connect.pdp."))?;
        if self.url.scheme() != "https" && !tls.is_none() {
            return Err(ConfigIssue::new(format!(
                "`connect.pdp` has certificates, and `{}` is plain HTTP",
                self.url
            ))
            .hint("write `https` into `connect.pdp.url`, or leave the certificates out"));
        }
        config.propagate = Some(traces::propagate);
        config.trusted = tls.trusted;
        config.identity = tls.identity;
        Ok(config)
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: default_admin_listen(),
            hosts: Vec::new(),
        }
    }
}

fn default_admin_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9901))
}

fn default_timeout_ms() -> u64 {
    2000
}

fn default_resource_server() -> String {
    LOCAL_RESOURCE_SERVER.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let config: FileConfig =
            service_kit::config::parse(text, &Variables::default()).expect("parses");
        let issues: Vec<_> = config
            .check_topology()
            .into_iter()
            .map(|i| i.message)
            .collect();
        assert_eq!(issues.len(), expected.len(), "{issues:?}");
        for (issue, part) in issues.iter().zip(expected) {
            assert!(issue.contains(part), "{issue} has no {part}");
        }
    }

    #[test]
    fn sections_that_do_not_fit_together_are_named() {
        check("log: {}", &["no role"]);
        check("gateway: {}", &["no PDP", "no token service"]);
        check(
            "gateway: {}\nconnect: { pdp: { url: 'http://127.0.0.1:1' }, token_service: { introspection_url: 'http://127.0.0.1:2', client_secret: x } }",
            &["shared store"],
        );
        check(
            "token_service: { issuer: 'http://127.0.0.1:1' }\npdp: { policies: p }\nlifecycle: { handover_socket: s }",
            &["in memory"],
        );
        check(
            "token_service: { issuer: 'http://127.0.0.1:1' }\nconnect: { pdp: { url: 'http://127.0.0.1:1', local: { key_file: k } } }",
            &["needs a gateway"],
        );
        check(
            "routes: []\nupstreams: { a: { url: 'http://127.0.0.1:1', resource: 'x' } }\npdp: { policies: p }",
            &["need a gateway"],
        );
    }

    #[test]
    fn a_gateway_of_others_tokens_alone_needs_no_token_service() {
        let corp = "issuers: { corp: { jwt: { issuer: 'https://corp.example' } } }";
        let route = "match: /a, methods: [GET], upstream: a, action: a, resource: R/x";
        for (default, more, expected) in [
            ("[corp]", "", &[][..]),
            (
                "[corp]",
                ", issuers: [token_service]",
                &["no token service"],
            ),
            ("[token_service]", ", issuers: [corp]", &[]),
            ("[token_service]", "", &["no token service"]),
            (
                "[corp]",
                ", issuers: [corp, token_service]",
                &["no token service"],
            ),
        ] {
            let text = format!(
                "gateway: {{ {corp}, default_issuers: {default} }}\npdp: {{ policies: p }}\n\
                 upstreams: {{ a: 'http://a' }}\nroutes: [{{ {route}{more} }}]\n"
            );
            check(&text, expected);
        }
    }
}
