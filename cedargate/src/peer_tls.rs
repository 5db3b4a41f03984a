//! TLS towards a role in another process: whom we believe, and who we are.

use std::path::Path;

use service_kit::{ConfigIssue, pem};

/// Ready for an HTTP client.
#[derive(Debug, Default)]
pub(crate) struct PeerTls {
    /// None: the authorities that the system believes.
    pub(crate) trusted: Vec<reqwest::Certificate>,
    pub(crate) identity: Option<reqwest::Identity>,
}

/// Files as configuration or the command line names them.
#[derive(Debug)]
pub(crate) struct PeerTlsFiles<'a> {
    /// What stands before each key in messages.
    pub(crate) place: &'static str,
    pub(crate) authorities: Option<&'a Path>,
    pub(crate) certificate: Option<&'a Path>,
    pub(crate) key: Option<&'a Path>,
}

impl PeerTls {
    pub(crate) fn read(base: &Path, files: &PeerTlsFiles<'_>) -> Result<Self, ConfigIssue> {
        let name = |key: &str| format!("{}{key}", files.place);
        let mut tls = Self::default();
        if let Some(file) = files.authorities {
            let (key, path) = (name("ca_file"), base.join(file));
            tls.trusted = pem::authorities(&key, &path)?;
        }
        let (certificate, key) = (name("client_certificate_file"), name("client_key_file"));
        match (files.certificate, files.key) {
            (None, None) => {}
            (Some(file), Some(key_file)) => {
                let text = pem::identity(
                    (&certificate, &base.join(file)),
                    (&key, &base.join(key_file)),
                )?;
                let identity = reqwest::Identity::from_pem(&text)
                    // The error's text could quote the file.
                    .map_err(|_| ConfigIssue::new(format!("`{key}`: it cannot be used")))?;
                tls.identity = Some(identity);
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(ConfigIssue::new(format!(
                    "`{certificate}` and `{key}` go together, and one is missing"
                )));
            }
        }
        Ok(tls)
    }

    pub(crate) fn is_none(&self) -> bool {
        self.trusted.is_empty() && self.identity.is_none()
    }

    /// A client to build upon.
    pub(crate) fn client(self) -> reqwest::ClientBuilder {
        let mut client = reqwest::Client::builder();
        if !self.trusted.is_empty() {
            client = client.tls_certs_only(self.trusted);
        }
        if let Some(identity) = self.identity {
            client = client.identity(identity);
        }
        client
    }
}
