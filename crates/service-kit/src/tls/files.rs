//! The files of a listener's TLS, and what is made of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::by_name::{ByName, NoPlace};
use super::config::{ClientCertificates, NamedTlsConfig, TlsConfig, TlsVersion};
use super::revocations::Revocations;
use super::{AnyClient, Current, Issuance};
use crate::{ConfigIssue, digest, pem};

/// Where everything is, and what configuration calls it.
#[derive(Debug)]
pub(super) struct Files {
    place: String,
    certificates: Vec<Pair>,
    client_authorities: Option<PathBuf>,
    client_revocations: Option<PathBuf>,
    clients: ClientCertificates,
    /// Only the names of the certificates are served.
    by_name: bool,
    versions: &'static [&'static SupportedProtocolVersion],
    /// By ALPN, the best first.
    protocols: &'static [&'static [u8]],
}

/// A certificate and its key.
#[derive(Debug)]
struct Pair {
    place: String,
    certificate: PathBuf,
    key: PathBuf,
}

/// What is in the files.
pub(super) struct Texts {
    pairs: Vec<(pem::Bytes, pem::Bytes)>,
    client_authorities: Option<pem::Bytes>,
    client_revocations: Option<pem::Bytes>,
}

const HTTP_1: &[&[u8]] = &[b"http/1.1"];
const HTTP_2: &[&[u8]] = &[b"h2", b"http/1.1"];
const FROM_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const FROM_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl Files {
    /// One certificate, for whatever name.
    pub(super) fn of_one(
        place: &str,
        config: &TlsConfig,
        base: &Path,
        clients: ClientCertificates,
    ) -> Result<Self, ConfigIssue> {
        let (authorities, revocations) = (&config.client_ca_file, &config.client_crl_file);
        check_revocations(place, authorities.as_ref(), revocations.as_ref())?;
        Ok(Self {
            certificates: vec![Pair {
                place: place.to_owned(),
                certificate: base.join(&config.certificate_file),
                key: base.join(&config.key_file),
            }],
            client_authorities: authorities.as_ref().map(|file| base.join(file)),
            client_revocations: revocations.as_ref().map(|file| base.join(file)),
            clients,
            by_name: false,
            versions: FROM_1_2,
            protocols: HTTP_1,
            place: place.to_owned(),
        })
    }

    /// One for each name.
    pub(super) fn of_names(
        place: &str,
        config: &NamedTlsConfig,
        base: &Path,
        may_be_none: bool,
    ) -> Result<Self, ConfigIssue> {
        if config.certificates.is_empty() && !may_be_none {
            return Err(ConfigIssue::new(format!("`{place}.certificates` is empty"))
                .hint("give it a `certificate_file` and a `key_file`, or have some got: `gateway.acme`"));
        }
        let clients = config.client_certificates;
        if config.client_ca_file.is_none()
            && matches!(
                clients,
                Some(ClientCertificates::Optional | ClientCertificates::Required)
            )
        {
            return Err(ConfigIssue::new(format!(
                "`{place}.client_certificates` needs `client_ca_file`"
            ))
            .hint("name the authorities whose certificates are believed, or write `any`"));
        }
        let (authorities, revocations) = (&config.client_ca_file, &config.client_crl_file);
        check_revocations(place, authorities.as_ref(), revocations.as_ref())?;
        let certificates = config.certificates.iter().enumerate();
        Ok(Self {
            certificates: certificates
                .map(|(index, pair)| Pair {
                    place: format!("{place}.certificates[{index}]"),
                    certificate: base.join(&pair.certificate_file),
                    key: base.join(&pair.key_file),
                })
                .collect(),
            client_authorities: authorities.as_ref().map(|file| base.join(file)),
            client_revocations: revocations.as_ref().map(|file| base.join(file)),
            clients: clients.unwrap_or(ClientCertificates::Optional),
            by_name: true,
            versions: match config.min_version {
                TlsVersion::V1_2 => FROM_1_2,
                TlsVersion::V1_3 => FROM_1_3,
            },
            protocols: HTTP_2,
            place: place.to_owned(),
        })
    }

    pub(super) fn requires_clients(&self) -> bool {
        self.client_authorities.is_some() && self.clients == ClientCertificates::Required
    }

    pub(super) fn read(&self) -> Result<Texts, ConfigIssue> {
        let pairs = self.certificates.iter().map(|pair| {
            Ok((
                pem::read(&pair.name("certificate_file"), &pair.certificate)?,
                pem::read(&pair.name("key_file"), &pair.key)?,
            ))
        });
        let of_clients = |key: &str, path: &Option<PathBuf>| {
            let path = path.as_ref();
            path.map(|path| pem::read(&self.name(key), path))
                .transpose()
        };
        Ok(Texts {
            pairs: pairs.collect::<Result<_, _>>()?,
            client_authorities: of_clients("client_ca_file", &self.client_authorities)?,
            client_revocations: of_clients("client_crl_file", &self.client_revocations)?,
        })
    }

    /// `issuance`: what comes beside. A name that is in a file is the file's.
    pub(super) fn server(
        &self,
        texts: &Texts,
        issuance: Option<&Issuance>,
    ) -> Result<Current, ConfigIssue> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .map_err(|error| ConfigIssue::new(format!("`{}`: {error}", self.place)))?;
        let revocations = match (&self.client_revocations, &texts.client_revocations) {
            (Some(path), Some(text)) => Some(Revocations::read(
                &self.name("client_crl_file"),
                path,
                text,
            )?),
            _ => None,
        };
        let revocations_end = revocations.as_ref().map(|it| it.ends.clone());
        let verifier = match (&self.client_authorities, &texts.client_authorities) {
            (Some(path), Some(text)) => Some(self.verifier(path, text, revocations)?),
            _ => None,
        };
        let authorities = verifier.clone();
        let builder = match (self.clients, verifier) {
            (ClientCertificates::Any, _) => {
                builder.with_client_cert_verifier(Arc::new(AnyClient::new(&provider)))
            }
            (_, Some(verifier)) => builder.with_client_cert_verifier(verifier),
            (_, None) => builder.with_no_client_auth(),
        };
        let keys = self.certificates.iter().zip(&texts.pairs);
        let keys = keys.map(|(pair, text)| Ok((pair, pair.certified(text, &provider)?)));
        let (resolver, by_name): (Arc<dyn ResolvesServerCert>, _) = if self.by_name {
            let mut by_name = ByName::default();
            for certified in keys {
                let (pair, key) = certified?;
                by_name.add(key).map_err(|why| pair.out_of_place(&why))?;
            }
            for key in issuance.map(Issuance::keys).unwrap_or_default() {
                if let Err(why) = by_name.add(key) {
                    tracing::error!(?why, "a certificate that was issued is not shown");
                }
            }
            let by_name = Arc::new(by_name);
            (by_name.clone(), Some(by_name))
        } else {
            let mut only = keys.collect::<Result<Vec<_>, ConfigIssue>>()?;
            let (_, key) = only.pop().ok_or_else(|| {
                ConfigIssue::new(format!("`{}`: there is no certificate", self.place))
            })?;
            (Arc::new(SingleCertAndKey::from(key)), None)
        };
        let mut server = builder.with_cert_resolver(resolver);
        server.alpn_protocols = self.protocols.iter().map(|it| it.to_vec()).collect();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        // SECURITY: what comes before the handshake is over can be sent again by anybody.
        server.max_early_data_size = 0;
        Ok(Current {
            server: Arc::new(server),
            authorities,
            revocations_end: revocations_end.unwrap_or_default(),
            takes_any: self.clients == ClientCertificates::Any,
            by_name,
        })
    }

    fn verifier(
        &self,
        path: &Path,
        text: &[u8],
        revocations: Option<Revocations>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ConfigIssue> {
        let name = self.name("client_ca_file");
        let roots = pem::roots(&name, path, text)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match self.clients {
            ClientCertificates::Optional => builder.allow_unauthenticated(),
            ClientCertificates::Required | ClientCertificates::Any => builder,
        };
        let builder = match revocations {
            None => builder,
            // Of what there is no list, or an old one, nobody knows; that is no yes.
            Some(revocations) => builder
                .with_crls(revocations.lists)
                .enforce_revocation_expiration(),
        };
        builder.build().map_err(|error| {
            let name = match error {
                VerifierBuilderError::InvalidCrl(_) => self.name("client_crl_file"),
                _ => name,
            };
            ConfigIssue::new(format!("`{name}`: {error}"))
        })
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }
}

fn check_revocations(
    place: &str,
    authorities: Option<&PathBuf>,
    revocations: Option<&PathBuf>,
) -> Result<(), ConfigIssue> {
    if revocations.is_some() && authorities.is_none() {
        return Err(
            ConfigIssue::new(format!("`{place}.client_crl_file` needs `client_ca_file`"))
                .hint("name the authorities whose certificates are believed, or remove it"),
        );
    }
    Ok(())
}

impl Pair {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    fn certified(
        &self,
        (certificate, key): &(pem::Bytes, pem::Bytes),
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, ConfigIssue> {
        let chain = pem::certificates(
            &self.name("certificate_file"),
            &self.certificate,
            certificate,
        )?;
        let key = pem::private_key(&self.name("key_file"), &self.key, key)?;
        CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| pem::unusable(&self.name("key_file"), &self.certificate, &error))
    }

    fn out_of_place(&self, why: &NoPlace) -> ConfigIssue {
        let (name, path) = (self.name("certificate_file"), self.certificate.display());
        match why {
            NoPlace::NoName => {
                ConfigIssue::new(format!("`{name}`: the certificate in `{path}` has no name"))
                    .hint("it needs a subject alternative name: a DNS name or an IP address")
            }
            NoPlace::Taken(taken) => ConfigIssue::new(format!(
                "`{name}`: the certificate in `{path}` is for `{taken}`, as one before it is"
            ))
            .hint("keep one of the two"),
        }
    }
}

impl Texts {
    /// Names what was read.
    pub(super) fn version(&self) -> [u8; 32] {
        let pairs = self
            .pairs
            .iter()
            .flat_map(|(certificate, key)| [certificate, key]);
        let mut digests = Vec::new();
        let of_clients = [&self.client_authorities, &self.client_revocations];
        for part in pairs.chain(of_clients.into_iter().flatten()) {
            digests.extend(digest::sha256(part));
        }
        digest::sha256(&digests)
    }
}
