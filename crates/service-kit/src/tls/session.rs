//! What a handshake has settled: for whom the connection is, what is spoken on it, and who is at its
//! other end.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConnection;
use rustls::pki_types::{self, CertificateDer};

use super::{ClientCertificate, Current, Tls};
use crate::UnixTime;

/// Of one connection. Changed files do not change it.
#[derive(Debug)]
pub struct TlsSession {
    current: Arc<Current>,
    /// Index of the certificate that was shown to the client.
    shown: Option<usize>,
    speaks_http2: bool,
    /// What the client has shown, its own first.
    chain: Vec<CertificateDer<'static>>,
    judged: RefCell<Judged>,
}

/// What is thought of the client, and by which authorities.
#[derive(Debug)]
struct Judged {
    by: Arc<Current>,
    /// When it has to be judged anew, in Unix seconds.
    until: u64,
    client: Option<Arc<ClientCertificate>>,
}

impl TlsSession {
    pub(super) fn of(current: Arc<Current>, shaken: &ServerConnection) -> Self {
        let by_name = current.by_name.as_ref();
        let shown = by_name.and_then(|by_name| by_name.of_handshake(shaken.server_name()));
        let chain = shaken.peer_certificates().unwrap_or_default();
        let chain: Vec<_> = chain.iter().map(|it| it.clone().into_owned()).collect();
        let judged = Judged {
            until: current.judged_until(pki_types::UnixTime::now().as_secs()),
            client: current.client(&chain).map(Arc::new),
            by: Arc::clone(&current),
        };
        Self {
            shown,
            speaks_http2: shaken.alpn_protocol() == Some(b"h2"),
            chain,
            judged: RefCell::new(judged),
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

    /// What the client has shown, if it has shown one that counts: by the authorities of now, not by
    /// those of the handshake. Whether its time is over is for the caller to see.
    pub fn client(&self, tls: &Tls, now: UnixTime) -> Option<Arc<ClientCertificate>> {
        let mut judged = self.judged.borrow_mut();
        let by = tls.0.current.load();
        let at = now.as_secs();
        if !Arc::ptr_eq(&judged.by, &by) || at >= judged.until {
            let at_time = pki_types::UnixTime::since_unix_epoch(Duration::from_secs(at));
            judged.client = by.again(&self.chain, at_time).map(Arc::new);
            judged.by = Arc::clone(&by);
            judged.until = by.judged_until(at);
        }
        judged.client.clone()
    }

    /// What it has shown, as it was judged at the handshake.
    pub fn into_client(self) -> Option<Arc<ClientCertificate>> {
        self.judged.into_inner().client
    }
}
