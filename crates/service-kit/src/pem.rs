//! Certificates and keys from PEM files, with messages that name the configuration key.

use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::ConfigIssue;

/// A file's bytes, wiped when dropped.
pub type Bytes = Zeroizing<Vec<u8>>;

/// Reads a file; `key` is what configuration calls it.
pub fn read(key: &str, path: &Path) -> Result<Bytes, ConfigIssue> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| {
        ConfigIssue::new(format!(
            "`{key}`: cannot read `{}`: {error}",
            path.display()
        ))
    })
}

/// Every certificate in a file; at least one.
pub fn certificates(
    key: &str,
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ConfigIssue> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found
        .map_err(|_| ConfigIssue::new(format!("`{key}`: `{}` is damaged PEM", path.display())))?;
    if found.is_empty() {
        return Err(ConfigIssue::new(format!(
            "`{key}`: there is no certificate in `{}`",
            path.display()
        ))
        .hint("it must be PEM, with `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(found)
}

/// The authorities in a file, for a client that believes them and nobody else.
pub fn authorities(key: &str, path: &Path) -> Result<Vec<reqwest::Certificate>, ConfigIssue> {
    let text = read(key, path)?;
    certificates(key, path, &text)?;
    reqwest::Certificate::from_pem_bundle(&text)
        .map_err(|error| ConfigIssue::new(format!("`{key}`: {error}")))
}

/// The same, for handshakes.
pub fn roots(key: &str, path: &Path, text: &[u8]) -> Result<RootCertStore, ConfigIssue> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path, text)? {
        roots.add(certificate).map_err(|error| {
            ConfigIssue::new(format!(
                "`{key}`: a certificate in `{}` cannot be an authority: {error}",
                path.display()
            ))
        })?;
    }
    Ok(roots)
}

/// The private key in a file: PKCS#8, PKCS#1 or SEC 1, not encrypted.
pub fn private_key(
    key: &str,
    path: &Path,
    text: &[u8],
) -> Result<PrivateKeyDer<'static>, ConfigIssue> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        Error::NoItemsFound => ConfigIssue::new(format!(
            "`{key}`: there is no private key in `{}`",
            path.display()
        ))
        .hint("it must be PEM, with `-----BEGIN PRIVATE KEY-----`, and not encrypted"),
        // Nothing of the text: it is a secret.
        _ => ConfigIssue::new(format!("`{key}`: `{}` is damaged PEM", path.display())),
    })
}

/// The PKCS#8 private key in a file, as DER.
pub fn pkcs8(key: &str, path: &Path) -> Result<Bytes, ConfigIssue> {
    match private_key(key, path, &read(key, path)?)? {
        PrivateKeyDer::Pkcs8(der) => Ok(Zeroizing::new(der.secret_pkcs8_der().to_vec())),
        _ => Err(ConfigIssue::new(format!(
            "`{key}`: the key in `{}` is not in the form PKCS#8",
            path.display()
        ))
        .hint("`openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` converts it")),
    }
}

/// The text of a certificate and of its own key, one after the other, as HTTP clients take them.
pub fn identity(
    (certificate_key, certificate_path): (&str, &Path),
    (key_key, key_path): (&str, &Path),
) -> Result<Bytes, ConfigIssue> {
    let mut text = read(certificate_key, certificate_path)?;
    let secret = read(key_key, key_path)?;
    let chain = certificates(certificate_key, certificate_path, &text)?;
    let key = private_key(key_key, key_path, &secret)?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| unusable(key_key, certificate_path, &error))?;
    text.push(b'\n');
    text.extend_from_slice(&secret);
    Ok(text)
}

/// Why a certificate and a key make no pair.
pub(crate) fn unusable(key: &str, certificate: &Path, error: &rustls::Error) -> ConfigIssue {
    match error {
        rustls::Error::InconsistentKeys(_) => ConfigIssue::new(format!(
            "`{key}`: the key is not the certificate's (`{}`)",
            certificate.display()
        )),
        other => ConfigIssue::new(format!("`{key}`: {other}")),
    }
}
