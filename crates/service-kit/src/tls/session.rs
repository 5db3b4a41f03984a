//! What a handshake has settled: for whom the connection is, what is spoken on it, and who is at its
//! other end.

use std::sync::Arc;

use rustls::ServerConnection;

use super::{ClientCertificate, Current};

/// Of one connection. Changed files do not change it.
#[derive(Debug)]
pub struct TlsSession {
    current: Arc<Current>,
    /// Index of the certificate that was shown to the client.
    shown: Option<usize>,
    speaks_http2: bool,
    client: Option<ClientCertificate>,
}

impl TlsSession {
    pub(super) fn of(current: Arc<Current>, shaken: &ServerConnection) -> Self {
        let by_name = current.by_name.as_ref();
        let shown = by_name.and_then(|by_name| by_name.of_handshake(shaken.server_name()));
        let chain = shaken.peer_certificates();
        Self {
            shown,
            speaks_http2: shaken.alpn_protocol() == Some(b"h2"),
            client: chain.and_then(|chain| current.client(chain)),
            current,
        }
    }

    /// Whether a request for this host (lower case, without a port) belongs on the connection: whether
    /// a handshake for that name would have shown the same certificate.
    ///
    /// SECURITY: the name of the handshake and the host of a request are two words of the client's, and
    /// need not be the same. What counts is the host.
    pub fn stands_for(&self, host: &str) -> bool {
        match &self.current.by_name {
            None => true,
            Some(by_name) => self.shown.is_some() && by_name.find(host) == self.shown,
        }
    }

    pub fn speaks_http2(&self) -> bool {
        self.speaks_http2
    }

    /// What the client has shown, if it has shown one that holds.
    pub fn client(&self) -> Option<&ClientCertificate> {
        self.client.as_ref()
    }

    pub fn into_client(self) -> Option<ClientCertificate> {
        self.client
    }
}
