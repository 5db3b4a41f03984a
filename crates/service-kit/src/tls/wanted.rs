//! What a configured caller's certificate must have: one thing, compared whole.

use std::net::IpAddr;

use super::{ClientCertificate, DistinguishedName};

/// What a certificate must have. `Sha256` alone means something without an authority that vouches for
/// the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedCertificate {
    /// Its subject, whole.
    Subject(DistinguishedName),
    /// One of its DNS names.
    Dns(String),
    /// One of its URIs.
    Uri(String),
    /// One of its IP addresses.
    Ip(IpAddr),
    /// One of its email addresses.
    Email(String),
    /// The SHA-256 of all of it.
    Sha256([u8; 32]),
}

impl WantedCertificate {
    /// Whether a certificate has it.
    pub fn is_met(&self, shown: &ClientCertificate) -> bool {
        if let Self::Sha256(sha256) = self {
            return shown.sha256 == *sha256;
        }
        shown.is_trusted
            && match self {
                Self::Subject(name) => shown.subject.as_ref() == Some(name),
                Self::Dns(name) => shown.dns_names.contains(name),
                // X509-SVID section 2: a certificate with more than one URI is no SPIFFE identity.
                Self::Uri(uri) if uri.starts_with("spiffe:") => shown.uris == [uri.as_str()],
                Self::Uri(uri) => shown.uris.contains(uri),
                Self::Ip(address) => shown.ips.contains(address),
                Self::Email(email) => shown.emails.contains(email),
                Self::Sha256(_) => false,
            }
    }

    /// One DNS name without wildcards: they would name many clients. None: it is none.
    pub fn dns(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !name.is_empty() && name.bytes().all(plain);
        is_name.then(|| Self::Dns(name.to_ascii_lowercase()))
    }

    /// A URI with its scheme. None: it is none.
    pub fn uri(uri: &str) -> Option<Self> {
        uri.contains(':').then(|| Self::Uri(uri.to_owned()))
    }

    /// 64 hexadecimal digits, with or without colons. None: it is something else.
    pub fn sha256(text: &str) -> Option<Self> {
        let digits: Vec<u32> = text
            .chars()
            .filter(|digit| *digit != ':')
            .map(|digit| digit.to_digit(16))
            .collect::<Option<_>>()?;
        let bytes = digits
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => u8::try_from(high * 16 + low).ok(),
                _ => None,
            })
            .collect::<Option<Vec<u8>>>()?;
        bytes.try_into().ok().map(Self::Sha256)
    }
}
