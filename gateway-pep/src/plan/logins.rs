//! Logins, compiled: who we are at each provider, which paths and cookies are ours, and what seals sessions.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use relying_party::RelyingParty;
use service_kit::{ConfigIssue, Secret, outbound, pem};
use url::Url;

use super::key_secret;
use super::routes::place;
use crate::canonical::{normalize, written_target};
use crate::config::{Config, LoginConfig, PublicOrigin};
use crate::login::cookies::{Attributes, OwnCookies};
use crate::login::{Endpoint, Kind, Login, Logins, RESERVED, path};
use crate::seal::Seal;

/// What the gateway sends itself.
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
    "acr_values",
    "resource",
    "request",
    "request_uri",
];

/// None: nobody logs in here, or an issue says why nobody can.
pub(super) fn compile(
    config: &Config,
    base: &Path,
    issues: &mut Vec<ConfigIssue>,
) -> Option<Logins> {
    let gateway = &config.gateway;
    if gateway.logins.is_empty() {
        return None;
    }
    let attributes = if gateway.sessions.insecure_cookies {
        Attributes::Insecure
    } else {
        Attributes::Secure
    };
    check_origins(&gateway.public_origins, attributes, issues);
    let before = issues.len();
    let mut all = Vec::new();
    for (name, login) in &gateway.logins {
        let building = Building { name, base };
        match building.login(login, attributes) {
            Ok(login) => all.push(login),
            Err(found) => issues.extend(found),
        }
    }
    let (inline, file) = (
        gateway.sessions.secret.clone(),
        gateway.sessions.secret_file.as_ref(),
    );
    let secret = key_secret("gateway.sessions.secret", inline, file, base);
    let seal = secret.map(|secret| Seal::new(&secret, "gateway-session"));
    let seal = seal.map_err(|issue| issues.push(issue)).ok().flatten();
    let endpoints = endpoints(&all, issues);
    let elsewhere = all.iter().map(|login| login.callback_path.clone());
    let elsewhere: Vec<_> = elsewhere.filter(|path| !is_reserved(path)).collect();
    check_routes(config, &elsewhere, issues);
    check_cookies(&all, issues);
    if issues.len() > before {
        return None;
    }
    Some(Logins {
        own_cookies: OwnCookies::new(all.iter().map(|login| &*login.cookie)),
        all,
        endpoints,
        elsewhere,
        origins: gateway.public_origins.clone(),
        attributes,
        seal: seal?,
        cached: gateway.sessions.cached,
    })
}

struct Building<'c> {
    name: &'c str,
    base: &'c Path,
}

impl Building<'_> {
    fn issue(&self, key: &str, problem: &str) -> ConfigIssue {
        ConfigIssue::new(format!("`gateway.logins.{}.{key}` {problem}", self.name))
    }

    fn login(
        &self,
        config: &LoginConfig,
        attributes: Attributes,
    ) -> Result<Login, Vec<ConfigIssue>> {
        let mut issues = Vec::new();
        self.check(config, &mut issues);
        let secret = Secret::from_config(
            &format!("gateway.logins.{}.client_secret", self.name),
            config.client_secret.clone(),
            config.client_secret_file.as_ref(),
            self.base,
        );
        let secret = secret.map_err(|issue| issues.push(issue)).ok();
        let trusted = match &config.ca_file {
            None => None,
            Some(file) => {
                let key = format!("gateway.logins.{}.ca_file", self.name);
                let read = pem::authorities(&key, &self.base.join(file));
                read.map_err(|issue| issues.push(issue)).ok()
            }
        };
        let issuer = self.issuer(&config.issuer);
        let issuer = issuer.map_err(|issue| issues.push(issue)).ok();
        let (Some(issuer), Some(secret), true) = (issuer, secret, issues.is_empty()) else {
            return Err(issues);
        };
        let us = (&*config.client_id, secret);
        let party = RelyingParty::new(&issuer, &config.issuer, us, trusted)
            .ok_or_else(|| vec![self.issue("ca_file", "makes no HTTP client")])?;
        let callback = config.callback_path.clone();
        let cookie = config.cookie.clone();
        let cookie = cookie.unwrap_or_else(|| format!("cedargate-{}", self.name));
        Ok(Login {
            name: self.name.into(),
            party,
            scopes: config.scopes.clone(),
            resource: config.resource.clone(),
            parameters: config.authorization_parameters.clone(),
            callback_path: callback.unwrap_or_else(|| path(self.name, Kind::Callback)),
            cookie: attributes.name(&cookie),
            idle: Duration::from_secs(config.idle_secs),
            lifetime: Duration::from_secs(config.lifetime_secs),
            logout_at_provider: config.logout_at_provider,
            after_logout: config.post_logout_redirect_uri.clone(),
        })
    }

    fn issuer(&self, text: &str) -> Result<Url, ConfigIssue> {
        let url =
            Url::parse(text).map_err(|_| self.issue("issuer", &format!("is no URL: `{text}`")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(self.issue("issuer", "must have no query and no fragment"));
        }
        if !outbound::is_trusted(&url, true) {
            let problem = self.issue("issuer", "cannot be trusted");
            return Err(problem.hint("write `https`, or `http` on loopback"));
        }
        Ok(url)
    }

    fn check(&self, config: &LoginConfig, issues: &mut Vec<ConfigIssue>) {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_word = |text: &str| (1..=32).contains(&text.len()) && text.bytes().all(is_plain);
        let mut add = |key: &str, problem: &str| issues.push(self.issue(key, problem));
        if !is_word(self.name) {
            issues.push(ConfigIssue::new(format!(
                "`gateway.logins.{}`: the name must be 1 to 32 lower-case letters, digits and `-`",
                self.name
            )));
            return;
        }
        if config.client_id.is_empty() {
            add("client_id", "is empty");
        }
        let cookie = config.cookie.as_deref();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if cookie.is_some_and(|name| name.is_empty() || !name.bytes().all(is_name)) {
            add("cookie", "must be letters, digits, `-`, `_` and `.`");
        }
        if cookie.is_some_and(|name| name.starts_with("__")) {
            add(
                "cookie",
                "must not begin with `__`: `__Host-` is put before it",
            );
        }
        if config.idle_secs < 60 {
            add("idle_secs", "must be at least 60");
        }
        if config.lifetime_secs < config.idle_secs {
            add("lifetime_secs", "must be at least `idle_secs`");
        }
        if let Some(path) = &config.callback_path
            && !is_local(path)
        {
            add(
                "callback_path",
                "must be a path in its normal form, without a query",
            );
        }
        for name in config.authorization_parameters.keys() {
            if OWN_PARAMETERS.contains(&&**name) {
                let problem = format!("cannot have `{name}`: it is the gateway's own");
                add("authorization_parameters", &problem);
            }
        }
        if let Some(url) = &config.post_logout_redirect_uri {
            let is_good = Url::parse(url)
                .is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
            if !is_good {
                add("post_logout_redirect_uri", "must be a whole URL");
            }
        }
    }
}

fn is_reserved(path: &str) -> bool {
    let rest = path.strip_prefix(RESERVED);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_local(path: &str) -> bool {
    !path.contains('?')
        && written_target(path.as_bytes()).is_ok_and(|it| it.as_str() == path)
        && matches!(normalize(path), Ok(None))
}

/// Browsers come by one of them: redirect URIs are made of them, and cookies belong to them.
fn check_origins(origins: &[PublicOrigin], attributes: Attributes, issues: &mut Vec<ConfigIssue>) {
    if origins.is_empty() {
        issues.push(
            ConfigIssue::new("`gateway.logins` needs `gateway.public_origins`")
                .hint("list how browsers reach the gateway, such as `https://app.example.org`"),
        );
    }
    for origin in origins {
        let url = Url::parse(origin.as_str()).ok();
        let is_http = url.as_ref().is_some_and(|url| url.scheme() == "http");
        let is_here = url.as_ref().is_some_and(outbound::is_loopback);
        match attributes {
            Attributes::Secure if is_http => issues.push(
                ConfigIssue::new(format!(
                    "`gateway.logins`: no cookie is safe at `{origin}`"
                ))
                .hint(
                    "write `https`; for development on this machine, say \
                     `gateway.sessions.insecure_cookies: true`",
                ),
            ),
            Attributes::Insecure if !is_here => issues.push(
                ConfigIssue::new(format!(
                    "`gateway.sessions.insecure_cookies` cannot be, for `{origin}` is not on loopback"
                ))
                .hint("remove it"),
            ),
            Attributes::Secure | Attributes::Insecure => {}
        }
    }
}

fn endpoints(all: &[Login], issues: &mut Vec<ConfigIssue>) -> HashMap<String, Endpoint> {
    let mut endpoints = HashMap::new();
    for (index, login) in all.iter().enumerate() {
        for kind in Kind::ALL {
            let (path, endpoint) = (login.path(kind), Endpoint { login: index, kind });
            if endpoints.insert(path.clone(), endpoint).is_some() {
                issues.push(ConfigIssue::new(format!(
                    "`gateway.logins.{}`: `{path}` is there twice",
                    login.name
                )));
            }
        }
    }
    endpoints
}

/// No route can have what is ours.
fn check_routes(config: &Config, elsewhere: &[String], issues: &mut Vec<ConfigIssue>) {
    for (index, route) in config.routes.iter().enumerate() {
        let template = &route.matches;
        if is_reserved(template) || elsewhere.contains(template) {
            let at = place(index, route);
            let problem = format!("{at}: the path is reserved for `gateway.logins`");
            issues.push(ConfigIssue::new(problem).hint("choose another"));
        }
    }
}

/// One login's cookies are not another's.
fn check_cookies(all: &[Login], issues: &mut Vec<ConfigIssue>) {
    for (index, login) in all.iter().enumerate() {
        let before = all.iter().take(index);
        for other in before.filter(|other| other.cookie.eq_ignore_ascii_case(&login.cookie)) {
            issues.push(ConfigIssue::new(format!(
                "`gateway.logins`: `{}` and `{}` have the same cookie",
                other.name, login.name
            )));
        }
    }
}

#[cfg(test)]
mod tests;
