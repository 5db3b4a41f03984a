//! TLS on a listener: certificate and key from files that are followed while it serves, and the
//! certificates that clients show.
//!
//! Sessions are not resumed: every connection proves its certificate anew, against the
//! authorities that are configured now.

mod any_client;
mod certificate;
mod name;
mod wanted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{ConfigIssue, Tasks, digest, pem};
use any_client::AnyClient;
pub use certificate::ClientCertificate;
pub use name::{DistinguishedName, NotAName};
pub use wanted::WantedCertificate;

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
}

/// Whether a client must show a certificate, and which. `Optional` and `Required`: of a listener
/// without client authorities, nobody asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// One that is shown must hold; none is accepted too.
    Optional,
    Required,
    /// Any whose key the client has, from whomever, and none too: whether an authority vouches for
    /// it, [`ClientCertificate::is_trusted`] says.
    Any,
}

/// TLS that is ready to serve. Clones share.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    clients: ClientCertificates,
    current: ArcSwap<Current>,
    /// What `current` was made of.
    version: ArcSwap<[u8; 32]>,
}

/// What the next connection is served by.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) server: Arc<ServerConfig>,
    /// Where the handshake takes any certificate: whom authorities vouch for.
    trust: Trust,
}

#[derive(Debug)]
enum Trust {
    /// The handshake has asked already.
    Shaken,
    Asked(Option<Arc<dyn ClientCertVerifier>>),
}

/// Where everything is, and what configuration calls it.
#[derive(Debug)]
struct Files {
    place: String,
    certificate: PathBuf,
    key: PathBuf,
    client_authorities: Option<PathBuf>,
}

/// Files are compared this often.
const FOLLOW: Duration = Duration::from_secs(2);

impl Tls {
    /// Reads the files. `place` is what configuration calls the section, such as `pdp.tls`.
    pub fn open(
        place: &str,
        config: &TlsConfig,
        base: &Path,
        clients: ClientCertificates,
    ) -> Result<Self, ConfigIssue> {
        let files = Files {
            place: place.to_owned(),
            certificate: base.join(&config.certificate_file),
            key: base.join(&config.key_file),
            client_authorities: config.client_ca_file.as_ref().map(|file| base.join(file)),
        };
        let texts = files.read()?;
        let server = files.server(&texts, clients)?;
        Ok(Self(Arc::new(Shared {
            files,
            clients,
            current: ArcSwap::from_pointee(server),
            version: ArcSwap::from_pointee(texts.version()),
        })))
    }

    /// Follows the files until the tasks drain: a change that holds serves the next connection, a
    /// broken one is told and the old one stays.
    pub fn follow(&self, tasks: &Tasks) {
        self.follow_every(FOLLOW, tasks);
    }

    fn follow_every(&self, interval: Duration, tasks: &Tasks) {
        let (tls, draining) = (self.clone(), tasks.draining());
        tasks.spawn(async move {
            let mut refused = None;
            loop {
                tokio::select! {
                    () = draining.cancelled() => return,
                    () = tokio::time::sleep(interval) => {}
                }
                let tls = tls.clone();
                let looked = tokio::task::spawn_blocking(move || tls.look()).await;
                let problem = match looked {
                    Ok(Ok(changed)) => {
                        if changed {
                            tracing::info!("TLS certificates changed");
                        }
                        None
                    }
                    Ok(Err(issue)) => Some(issue.to_string()),
                    Err(error) => Some(error.to_string()),
                };
                if let Some(problem) = &problem
                    && refused.as_ref() != Some(problem)
                {
                    tracing::error!(problem, "changed TLS files are refused; the old ones stay");
                }
                refused = problem;
            }
        });
    }

    /// For the next connection.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.0.current.load_full()
    }

    /// Takes over what the files have become. True: they are others now.
    fn look(&self) -> Result<bool, ConfigIssue> {
        let Shared { files, clients, .. } = &*self.0;
        let texts = files.read()?;
        let version = texts.version();
        if **self.0.version.load() == version {
            return Ok(false);
        }
        self.0
            .current
            .store(Arc::new(files.server(&texts, *clients)?));
        self.0.version.store(Arc::new(version));
        Ok(true)
    }
}

/// What is in the files.
struct Texts {
    certificate: pem::Bytes,
    key: pem::Bytes,
    client_authorities: Option<pem::Bytes>,
}

impl Texts {
    fn version(&self) -> [u8; 32] {
        let parts = [
            Some(&self.certificate),
            Some(&self.key),
            self.client_authorities.as_ref(),
        ];
        let mut digests = Vec::new();
        for part in parts.into_iter().flatten() {
            digests.extend(digest::sha256(part));
        }
        digest::sha256(&digests)
    }
}

impl Files {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    fn read(&self) -> Result<Texts, ConfigIssue> {
        let authorities = self.client_authorities.as_ref();
        Ok(Texts {
            certificate: pem::read(&self.name("certificate_file"), &self.certificate)?,
            key: pem::read(&self.name("key_file"), &self.key)?,
            client_authorities: authorities
                .map(|path| pem::read(&self.name("client_ca_file"), path))
                .transpose()?,
        })
    }

    fn server(&self, texts: &Texts, clients: ClientCertificates) -> Result<Current, ConfigIssue> {
        let name = self.name("certificate_file");
        let chain = pem::certificates(&name, &self.certificate, &texts.certificate)?;
        let key = pem::private_key(&self.name("key_file"), &self.key, &texts.key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigIssue::new(format!("`{}`: {error}", self.place)))?;
        let verifier = match (&self.client_authorities, &texts.client_authorities) {
            (Some(path), Some(text)) => Some(self.verifier(path, text, clients)?),
            _ => None,
        };
        let (builder, trust) = match (clients, verifier) {
            (ClientCertificates::Any, verifier) => (
                builder.with_client_cert_verifier(Arc::new(AnyClient::new(&provider))),
                Trust::Asked(verifier),
            ),
            (_, Some(verifier)) => (builder.with_client_cert_verifier(verifier), Trust::Shaken),
            (_, None) => (builder.with_no_client_auth(), Trust::Shaken),
        };
        let mut server = builder
            .with_single_cert(chain, key)
            .map_err(|error| pem::unusable(&self.name("key_file"), &self.certificate, &error))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Current {
            server: Arc::new(server),
            trust,
        })
    }

    fn verifier(
        &self,
        path: &Path,
        text: &[u8],
        clients: ClientCertificates,
    ) -> Result<Arc<dyn ClientCertVerifier>, ConfigIssue> {
        let name = self.name("client_ca_file");
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(&name, path, text)? {
            roots.add(certificate).map_err(|error| {
                ConfigIssue::new(format!(
                    "`{name}`: a certificate in `{}` cannot be an authority: {error}",
                    path.display()
                ))
            })?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match clients {
            ClientCertificates::Optional => builder.allow_unauthenticated(),
            ClientCertificates::Required | ClientCertificates::Any => builder,
        };
        builder
            .build()
            .map_err(|error| ConfigIssue::new(format!("`{name}`: {error}")))
    }
}

impl Current {
    /// The certificate of a client whose handshake is over, its own first in the chain. None: there is
    /// none, or it shows nobody.
    pub(crate) fn client(&self, chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
        let (own, others) = chain.split_first()?;
        match &self.trust {
            Trust::Shaken => ClientCertificate::read(own, true),
            Trust::Asked(authorities) => {
                let now = UnixTime::now();
                let is_trusted = authorities.as_ref().is_some_and(|authorities| {
                    authorities.verify_client_cert(own, others, now).is_ok()
                });
                // Nobody has looked at its time yet where nobody vouches for it.
                ClientCertificate::read(own, is_trusted).filter(|_| certificate::holds_at(own, now))
            }
        }
    }
}

#[cfg(test)]
mod tests;
