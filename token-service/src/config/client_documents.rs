//! Clients that are a web page: their id is the URL of a document that says what they are (OAuth Client
//! ID Metadata Documents), as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AuthMethod, GrantType, RegistrationBoundsConfig, SigningAlgorithm};

/// Section `token_service.client_id_metadata_documents`. Absent: a URL names nobody.
#[expect(
    clippy::struct_excessive_bools,
    reason = "as it is written in the file, each by its own name"
)]
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientDocumentsConfig {
    /// The most that such a client may have; scope tokens separated by spaces.
    pub scope: String,
    /// The hosts that documents may be at, compared exactly. Absent: any.
    #[serde(default)]
    pub hosts: Option<Vec<String>>,
    /// What they may use at the token endpoint.
    #[serde(default = "super::registration::default_grant_types")]
    pub grant_types: Vec<GrantType>,
    /// `https` redirect URIs may have another host than the document.
    #[serde(default)]
    pub redirects_to_other_hosts: bool,
    /// Redirect URIs may be `http` on loopback, for programs on somebody's machine.
    #[serde(default = "super::registration::default_loopback")]
    pub loopback_redirects: bool,
    /// Redirect URIs may have a scheme of the app's own (`com.example.app:/cb`).
    #[serde(default)]
    pub private_use_redirects: bool,
    /// How their ID tokens may be signed; where a client does not say, RS256 if it is there, else the first.
    #[serde(default = "super::registration::default_algs")]
    pub id_token_signed_response_algs: Vec<SigningAlgorithm>,
    /// A document is kept for as long as its server says (`Cache-Control`), from one minute to so many
    /// seconds.
    #[serde(default = "default_cache_secs")]
    pub cache_secs: u64,
    /// So many documents of one host are fetched in a minute.
    #[serde(default = "default_fetches")]
    pub fetches: u64,
    /// So many documents are fetched in a minute because somebody at one address (a proxy's, where there
    /// is one) names them.
    #[serde(default = "default_fetches")]
    pub fetches_per_address: u64,
    /// Documents may be at addresses that are not public. For closed networks.
    #[serde(default)]
    pub private_addresses: bool,
    /// Certificates of authorities that are believed beside the system's, in PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl ClientDocumentsConfig {
    /// Such a client has no secret: there is nobody to agree on one with.
    pub(crate) fn bounds(&self) -> RegistrationBoundsConfig {
        RegistrationBoundsConfig {
            scope: self.scope.clone(),
            clients: 1,
            grant_types: self.grant_types.clone(),
            auth_methods: vec![AuthMethod::None, AuthMethod::PrivateKeyJwt],
            redirect_hosts: None,
            loopback_redirects: self.loopback_redirects,
            private_use_redirects: self.private_use_redirects,
            id_token_signed_response_algs: self.id_token_signed_response_algs.clone(),
        }
    }
}

fn default_cache_secs() -> u64 {
    24 * 3600
}

fn default_fetches() -> u64 {
    30
}
