//! `gateway.acme:` certificates that the gateway gets itself, from an authority that speaks ACME (RFC 8555).

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::Secret;
use url::Url;

/// `gateway.acme:`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcmeConfig {
    /// The authority's directory: `https://acme-v02.api.letsencrypt.org/directory`.
    #[schemars(with = "String")]
    pub directory: Url,
    /// Whom it may tell that something is wrong: `mailto:ops@example.org`.
    #[serde(default)]
    pub contacts: Vec<String>,
    /// `true`: you have read the authority's terms of service, and agree.
    #[serde(default)]
    pub terms_of_service_agreed: bool,
    /// Your account at the authority, where it makes none for strangers (RFC 8555 section 7.3.4).
    pub external_account: Option<ExternalAccountConfig>,
    /// Each is ordered by itself. No name is in two, nor in one of `gateway.tls.certificates`.
    pub certificates: Vec<AcmeCertificateConfig>,
    /// How the authority sees that the names are ours.
    #[serde(default)]
    pub challenge: AcmeChallenge,
    /// For `http-01`: where the authority asks, which it does at port 80. Nothing but challenges is answered there.
    pub http_listen: Option<SocketAddr>,
    /// The authorities whose certificates are believed at the directory, as PEM. Absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// Seals account, keys and challenges in the store; at least 32 characters, the same for every gateway.
    pub secret: Option<Secret>,
    /// A file with `secret`.
    pub secret_file: Option<PathBuf>,
}

/// `gateway.acme.external_account`: what the authority has given you to show that the account is yours. Asked for once,
/// when the account for the gateways is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccountConfig {
    pub key_id: String,
    /// The HMAC key, in base64url as authorities give it.
    pub key: Option<Secret>,
    /// A file with `key`.
    pub key_file: Option<PathBuf>,
}

/// One of `gateway.acme.certificates`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcmeCertificateConfig {
    /// DNS names, each whole: a wildcard is shown in neither way.
    pub names: Vec<String>,
}

/// How the authority sees that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum AcmeChallenge {
    /// By a handshake at `gateway.listen`, which clients reach at port 443 (RFC 8737).
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a request without TLS at `http_listen`, which clients reach at port 80.
    #[serde(rename = "http-01")]
    Http01,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_a_running_gateway_would_not_take_up_makes_a_difference() {
        let acme = |change: Option<(&str, serde_json::Value)>| {
            let mut text = json!({
                "directory": "https://ca.test/dir",
                "contacts": ["mailto:a@example.org"],
                "terms_of_service_agreed": true,
                "external_account": { "key_id": "k", "key": "a2V5" },
                "certificates": [{ "names": ["gw.test"] }],
                "secret": "one secret of more than thirty-two characters",
            });
            if let Some((key, value)) = change {
                text[key] = value;
            }
            serde_json::from_value::<AcmeConfig>(text).unwrap()
        };
        assert_eq!(acme(None), acme(None));
        for (key, value) in [
            ("directory", json!("https://other.test/dir")),
            ("contacts", json!([])),
            ("terms_of_service_agreed", json!(false)),
            (
                "external_account",
                json!({ "key_id": "k", "key": "b3RoZXI" }),
            ),
            ("external_account", json!(null)),
            ("certificates", json!([{ "names": ["other.test"] }])),
            ("challenge", json!("http-01")),
            ("http_listen", json!("127.0.0.1:80")),
            ("ca_file", json!("ca.pem")),
            (
                "secret",
                json!("another secret of more than thirty-two characters"),
            ),
            ("secret_file", json!("secret")),
        ] {
            assert_ne!(acme(Some((key, value))), acme(None), "{key}");
        }
    }
}
