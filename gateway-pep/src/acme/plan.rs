//! `gateway.acme`, understood.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use service_kit::{ConfigIssue, Secret, outbound, pem};
use zeroize::Zeroizing;

use crate::config::{AcmeChallenge, AcmeConfig, Config};
use crate::plan::key_secret;
use crate::seal::Seal;

/// How certificates are got.
#[derive(Debug)]
pub(crate) struct AcmePlan {
    pub(super) directory: String,
    pub(super) contacts: Vec<String>,
    pub(super) external_account: Option<ExternalAccount>,
    /// The names of each, in lower case.
    pub(super) certificates: Vec<Vec<String>>,
    pub(super) challenge: AcmeChallenge,
    pub(super) client: reqwest::Client,
    pub(super) seal: Seal,
}

/// An account that somebody has at the authority.
pub(super) struct ExternalAccount {
    pub(super) key_id: String,
    pub(super) key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExternalAccount")
            .finish_non_exhaustive()
    }
}

/// For one answer of the authority.
const PATIENCE: Duration = Duration::from_secs(30);

impl AcmePlan {
    /// None: no certificate is to be got. All that is wrong is in the error.
    pub(crate) fn compile(config: &Config, base: &Path) -> Result<Option<Self>, Vec<ConfigIssue>> {
        let Some(acme) = &config.gateway.acme else {
            return Ok(None);
        };
        let mut issues = Vec::new();
        if config.gateway.tls.is_none() {
            issues.push(
                ConfigIssue::new("`gateway.acme` gets certificates, and there is no `gateway.tls`")
                    .hint("add `tls: {}` to `gateway`"),
            );
        }
        if !acme.terms_of_service_agreed {
            issues.push(
                ConfigIssue::new("`gateway.acme.terms_of_service_agreed` is not `true`")
                    .hint("read what the authority wants, and agree"),
            );
        }
        if acme.directory.scheme() != "https" {
            issues.push(ConfigIssue::new(
                "`gateway.acme.directory` must be an `https` URL",
            ));
        }
        match (acme.challenge, acme.http_listen) {
            (AcmeChallenge::Http01, None) => issues.push(
                ConfigIssue::new("`gateway.acme.challenge: http-01` needs `http_listen`")
                    .hint("where clients reach port 80: `http_listen: 0.0.0.0:80`"),
            ),
            (AcmeChallenge::TlsAlpn01, Some(_)) => issues.push(ConfigIssue::new(
                "`gateway.acme.http_listen` is for `challenge: http-01`",
            )),
            _ => {}
        }
        for contact in &acme.contacts {
            if !contact.starts_with("mailto:") {
                issues.push(ConfigIssue::new(format!(
                    "`gateway.acme.contacts`: `{contact}` does not begin with `mailto:`"
                )));
            }
        }
        let certificates = names(acme, &mut issues);
        let external_account = external_account(acme, base);
        let external_account = external_account.map_err(|issue| issues.push(issue)).ok();
        let seal = seal(acme, base, &mut issues);
        let client = client(acme, base).map_err(|issue| issues.push(issue)).ok();
        match (seal, client, external_account) {
            (Some(seal), Some(client), Some(external_account)) if issues.is_empty() => {
                Ok(Some(Self {
                    directory: acme.directory.to_string(),
                    contacts: acme.contacts.clone(),
                    external_account,
                    certificates,
                    challenge: acme.challenge,
                    client,
                    seal,
                }))
            }
            _ => Err(issues),
        }
    }

    pub(super) fn is_shown_by_tls(&self) -> bool {
        self.challenge == AcmeChallenge::TlsAlpn01
    }
}

fn names(acme: &AcmeConfig, issues: &mut Vec<ConfigIssue>) -> Vec<Vec<String>> {
    let mut known = BTreeSet::new();
    if acme.certificates.is_empty() {
        issues.push(ConfigIssue::new("`gateway.acme.certificates` is empty"));
    }
    let mut certificates = Vec::new();
    for (index, certificate) in acme.certificates.iter().enumerate() {
        let place = format!("gateway.acme.certificates[{index}].names");
        if certificate.names.is_empty() || certificate.names.len() > 100 {
            issues.push(ConfigIssue::new(format!(
                "`{place}` must have 1 to 100 names"
            )));
        }
        let names: Vec<_> = certificate
            .names
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        for name in &names {
            if !is_name(name) {
                issues.push(
                    ConfigIssue::new(format!("`{place}`: `{name}` is no whole DNS name"))
                        .hint("an authority sees neither wildcards nor addresses in these ways"),
                );
            }
            if !known.insert(name.clone()) {
                issues.push(ConfigIssue::new(format!(
                    "`{place}`: `{name}` is there twice"
                )));
            }
        }
        certificates.push(names);
    }
    certificates
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(is_known) && !label.starts_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253
        && name.split('.').all(is_label)
        && !name.rsplit('.').next().is_some_and(is_number)
}

fn external_account(
    acme: &AcmeConfig,
    base: &Path,
) -> Result<Option<ExternalAccount>, ConfigIssue> {
    let Some(account) = &acme.external_account else {
        return Ok(None);
    };
    let (inline, file) = (account.key.clone(), account.key_file.as_ref());
    let text = Secret::from_config("gateway.acme.external_account.key", inline, file, base)?;
    // Some authorities fill it up, as base64 in general is.
    let key = URL_SAFE_NO_PAD.decode(text.reveal().trim_end_matches('='));
    match key.map(Zeroizing::new) {
        Ok(key) if !key.is_empty() => Ok(Some(ExternalAccount {
            key_id: account.key_id.clone(),
            key,
        })),
        _ => Err(
            ConfigIssue::new("`gateway.acme.external_account.key` is not base64url")
                .hint("as the authority shows it; it may call it HMAC key, or `b64MacKey`"),
        ),
    }
}

fn seal(acme: &AcmeConfig, base: &Path, issues: &mut Vec<ConfigIssue>) -> Option<Seal> {
    let (inline, file) = (acme.secret.clone(), acme.secret_file.as_ref());
    let secret = key_secret("gateway.acme.secret", inline, file, base);
    let secret = secret.map_err(|issue| issues.push(issue)).ok()?;
    Seal::new(&secret, "gateway-acme")
}

fn client(acme: &AcmeConfig, base: &Path) -> Result<reqwest::Client, ConfigIssue> {
    let mut client = outbound::client(PATIENCE);
    if let Some(file) = &acme.ca_file {
        let authorities = pem::authorities("gateway.acme.ca_file", &base.join(file))?;
        client = client.tls_certs_only(authorities);
    }
    client
        .build()
        .map_err(|error| ConfigIssue::new(format!("`gateway.acme`: {error}")))
}

#[cfg(test)]
mod tests {
    use service_kit::Variables;

    use super::*;
    use crate::config::GatewayConfig;

    const SECRET: &str = "secret: 0123456789abcdef0123456789abcdef";

    fn said(gateway: &str) -> Vec<String> {
        let gateway: GatewayConfig =
            service_kit::config::parse(gateway, &Variables::default()).unwrap();
        let config = Config {
            gateway,
            upstreams: std::collections::BTreeMap::new(),
            routes: Vec::new(),
        };
        let issues = AcmePlan::compile(&config, Path::new(".")).err();
        let issues = issues.unwrap_or_default().into_iter();
        issues.map(|issue| issue.message).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let whole = "directory: 'https://acme.test/dir', terms_of_service_agreed: true";
        let names = "certificates: [{ names: [a.test, B.test] }]";
        let good = format!("tls: {{}}\nacme: {{ {whole}, {names}, {SECRET} }}");
        assert_eq!(said(&good), [""; 0]);
        assert_eq!(said("tls: {}"), [""; 0]);
        for (from, to, expected) in [
            ("tls: {}\n", "", "no `gateway.tls`"),
            ("https:", "http:", "`https`"),
            ("agreed: true", "agreed: false", "`true`"),
            ("B.test", "a.TEST", "twice"),
            ("B.test", "'*.test'", "no whole DNS name"),
            ("B.test", "127.0.0.1", "no whole DNS name"),
            ("B.test", "b..test", "no whole DNS name"),
            ("names: [a.test, B.test]", "names: []", "1 to 100"),
            ("89abcdef }", "89 }", "shorter than 32"),
            (SECRET, "secret_file: nowhere", "cannot read"),
            (
                SECRET,
                "ca_file: nowhere, secret: 0123456789abcdef0123456789abcdef",
                "ca_file",
            ),
            (
                "acme: {",
                "acme: { challenge: http-01,",
                "needs `http_listen`",
            ),
            (
                "acme: {",
                "acme: { http_listen: '0.0.0.0:80',",
                "is for `challenge: http-01`",
            ),
            ("acme: {", "acme: { contacts: ['a@b.test'],", "mailto:"),
            (
                "acme: {",
                "acme: { external_account: { key_id: a, key: 'b c' },",
                "is not base64url",
            ),
            (
                "acme: {",
                "acme: { external_account: { key_id: a },",
                "`gateway.acme.external_account.key` is missing",
            ),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let said = said(&bad);
            assert!(
                said.len() == 1 && said[0].contains(expected),
                "{bad}: {said:?}"
            );
        }
    }
}
