//! TLS to a server that we connect to: whom we believe and what we show, from files that are followed meanwhile.
//!
//! The server's certificate is always verified, and its name is always compared: there is no setting that leaves
//! it out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream as ClientStream;

use super::follow::{FOLLOW, follow};
use crate::{ConfigIssue, Tasks, digest, pem};

/// TLS to a server. Files are PEM, relative to the configuration file, and read again when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTlsConfig {
    /// Authorities whose certificates are believed, and no others. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to a server that asks for one, then those that lead to its authority.
    pub certificate_file: Option<PathBuf>,
    /// The private key of the certificate.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, and that the server is told (SNI). Default: the host of
    /// the URL.
    pub server_name: Option<String>,
}

/// TLS that is ready to connect. Clones share.
#[derive(Debug, Clone)]
pub struct ClientTls(Arc<Shared>);

struct Shared {
    files: Files,
    server: ServerName<'static>,
    protocol: &'static [u8],
    current: ArcSwap<ClientConfig>,
    /// What `current` was made of.
    digest: ArcSwap<[u8; 32]>,
    /// Grows with every change.
    version: AtomicU64,
}

/// Where everything is, and what configuration calls it.
#[derive(Debug)]
struct Files {
    place: String,
    authorities: Option<PathBuf>,
    own: Option<(PathBuf, PathBuf)>,
}

/// What is in the files.
struct Texts {
    authorities: Option<pem::Bytes>,
    own: Option<(pem::Bytes, pem::Bytes)>,
}

impl ClientTls {
    /// Reads the files. `place` is what configuration calls the section, `host` the server's host, and `protocol` what
    /// it has to speak (by ALPN).
    pub fn open(
        place: &str,
        config: &ClientTlsConfig,
        (host, protocol): (&str, &'static [u8]),
        base: &Path,
    ) -> Result<Self, ConfigIssue> {
        let own = match (&config.certificate_file, &config.key_file) {
            (Some(certificate), Some(key)) => Some((base.join(certificate), base.join(key))),
            (None, None) => None,
            _ => {
                return Err(ConfigIssue::new(format!(
                    "`{place}` has one of `certificate_file` and `key_file`"
                ))
                .hint("a certificate is shown with its key: give both, or none"));
            }
        };
        let name = config.server_name.as_deref().unwrap_or(host);
        let server =
            ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).map_err(|_| {
                ConfigIssue::new(format!(
                    "`{place}.server_name`: `{name}` is no name of a server"
                ))
                .hint("write a DNS name or an IP address")
            })?;
        let files = Files {
            place: place.to_owned(),
            authorities: config.ca_file.as_ref().map(|file| base.join(file)),
            own,
        };
        let texts = files.read()?;
        let current = files.client(&texts, protocol)?;
        Ok(Self(Arc::new(Shared {
            server,
            protocol,
            current: ArcSwap::from_pointee(current),
            digest: ArcSwap::from_pointee(texts.digest()),
            version: AtomicU64::new(0),
            files,
        })))
    }

    /// Shakes hands. How long that may take is for the caller to say.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<ClientStream<TcpStream>> {
        let config = self.0.current.load_full();
        let stream = TlsConnector::from(config)
            .connect(self.0.server.clone(), stream)
            .await?;
        let said = stream.get_ref().1.alpn_protocol();
        // HTTP/1.1 is what is spoken by those who say nothing.
        let is_fine =
            said == Some(self.0.protocol) || (said.is_none() && self.0.protocol == HTTP_1);
        if !is_fine {
            let why = "the server does not speak the protocol that is wanted (ALPN)";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(stream)
    }

    /// Grows when the files have changed: connections from before were made by what does not hold any more.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Follows the files until the tasks drain: a change that holds is for the next connection, a broken one is
    /// told and the old one stays.
    pub fn follow(&self, tasks: &Tasks) {
        if self.0.files.authorities.is_none() && self.0.files.own.is_none() {
            return;
        }
        let tls = self.clone();
        follow(move || tls.look(), FOLLOW, tasks);
    }

    /// Takes over what the files have become. True: they are others now.
    fn look(&self) -> Result<bool, ConfigIssue> {
        let texts = self.0.files.read()?;
        let digest = texts.digest();
        if **self.0.digest.load() == digest {
            return Ok(false);
        }
        let current = self.0.files.client(&texts, self.0.protocol)?;
        self.0.current.store(Arc::new(current));
        self.0.digest.store(Arc::new(digest));
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(true)
    }
}

/// HTTP/1.1 by ALPN.
pub const HTTP_1: &[u8] = b"http/1.1";
/// HTTP/2 by ALPN.
pub const HTTP_2: &[u8] = b"h2";

impl Files {
    fn read(&self) -> Result<Texts, ConfigIssue> {
        let authorities = self.authorities.as_ref();
        let own = self.own.as_ref().map(|(certificate, key)| {
            Ok::<_, ConfigIssue>((
                pem::read(&self.name("certificate_file"), certificate)?,
                pem::read(&self.name("key_file"), key)?,
            ))
        });
        Ok(Texts {
            authorities: authorities
                .map(|path| pem::read(&self.name("ca_file"), path))
                .transpose()?,
            own: own.transpose()?,
        })
    }

    fn client(&self, texts: &Texts, protocol: &[u8]) -> Result<ClientConfig, ConfigIssue> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigIssue::new(format!("`{}`: {error}", self.place)))?;
        let builder = match (&self.authorities, &texts.authorities) {
            (Some(path), Some(text)) => {
                builder.with_root_certificates(pem::roots(&self.name("ca_file"), path, text)?)
            }
            _ => builder.with_platform_verifier().map_err(|error| {
                ConfigIssue::new(format!(
                    "`{}`: the system has no certificates: {error}",
                    self.place
                ))
                .hint("name the authorities by `ca_file`")
            })?,
        };
        let mut client = match (&self.own, &texts.own) {
            (Some((path, key_path)), Some((certificate, key))) => {
                let name = self.name("key_file");
                let chain = pem::certificates(&self.name("certificate_file"), path, certificate)?;
                let key = pem::private_key(&name, key_path, key)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| pem::unusable(&name, path, &error))?
            }
            _ => builder.with_no_client_auth(),
        };
        client.alpn_protocols = vec![protocol.to_vec()];
        Ok(client)
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }
}

impl Texts {
    /// Names what was read.
    fn digest(&self) -> [u8; 32] {
        let own = self
            .own
            .iter()
            .flat_map(|(certificate, key)| [certificate, key]);
        let parts = own.chain(self.authorities.as_ref());
        let digests: Vec<u8> = parts.flat_map(|part| digest::sha256(part)).collect();
        digest::sha256(&digests)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientTls")
            .field("files", &self.files)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
