//! Other OpenID providers, as their configuration was understood. What is done with them is in
//! [`crate::federation`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub(crate) use relying_party::Fault;
use relying_party::RelyingParty;
use serde::Serialize;
use serde_json::Value;
use service_kit::{ConfigIssue, Secret, outbound, pem};
use url::Url;

use crate::config::{ClaimMapping, IdentityProviderConfig, LinkRule};

/// Somewhere to log in. Serialized as far as tokens can depend on it.
#[derive(Debug, Serialize)]
pub(crate) struct Provider {
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) issuer: String,
    /// Subject identifiers of those who may not come in.
    pub(crate) blocked: BTreeSet<String>,
    #[serde(skip)]
    pub(crate) party: RelyingParty,
    #[serde(skip)]
    pub(crate) scopes: Vec<String>,
    #[serde(skip)]
    pub(crate) parameters: BTreeMap<String, String>,
    #[serde(skip)]
    pub(crate) claims: ClaimMapping,
    #[serde(skip)]
    pub(crate) require: BTreeMap<String, Vec<Value>>,
    #[serde(skip)]
    pub(crate) link: LinkRule,
    #[serde(skip)]
    pub(crate) creates: bool,
    #[serde(skip)]
    pub(crate) acr: Option<String>,
    #[serde(skip)]
    pub(crate) trusts_acr: bool,
    #[serde(skip)]
    pub(crate) logs_out: bool,
}

/// What the service sends itself.
const OWN_PARAMETERS: [&str; 14] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "max_age",
    "login_hint",
    "acr_values",
    "request",
    "request_uri",
];

/// Is told to policies, and so cannot be a claim of the provider's.
pub(crate) const PROVIDER_ATTRIBUTE: &str = "identity_provider";

/// Every provider that is configured; every problem is reported.
pub(crate) fn providers(
    configs: &[IdentityProviderConfig],
    base: &Path,
    issues: &mut Vec<ConfigIssue>,
) -> BTreeMap<String, Arc<Provider>> {
    let mut all = BTreeMap::new();
    for (index, config) in configs.iter().enumerate() {
        let at = format!("token_service.identity_providers[{index}]");
        let provider = Provider::build(config, base, &at, issues);
        let Some(provider) = provider else { continue };
        if all.insert(config.id.clone(), Arc::new(provider)).is_some() {
            let problem = format!("`{at}.id`: `{}` is there twice", config.id);
            issues.push(ConfigIssue::new(problem));
        }
    }
    all
}

impl Provider {
    /// Adds every problem; with one added, the result is not to be used.
    fn build(
        config: &IdentityProviderConfig,
        base: &Path,
        at: &str,
        issues: &mut Vec<ConfigIssue>,
    ) -> Option<Self> {
        check(config, &mut |key, problem| {
            issues.push(ConfigIssue::new(format!("`{at}.{key}`: {problem}")));
        });
        let name = format!("{at}.client_secret");
        let file = config.client_secret_file.as_ref();
        let secret = Secret::from_config(&name, config.client_secret.clone(), file, base);
        let secret = secret.map_err(|issue| issues.push(issue)).ok();
        let trusted = trusted(config, base, at).map_err(|issue| issues.push(issue));
        let issuer = Url::parse(&config.issuer).ok()?;
        Some(Self {
            id: config.id.clone(),
            name: config.name.clone().unwrap_or_else(|| config.id.clone()),
            issuer: config.issuer.clone(),
            blocked: config.blocked.iter().cloned().collect(),
            party: RelyingParty::new(
                &issuer,
                &config.issuer,
                (&config.client_id, secret?),
                trusted.ok()?,
            )?,
            scopes: config.scopes.clone(),
            parameters: config.authorization_parameters.clone(),
            claims: config.claims.clone(),
            require: config.require.clone(),
            link: config.link,
            creates: config.create,
            acr: config.acr.clone(),
            trusts_acr: config.trust_acr,
            logs_out: config.logout,
        })
    }
}

fn check(config: &IdentityProviderConfig, add: &mut impl FnMut(&str, &str)) {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let id = &config.id;
    if id.is_empty() || id.len() > 32 || !id.bytes().all(is_plain) {
        add("id", "must be 1 to 32 lower-case letters, digits and `-`");
    }
    match Url::parse(&config.issuer) {
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            add("issuer", "must have no query and no fragment");
        }
        Ok(url) if outbound::is_trusted(&url, true) => {}
        Ok(_) => add("issuer", "must be `https`, or `http` on loopback"),
        Err(_) => add("issuer", "must be a URL"),
    }
    if config.client_id.is_empty() {
        add("client_id", "must not be empty");
    }
    for name in config.authorization_parameters.keys() {
        if OWN_PARAMETERS.contains(&name.as_str()) {
            add(
                "authorization_parameters",
                &format!("`{name}` is the service's own"),
            );
        }
    }
    let claims = &config.claims;
    if claims.attributes.contains_key(PROVIDER_ATTRIBUTE) {
        add(
            "claims.attributes",
            &format!("`{PROVIDER_ATTRIBUTE}` is the service's own"),
        );
    }
    let single = [&claims.username, &claims.name, &claims.email];
    let named = single.into_iter().chain(claims.attributes.values());
    if named.chain(config.require.keys()).any(String::is_empty) {
        add("claims", "a claim has no name");
    }
    for (claim, values) in &config.require {
        if values.is_empty() {
            add("require", &format!("`{claim}` has no value that is good"));
        }
    }
    if !config.create && config.link == LinkRule::Never {
        add(
            "create",
            "must be true where `link` is `never`: else nobody comes in",
        );
    }
}

/// The certificates that are believed; none: the system's.
fn trusted(
    config: &IdentityProviderConfig,
    base: &Path,
    at: &str,
) -> Result<Option<Vec<reqwest::Certificate>>, ConfigIssue> {
    let Some(file) = &config.ca_file else {
        return Ok(None);
    };
    let (key, path) = (format!("{at}.ca_file"), base.join(file));
    pem::authorities(&key, &path).map(Some)
}
