//! One client connection.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use service_kit::tls::TlsSession;
use service_kit::{ClientCertificate, Tls, UnixTime};

use crate::canonical::{Arrival, UrlScheme};
use crate::guard::Findings;
use crate::identity::Identity;

/// What the requests of one connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    client_ip: IpAddr,
    forwarded_for: HeaderValue,
    findings: Arc<Findings>,
    messages: Cell<u64>,
    /// None: it is without TLS.
    tls: Option<Rc<TlsSession>>,
    /// Its client came by TLS, which has ended at a proxy in front.
    is_by_tls_before: bool,
    /// The address is that of a proxy in front, which passes on the bytes of somebody else.
    is_unnamed: bool,
    is_http2: bool,
    /// Who its certificate is, by issuer.
    identities: RefCell<Vec<Certified>>,
}

/// Who a certificate is to one issuer.
#[derive(Debug)]
struct Certified {
    issuer: usize,
    certificate: Arc<ClientCertificate>,
    identity: Option<Rc<Identity>>,
}

impl Connection {
    pub(crate) fn new(peer: IpAddr, findings: Arc<Findings>) -> Self {
        let client_ip = peer.to_canonical();
        Self {
            forwarded_for: HeaderValue::try_from(client_ip.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            client_ip,
            findings,
            messages: Cell::new(0),
            tls: None,
            is_by_tls_before: false,
            is_unnamed: false,
            is_http2: false,
            identities: RefCell::default(),
        }
    }

    /// The same, by TLS.
    pub(crate) fn by_tls(self, session: Option<Rc<TlsSession>>) -> Self {
        Self {
            tls: session,
            ..self
        }
    }

    /// The same, whose client came by TLS as far as a proxy in front, or whom that proxy cannot name.
    pub(crate) fn passed_on(self, is_by_tls_before: bool, is_unnamed: bool) -> Self {
        Self {
            is_by_tls_before,
            is_unnamed,
            ..self
        }
    }

    /// Whether nothing that it says of other clients is believed, whose address it has.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.is_unnamed
    }

    /// One on which many requests are answered at a time.
    pub(crate) fn of_http2(peer: IpAddr) -> Self {
        Self {
            is_http2: true,
            ..Self::new(peer, Arc::default())
        }
    }

    /// Of a request that nobody has sent.
    pub(crate) fn of_nobody(client: IpAddr) -> Self {
        Self::new(client, Arc::default())
    }

    /// The same, for a client whom a trusted proxy has seen.
    ///
    /// SECURITY: without TLS. What a handshake has shown is of the proxy, and none of its clients is known by that.
    pub(crate) fn on_behalf_of(&self, client: IpAddr) -> Self {
        Self {
            is_http2: self.is_http2,
            ..Self::new(client, self.findings.clone())
        }
    }

    /// The peer, or the client whom a trusted proxy has seen.
    pub(crate) fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    pub(crate) fn client_ip_text(&self) -> &str {
        self.forwarded_for.to_str().unwrap_or_default()
    }

    pub(crate) fn forwarded_for(&self) -> HeaderValue {
        self.forwarded_for.clone()
    }

    /// What its requests have in common.
    pub(crate) fn arrival(&self) -> Arrival {
        let scheme = if self.tls.is_some() || self.is_by_tls_before {
            UrlScheme::Https
        } else {
            UrlScheme::Http
        };
        Arrival::direct(self.client_ip, scheme)
    }

    /// Whether requests for this host belong here (RFC 9110 section 7.4).
    pub(crate) fn stands_for(&self, host: &str) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.stands_for(host))
    }

    /// Whether whoever has shown what this client has would get in now.
    pub(crate) fn is_admitted(&self, tls: &Tls, now: UnixTime) -> bool {
        self.tls.is_none() || !tls.requires_clients() || self.certificate(tls, now).is_some()
    }

    /// What the client has shown, if it counts now.
    pub(crate) fn certificate(&self, tls: &Tls, now: UnixTime) -> Option<Arc<ClientCertificate>> {
        let shown = self.tls.as_ref()?.client(tls, now)?;
        (now < UnixTime::from_secs(shown.not_after)).then_some(shown)
    }

    /// Who a certificate is to an issuer, found out once for all requests of the connection.
    pub(crate) fn identity(
        &self,
        issuer: usize,
        shown: &Arc<ClientCertificate>,
        find: impl FnOnce() -> Option<Rc<Identity>>,
    ) -> Option<Rc<Identity>> {
        let mut known = self.identities.borrow_mut();
        // Looked at anew, it is another one.
        known.retain(|it| Arc::ptr_eq(&it.certificate, shown));
        if let Some(known) = known.iter().find(|it| it.issuer == issuer) {
            return known.identity.clone();
        }
        let identity = find();
        known.push(Certified {
            issuer,
            certificate: Arc::clone(shown),
            identity: identity.clone(),
        });
        identity
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Counts a message; false where its bytes, or bytes before it, were malformed.
    pub(crate) fn accepts_next(&self) -> bool {
        let message = self.messages.get();
        self.messages.set(message + 1);
        !self.findings.is_bad(message)
    }

    /// Whether there was a message.
    pub(crate) fn has_begun(&self) -> bool {
        self.messages.get() > 0
    }

    pub(crate) fn enter_tunnel(&self) {
        self.findings.enter_tunnel();
    }
}
