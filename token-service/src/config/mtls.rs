//! `token_service.mtls`, and how clients and resource servers are known by certificates (RFC 8705).

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use service_kit::TlsConfig;

/// A second listener, for whoever has a certificate: browsers at the first one are never asked for
/// one. Metadata names its endpoints (`mtls_endpoint_aliases`, RFC 8705 section 5).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MtlsConfig {
    /// Where it listens. TLS must end here and at no proxy before it: nothing that a header says of a
    /// certificate is believed.
    pub listen: SocketAddr,
    /// The `https` URL under which clients reach it, without a trailing slash.
    pub url: String,
    /// Its certificate and key. `client_ca_file` names the authorities for `tls_client_auth`; without
    /// it there are self-signed certificates alone.
    pub tls: TlsConfig,
}

/// A certificate that an authority of `mtls.tls.client_ca_file` vouches for, known by exactly one of
/// its names (RFC 8705 section 2.1.2). Compared whole.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsClientAuthConfig {
    /// Its subject, as RFC 4514 writes it: `CN=billing,O=Example,C=DE`.
    #[serde(default)]
    pub subject_dn: Option<String>,
    /// A DNS name among its subject alternative names.
    #[serde(default)]
    pub san_dns: Option<String>,
    /// A URI among them, such as a SPIFFE ID.
    #[serde(default)]
    pub san_uri: Option<String>,
    /// An IP address among them.
    #[serde(default)]
    pub san_ip: Option<String>,
    /// An email address among them.
    #[serde(default)]
    pub san_email: Option<String>,
}

/// Certificates that nobody vouches for, known each by all of it (RFC 8705 section 2.2).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelfSignedTlsClientAuthConfig {
    /// A JSON Web Key Set of which each key has its certificate in `x5c`.
    #[serde(default)]
    pub jwks: Option<Value>,
    /// SHA-256 fingerprints: 64 hexadecimal digits each, with or without colons.
    #[serde(default)]
    pub sha256: Vec<String>,
}
