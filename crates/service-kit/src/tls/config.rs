//! TLS as it is configured.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// TLS on a listener. Files are PEM, relative to the configuration file, and read again when they
/// change.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate, then those that lead to its authority.
    pub certificate_file: PathBuf,
    /// The private key of the certificate.
    pub key_file: PathBuf,
    /// Authorities whose client certificates are believed.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// Revocation lists (RFC 5280) of these authorities, and of those between them and clients, all in one file. Certificates that
    /// are on one, or of whose issuer there is none that is of today, are not believed. Default: nobody looks.
    #[serde(default)]
    pub client_crl_file: Option<PathBuf>,
}

/// TLS on a listener that is reached by several names. Files are PEM, relative to the configuration
/// file, and read again when they change.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedTlsConfig {
    /// Each stands for the names that are in it (its subject alternative names), and no name is in two.
    /// Clients that say no name get the first one; a name that is in none has no handshake.
    #[serde(default)]
    pub certificates: Vec<CertificateConfig>,
    /// Clients that speak an older one only are turned away.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// Authorities whose client certificates are believed.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// Revocation lists (RFC 5280) of these authorities, and of those between them and clients, all in one file. Certificates that
    /// are on one, or of whose issuer there is none that is of today, are not believed. Default: nobody looks.
    #[serde(default)]
    pub client_crl_file: Option<PathBuf>,
    /// Whether clients must show a certificate, and which. Default: `optional` where there is a
    /// `client_ca_file`, else nobody is asked for one.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificates>,
}

impl NamedTlsConfig {
    /// Whether clients are asked for certificates, and whether authorities vouch for some.
    pub fn asks_clients(&self) -> (bool, bool) {
        let vouches = self.client_ca_file.is_some();
        let any = self.client_certificates == Some(ClientCertificates::Any);
        (vouches || any, vouches)
    }
}

/// A certificate and its key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// The certificate, then those that lead to its authority.
    pub certificate_file: PathBuf,
    /// The private key of the certificate.
    pub key_file: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether a client must show a certificate, and which. `Optional` and `Required`: of a listener
/// without client authorities, nobody asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// One that is shown must hold; none is accepted too.
    Optional,
    /// No certificate, no connection.
    Required,
    /// Any whose key the client has, from whomever, and none too: whether an authority vouches for
    /// it is known beside it.
    Any,
}
