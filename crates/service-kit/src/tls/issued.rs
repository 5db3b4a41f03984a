//! Certificates that come while the process runs, from an authority that is asked for them, and how that authority is
//! shown that a name is ours (RFC 8737).

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use zeroize::Zeroizing;

use super::ClientCertificate;
use crate::digest;

/// What is not in files. Shared by whoever serves, before and after a reload.
#[derive(Debug)]
pub struct Issuance {
    keys: ArcSwap<Vec<Issued>>,
    challenges: Option<Arc<dyn Challenges>>,
}

/// Who knows what an authority wants to be shown.
#[async_trait]
pub trait Challenges: std::fmt::Debug + Send + Sync {
    /// The SHA-256 of the key authorization for a name that an authority is about to look at. None: nobody has asked
    /// it to.
    async fn digest(&self, name: &str) -> Option<[u8; 32]>;
}

/// A certificate, those that lead to its authority, and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    key: CertifiedKey,
    /// In lower case.
    pub names: Vec<String>,
    /// Unix seconds.
    pub not_before: u64,
    pub not_after: u64,
    /// What its authority knows it by (RFC 9773 section 4.1): its own key's identifier, and the serial number as it
    /// is encoded. None: it says no such identifier.
    pub identifier: Option<(Vec<u8>, Vec<u8>)>,
}

/// What an authority is asked for, and the key that is kept for its answer.
pub struct CertificateRequest {
    /// PKCS#10, as DER.
    pub der: Vec<u8>,
    /// PKCS#8, as PEM.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for CertificateRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CertificateRequest(…)")
    }
}

/// A certificate cannot be used, or none can be asked for.
#[derive(Debug, thiserror::Error)]
pub enum IssuedError {
    #[error("it cannot be read")]
    Unreadable,
    #[error("it is not for its key: {0}")]
    AnotherKey(#[source] rustls::Error),
    #[error("no certificate can be made: {0}")]
    Make(#[source] rcgen::Error),
}

/// What a client offers that wants to see a challenge answered, and nothing else (RFC 8737 section 3).
const ACME_TLS: &[u8] = b"acme-tls/1";

impl Issuance {
    /// `challenges`: None where names are shown in another way.
    pub fn new(challenges: Option<Arc<dyn Challenges>>) -> Arc<Self> {
        Arc::new(Self {
            keys: ArcSwap::default(),
            challenges,
        })
    }

    /// From now on these are shown, and no others; where files are followed, some moments later.
    pub fn set(&self, issued: Vec<Issued>) {
        self.keys.store(Arc::new(issued));
    }

    pub(super) fn keys(&self) -> Vec<CertifiedKey> {
        let issued = self.keys.load();
        issued.iter().map(|issued| issued.key.clone()).collect()
    }

    /// Names what is shown.
    pub(super) fn version(&self) -> Vec<u8> {
        let issued = self.keys.load();
        let certificates = issued.iter().filter_map(|issued| issued.key.cert.first());
        certificates.flat_map(|own| digest::sha256(own)).collect()
    }

    /// Whether handshakes have to be looked at before they are answered.
    pub(super) fn is_challenged(&self) -> bool {
        self.challenges.is_some()
    }

    /// What answers a challenge for this name.
    pub(super) async fn answer(&self, name: Option<&str>) -> io::Result<Arc<ServerConfig>> {
        let digest = match (&self.challenges, name) {
            (Some(challenges), Some(name)) => challenges.digest(name).await.map(|it| (name, it)),
            _ => None,
        };
        let (name, digest) =
            digest.ok_or_else(|| io::Error::other("a challenge that nobody has asked for"))?;
        let key = proof(name, &digest).map_err(io::Error::other)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        server.alpn_protocols = vec![ACME_TLS.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Arc::new(server))
    }
}

/// Whether whoever shakes hands wants to see a challenge answered.
pub(super) fn wants_proof(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.next() == Some(ACME_TLS) && offered.next().is_none()
}

/// A certificate that says nothing but this (RFC 8737 section 3), and that nobody trusts.
fn proof(name: &str, digest: &[u8; 32]) -> Result<CertifiedKey, IssuedError> {
    let mut params = CertificateParams::new([name.to_owned()]).map_err(IssuedError::Make)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(IssuedError::Make)?;
    let certificate = params.self_signed(&key).map_err(IssuedError::Make)?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = aws_lc_rs::default_provider();
    let signing = provider.key_provider.load_private_key(der.into());
    let signing = signing.map_err(IssuedError::AnotherKey)?;
    // It is not held against its key: what reads it for that does not know the extension, which has to be critical.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, IssuedError> {
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(IssuedError::AnotherKey)
}

impl CertificateRequest {
    /// For these names, with a key of its own.
    pub fn new(names: &[String]) -> Result<Self, IssuedError> {
        let mut params = CertificateParams::new(names).map_err(IssuedError::Make)?;
        // Names alone: the subject counts for nothing.
        params.distinguished_name = rcgen::DistinguishedName::new();
        let key = KeyPair::generate().map_err(IssuedError::Make)?;
        let request = params.serialize_request(&key).map_err(IssuedError::Make)?;
        Ok(Self {
            der: request.der().to_vec(),
            key: Zeroizing::new(key.serialize_pem()),
        })
    }
}

impl Issued {
    /// Reads what an authority has answered: a chain as PEM, and the key that it was asked with.
    pub fn read(chain: &str, key: &str) -> Result<Self, IssuedError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.map_err(|_| IssuedError::Unreadable)?;
        let own = chain.first().ok_or(IssuedError::Unreadable)?;
        let named = ClientCertificate::read(own, false).ok_or(IssuedError::Unreadable)?;
        let whole = Certificate::from_der(own).map_err(|_| IssuedError::Unreadable)?;
        let validity = &whole.tbs_certificate.validity;
        let identifier = identifier(&whole);
        let (not_before, not_after) = (
            validity.not_before.to_unix_duration().as_secs(),
            validity.not_after.to_unix_duration().as_secs(),
        );
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let key = key.map_err(|_| IssuedError::Unreadable)?;
        Ok(Self {
            key: certified(chain, key)?,
            names: named.dns_names,
            not_before,
            not_after,
            identifier,
        })
    }
}

fn identifier(whole: &Certificate) -> Option<(Vec<u8>, Vec<u8>)> {
    let own = &whole.tbs_certificate;
    let (_, authority) = own.get::<AuthorityKeyIdentifier>().ok()??;
    let authority = authority.key_identifier?.as_bytes().to_vec();
    let serial = own.serial_number.to_der().ok()?;
    // Short: its length is one byte.
    Some((authority, serial.get(2..)?.to_vec()))
}
