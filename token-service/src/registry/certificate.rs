//! Certificates of clients and resource servers: from configuration to what one that is shown must
//! have (RFC 8705 section 2).

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use service_kit::tls::DistinguishedName;
use service_kit::{ClientCertificate, WantedCertificate, digest};

use super::Credential;
use super::issues::Issues;
use crate::config::{MtlsConfig, SelfSignedTlsClientAuthConfig, TlsClientAuthConfig};

/// Which certificates can be looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mtls {
    /// There is no listener for them.
    #[default]
    None,
    SelfSigned,
    /// There are authorities, too.
    WithAuthorities,
}

/// How somebody is known by certificate, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) by_authority: Option<&'a TlsClientAuthConfig>,
    pub(super) self_signed: Option<&'a SelfSignedTlsClientAuthConfig>,
}

impl Mtls {
    pub(crate) fn of(config: Option<&MtlsConfig>) -> Self {
        match config {
            None => Self::None,
            Some(mtls) if mtls.tls.client_ca_file.is_some() => Self::WithAuthorities,
            Some(_) => Self::SelfSigned,
        }
    }
}

impl Written<'_> {
    pub(super) fn is_nothing(&self) -> bool {
        self.by_authority.is_none() && self.self_signed.is_none()
    }
}

impl Credential {
    /// Whether a certificate is one of those that are wanted.
    pub(crate) fn is_certificate(&self, shown: &ClientCertificate) -> bool {
        match self {
            Self::Certificates(wanted) => wanted.iter().any(|wanted| wanted.is_met(shown)),
            Self::Secret(_) | Self::Keys(_) => false,
        }
    }

    /// A certificate that both would take.
    pub(super) fn shares_certificate(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Certificates(own), Self::Certificates(others)) => {
                own.iter().any(|wanted| others.contains(wanted))
            }
            _ => false,
        }
    }
}

impl Issues<'_> {
    /// The certificates of a client or a resource server beside its other credential: it has one way.
    pub(super) fn with_certificates(
        &mut self,
        other: Option<Credential>,
        written: Written<'_>,
        mtls: Mtls,
    ) -> Option<Credential> {
        let Written {
            by_authority,
            self_signed,
        } = written;
        let (key, wanted) = match (by_authority, self_signed) {
            (None, None) => return other,
            (Some(_), Some(_)) => {
                self.add(
                    SELF_SIGNED,
                    &format!("cannot be given beside `{BY_AUTHORITY}`"),
                );
                return None;
            }
            (Some(config), None) => (BY_AUTHORITY, self.by_authority(config)),
            (None, Some(config)) => (SELF_SIGNED, self.self_signed(config)),
        };
        if other.is_some() {
            self.add(key, "cannot be given beside `secret_hash` or `jwks`");
        }
        match mtls {
            Mtls::None => self.add(key, "needs `token_service.mtls`: nobody sees certificates"),
            Mtls::SelfSigned if by_authority.is_some() => {
                self.add(key, "needs `token_service.mtls.tls.client_ca_file`");
            }
            _ => {}
        }
        Some(Credential::Certificates(wanted))
    }

    fn by_authority(&mut self, config: &TlsClientAuthConfig) -> Vec<WantedCertificate> {
        let dn = config.subject_dn.as_deref();
        let ip = config.san_ip.as_deref();
        let email = config.san_email.as_deref();
        let read = [
            dn.map(|text| ("subject_dn", DistinguishedName::from_str(text).ok().map(WantedCertificate::Subject), "is not a distinguished name as RFC 4514 writes them; `openssl x509 -in FILE -noout -subject -nameopt RFC2253` shows it")),
            config.san_dns.as_deref().map(|text| ("san_dns", WantedCertificate::dns(text), "must be one DNS name, without wildcards")),
            config.san_uri.as_deref().map(|text| ("san_uri", WantedCertificate::uri(text), "is not a URI")),
            ip.map(|text| ("san_ip", text.parse().ok().map(WantedCertificate::Ip), "is not an IP address")),
            email.map(|text| ("san_email", Some(text).filter(|text| text.contains('@')).map(|text| WantedCertificate::Email(text.to_owned())), "is not an email address")),
        ];
        let given: Vec<_> = read.into_iter().flatten().collect();
        if given.len() != 1 {
            self.add(
                BY_AUTHORITY,
                "must have exactly one of `subject_dn`, `san_dns`, `san_uri`, `san_ip` and `san_email`",
            );
        }
        let mut wanted = Vec::new();
        for (key, found, problem) in given {
            match found {
                Some(found) => wanted.push(found),
                None => self.add(&format!("{BY_AUTHORITY}.{key}"), problem),
            }
        }
        wanted
    }

    fn self_signed(&mut self, config: &SelfSignedTlsClientAuthConfig) -> Vec<WantedCertificate> {
        let mut wanted = Vec::new();
        for (index, text) in config.sha256.iter().enumerate() {
            match WantedCertificate::sha256(text) {
                Some(found) => wanted.push(found),
                None => self.add(
                    &format!("{SELF_SIGNED}.sha256[{index}]"),
                    "must be 64 hexadecimal digits; `openssl x509 -in FILE -noout -fingerprint -sha256` shows it",
                ),
            }
        }
        if let Some(jwks) = &config.jwks {
            match of_key_set(jwks) {
                Some(found) => wanted.extend(found),
                None => self.add(
                    &format!("{SELF_SIGNED}.jwks"),
                    "must be a JSON Web Key Set of which each key has its certificate in `x5c`",
                ),
            }
        }
        if config.sha256.is_empty() && config.jwks.is_none() {
            self.add(SELF_SIGNED, "must have `jwks` or `sha256`");
        }
        wanted
    }
}

/// RFC 7517 section 4.7: the first of the chain is the certificate of the key; its encoding is plain
/// base64. None: a key lacks one.
fn of_key_set(jwks: &Value) -> Option<Vec<WantedCertificate>> {
    let keys = jwks.get("keys")?.as_array()?;
    let certificates: Option<Vec<_>> = keys
        .iter()
        .map(|key| {
            let encoded = key.get("x5c")?.as_array()?.first()?.as_str()?;
            let der = STANDARD.decode(encoded).ok()?;
            ClientCertificate::read(&der.as_slice().into(), false)?;
            Some(WantedCertificate::Sha256(digest::sha256(&der)))
        })
        .collect();
    certificates.filter(|certificates| !certificates.is_empty())
}

const BY_AUTHORITY: &str = "tls_client_auth";
const SELF_SIGNED: &str = "self_signed_tls_client_auth";
