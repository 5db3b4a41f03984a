//! Revocation lists (RFC 5280) of the authorities of clients, from a file that is followed as their certificates are.
//!
//! SECURITY: a certificate whose issuer has no list in the file, or an old one, is not believed. Whoever can keep a new list
//! away must not bring back what is on it.

use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

use crate::ConfigIssue;

/// What is in the file.
#[derive(Debug)]
pub(super) struct Revocations {
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    /// When each is too old, ascending, in Unix seconds.
    pub(super) ends: Vec<u64>,
}

impl Revocations {
    /// `key` is what configuration calls the file.
    pub(super) fn read(key: &str, path: &Path, text: &[u8]) -> Result<Self, ConfigIssue> {
        let path = path.display();
        let lists = CertificateRevocationListDer::pem_slice_iter(text);
        let lists = lists
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ConfigIssue::new(format!("`{key}`: `{path}` is damaged PEM")))?;
        if lists.is_empty() {
            return Err(ConfigIssue::new(format!(
                "`{key}`: there is no revocation list in `{path}`"
            ))
            .hint(
                "it must be PEM, with `-----BEGIN X509 CRL-----`; `openssl crl -inform DER -in OLD -out NEW` \
                 converts it",
            ));
        }
        let mut ends = Vec::with_capacity(lists.len());
        for list in &lists {
            let read = CertificateList::from_der(list).map_err(|error| {
                ConfigIssue::new(format!(
                    "`{key}`: a revocation list in `{path}` cannot be read: {error}"
                ))
            })?;
            let Some(next) = read.tbs_cert_list.next_update else {
                return Err(ConfigIssue::new(format!(
                    "`{key}`: a revocation list in `{path}` does not say when the next one comes"
                ))
                .hint("`nextUpdate` is needed (RFC 5280 section 5.1.2.5)"));
            };
            ends.push(next.to_unix_duration().as_secs());
        }
        ends.sort_unstable();
        let now = UnixTime::now().as_secs();
        if ends.first().is_some_and(|end| *end <= now) {
            tracing::warn!(
                key,
                "a revocation list is too old; certificates of its issuer are not believed"
            );
        }
        Ok(Self { lists, ends })
    }
}
