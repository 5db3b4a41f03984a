//! Which of several certificates stands for a name. It is asked twice: by the handshake, for the name
//! that a client says there (SNI), and by whoever reads requests, for the host of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::ClientCertificate;

/// Certificates by the names that they have. Each name has one.
#[derive(Debug, Default)]
pub(super) struct ByName {
    keys: Vec<Arc<CertifiedKey>>,
    dns: HashMap<String, usize>,
    /// Without the `*.`.
    wildcards: HashMap<String, usize>,
    ips: HashMap<IpAddr, usize>,
}

/// Why a certificate cannot be one of several.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    NoName,
    Taken(String),
}

impl ByName {
    /// The first one is for clients that say no name.
    pub(super) fn add(&mut self, key: CertifiedKey) -> Result<(), NoPlace> {
        // The same names are read as of a client's certificate: alternative names, never the subject.
        let names = key
            .cert
            .first()
            .and_then(|own| ClientCertificate::read(own, false))
            .ok_or(NoPlace::NoName)?;
        if names.dns_names.is_empty() && names.ips.is_empty() {
            return Err(NoPlace::NoName);
        }
        let index = self.keys.len();
        for name in names.dns_names {
            let taken = match name.strip_prefix("*.") {
                Some(rest) => self.wildcards.insert(rest.to_owned(), index),
                None => self.dns.insert(name.clone(), index),
            };
            if taken.is_some_and(|taken| taken != index) {
                return Err(NoPlace::Taken(name));
            }
        }
        for ip in names.ips {
            let taken = self.ips.insert(ip.to_canonical(), index);
            if taken.is_some_and(|taken| taken != index) {
                return Err(NoPlace::Taken(ip.to_string()));
            }
        }
        self.keys.push(Arc::new(key));
        Ok(())
    }

    /// The certificate for a name or an address, in lower case and without a port. A name of its own
    /// comes before a wildcard, which stands for one label (RFC 6125 section 6.4.3).
    pub(super) fn find(&self, host: &str) -> Option<usize> {
        if let Some(index) = self.dns.get(host) {
            return Some(*index);
        }
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(host).parse::<IpAddr>() {
            return self.ips.get(&ip.to_canonical()).copied();
        }
        let (label, rest) = host.split_once('.')?;
        let index = self.wildcards.get(rest).filter(|_| !label.is_empty());
        index.copied()
    }

    /// The certificate that a handshake gets.
    pub(super) fn of_handshake(&self, name: Option<&str>) -> Option<usize> {
        match name {
            Some(name) => self.find(name),
            None => Some(0),
        }
    }
}

impl ResolvesServerCert for ByName {
    /// Of a name that is nobody's here, the handshake fails.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let index = self.of_handshake(hello.server_name())?;
        self.keys.get(index).cloned()
    }
}
