//! The certificate that a client has shown, read once for all requests of its connection.

use std::net::IpAddr;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::DistinguishedName;
use crate::digest;

/// A client's certificate whose key the client has. An axum extension of the requests on its
/// connection, as part of [`crate::serve::Client`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its DNS names, in lower case; a wildcard is a name like any other here.
    pub dns_names: Vec<String>,
    pub uris: Vec<String>,
    pub ips: Vec<IpAddr>,
    pub emails: Vec<String>,
    /// None: it has none, or one that cannot be read.
    pub subject: Option<DistinguishedName>,
    pub sha256: [u8; 32],
    /// Until when it holds, in Unix seconds. 0: that cannot be read.
    pub not_after: u64,
    /// An authority of the listener's vouches for it. SECURITY: else its names are what the client
    /// has written itself, and only `sha256` says anything.
    pub is_trusted: bool,
}

impl ClientCertificate {
    /// Reads one. None: it cannot be read, and so shows nobody.
    pub fn read(shown: &CertificateDer<'_>, is_trusted: bool) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(shown).ok()?;
        let mut read = Self {
            // Compared whole and without wildcards by whoever uses them: they are names of the
            // client, and nothing that a server could stand for.
            dns_names: certificate
                .valid_dns_names()
                .map(str::to_ascii_lowercase)
                .collect(),
            uris: certificate.valid_uri_names().map(str::to_owned).collect(),
            ips: Vec::new(),
            emails: Vec::new(),
            subject: None,
            sha256: digest::sha256(shown),
            not_after: 0,
            is_trusted,
        };
        if let Ok(whole) = Certificate::from_der(shown) {
            read.add(&whole);
        }
        Some(read)
    }

    /// Whether it is the same one, and believed as much.
    pub fn is_worth_as_much_as(&self, other: &Self) -> bool {
        (self.sha256, self.is_trusted) == (other.sha256, other.is_trusted)
    }

    fn add(&mut self, whole: &Certificate) {
        let certificate = &whole.tbs_certificate;
        self.not_after = certificate.validity.not_after.to_unix_duration().as_secs();
        self.subject = DistinguishedName::of(&certificate.subject);
        let Ok(Some((_, SubjectAltName(names)))) = certificate.get::<SubjectAltName>() else {
            return;
        };
        for name in names {
            match name {
                GeneralName::Rfc822Name(email) => self.emails.push(email.to_string()),
                GeneralName::IpAddress(bytes) => self.ips.extend(address(bytes.as_bytes())),
                _ => {}
            }
        }
    }
}

/// Whether it is neither too young nor too old. What cannot be read does not hold.
pub(super) fn holds_at(shown: &CertificateDer<'_>, now: UnixTime) -> bool {
    let now = Duration::from_secs(now.as_secs());
    Certificate::from_der(shown).is_ok_and(|whole| {
        let validity = whole.tbs_certificate.validity;
        validity.not_before.to_unix_duration() <= now
            && now <= validity.not_after.to_unix_duration()
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
