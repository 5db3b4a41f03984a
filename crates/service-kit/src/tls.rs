//! TLS on a listener: certificate and key from files that are followed while it serves, and the
//! certificates that clients show. To a server, it is [`ClientTls`].
//!
//! Sessions are not resumed: every connection proves its certificate anew, against the
//! authorities that are configured now.

mod any_client;
mod by_name;
mod certificate;
mod client;
mod config;
mod files;
mod follow;
mod issued;
mod name;
mod revocations;
mod session;
mod wanted;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::Acceptor;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
pub use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use crate::{ConfigIssue, Tasks};
use any_client::AnyClient;
use by_name::ByName;
pub use certificate::ClientCertificate;
pub use client::{ClientStream, ClientTls, ClientTlsConfig, HTTP_1, HTTP_2};
pub use config::{CertificateConfig, ClientCertificates, NamedTlsConfig, TlsConfig, TlsVersion};
use files::Files;
use follow::{FOLLOW, follow};
use issued::wants_proof;
pub use issued::{CertificateRequest, Challenges, Issuance, Issued, IssuedError};
pub use name::{DistinguishedName, NotAName};
pub use session::TlsSession;
pub use wanted::WantedCertificate;

/// TLS that is ready to serve. Clones share.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    issuance: Option<Arc<Issuance>>,
    current: ArcSwap<Current>,
    /// What `current` was made of.
    version: ArcSwap<[u8; 32]>,
}

/// What the next connection is served by.
#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    /// Whom authorities vouch for. None: nobody.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    /// When each list of what they have revoked is too old, ascending, in Unix seconds.
    revocations_end: Vec<u64>,
    /// The handshake takes any certificate, and has not asked them.
    takes_any: bool,
    /// None: the one certificate is for every name.
    by_name: Option<Arc<ByName>>,
}

impl Tls {
    /// Reads the files. `place` is what configuration calls the section, such as `pdp.tls`.
    pub fn open(
        place: &str,
        config: &TlsConfig,
        base: &Path,
        clients: ClientCertificates,
    ) -> Result<Self, ConfigIssue> {
        Self::of(Files::of_one(place, config, base, clients)?, None)
    }

    /// Of a listener that is reached by several names, and speaks HTTP/2 to those who want it.
    ///
    /// `issuance`: what is shown beside the certificates of files. With it, there may be no files.
    pub fn open_named(
        place: &str,
        config: &NamedTlsConfig,
        base: &Path,
        issuance: Option<Arc<Issuance>>,
    ) -> Result<Self, ConfigIssue> {
        let files = Files::of_names(place, config, base, issuance.is_some())?;
        Self::of(files, issuance)
    }

    fn of(files: Files, issuance: Option<Arc<Issuance>>) -> Result<Self, ConfigIssue> {
        let texts = files.read()?;
        let version = version(&texts, issuance.as_deref());
        let current = files.server(&texts, issuance.as_deref())?;
        Ok(Self(Arc::new(Shared {
            files,
            issuance,
            current: ArcSwap::from_pointee(current),
            version: ArcSwap::from_pointee(version),
        })))
    }

    /// Whether nobody gets in without a certificate that an authority vouches for.
    pub fn requires_clients(&self) -> bool {
        self.0.files.requires_clients()
    }

    /// Shakes hands. How long that may take is for the caller to say.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(TlsStream<TcpStream>, TlsSession)> {
        let current = self.0.current.load_full();
        let challenged = self.0.issuance.as_ref().filter(|it| it.is_challenged());
        let stream = match challenged {
            None => {
                let acceptor = TlsAcceptor::from(Arc::clone(&current.server));
                acceptor.accept(stream).await?
            }
            Some(issuance) => {
                let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
                let hello = begun.client_hello();
                if wants_proof(&hello) {
                    let answer = issuance.answer(hello.server_name()).await?;
                    // SECURITY: nothing else is said on such a connection (RFC 8737 section 3).
                    begun.into_stream(answer).await?.shutdown().await?;
                    return Err(std::io::Error::other("a challenge was answered"));
                }
                begun.into_stream(Arc::clone(&current.server)).await?
            }
        };
        let session = TlsSession::of(current, stream.get_ref().1);
        Ok((stream, session))
    }

    /// Follows the files until the tasks drain: a change that holds serves the next connection, a
    /// broken one is told and the old one stays.
    pub fn follow(&self, tasks: &Tasks) {
        self.follow_every(FOLLOW, tasks);
    }

    fn follow_every(&self, interval: Duration, tasks: &Tasks) {
        let tls = self.clone();
        follow(move || tls.look(), interval, tasks);
    }

    /// Takes over what the files have become. True: they are others now.
    fn look(&self) -> Result<bool, ConfigIssue> {
        let files = &self.0.files;
        let texts = files.read()?;
        let issuance = self.0.issuance.as_deref();
        let version = version(&texts, issuance);
        if **self.0.version.load() == version {
            return Ok(false);
        }
        let current = files.server(&texts, issuance)?;
        self.0.current.store(Arc::new(current));
        self.0.version.store(Arc::new(version));
        Ok(true)
    }
}

/// Names what is served by.
fn version(texts: &files::Texts, issuance: Option<&Issuance>) -> [u8; 32] {
    let mut all = texts.version().to_vec();
    all.extend(issuance.map(Issuance::version).unwrap_or_default());
    crate::digest::sha256(&all)
}

impl Current {
    /// The certificate of a client whose handshake is over, its own first in the chain. None: there is
    /// none, or it shows nobody.
    fn client(&self, chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
        if self.takes_any {
            self.again(chain, UnixTime::now())
        } else {
            ClientCertificate::read(chain.first()?, true)
        }
    }

    /// The same, where another handshake than one by these authorities has looked at it, or at another time.
    fn again(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Option<ClientCertificate> {
        let (own, others) = chain.split_first()?;
        let judged = self
            .authorities
            .as_ref()
            .map(|authorities| authorities.verify_client_cert(own, others, now));
        let is_trusted = match judged {
            Some(Ok(_)) => true,
            // SECURITY: whoever has its key now, the certificate is not theirs to show.
            Some(Err(Error::InvalidCertificate(CertificateError::Revoked))) => return None,
            Some(Err(_)) | None => false,
        };
        // Nobody has looked at its time yet where nobody vouches for it.
        let counts = is_trusted || (self.takes_any && certificate::holds_at(own, now));
        ClientCertificate::read(own, is_trusted).filter(|_| counts)
    }

    /// When what was judged at this time has to be judged anew: a list is too old then. Unix seconds.
    fn judged_until(&self, at: u64) -> u64 {
        let mut ends = self.revocations_end.iter();
        ends.find(|end| **end > at).copied().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
