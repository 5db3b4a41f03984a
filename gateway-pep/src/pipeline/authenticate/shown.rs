//! What was shown to be known by, for as long as what it was shown for lasts: to ask again who that is.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use http::header;
use service_kit::ClientCertificate;

use super::credential::Credential;
use crate::canonical::CanonicalRequest;
use crate::login::record::SessionId;
use crate::login::store::Kept;
use crate::pipeline::presented::Scheme;
use crate::pipeline::refusal::Refusal;
use crate::plan::Plan;
use crate::session::Asked;
use crate::worker::Worker;
use crate::worker::connection::Connection;

/// A credential, as it came.
pub(crate) enum Shown {
    /// `Authorization`.
    Token(HeaderValue),
    /// In the header of API keys.
    Key(HeaderValue),
    Session(ShownSession),
    /// On the connection.
    Certificate(ShownCertificate),
}

/// The certificate of a connection, as it was looked at.
pub(crate) struct ShownCertificate {
    pub(super) connection: Rc<Connection>,
    pub(super) issuer: usize,
    pub(super) certificate: Arc<ClientCertificate>,
}

/// The session of somebody with a browser.
pub(crate) struct ShownSession {
    pub(super) login: usize,
    pub(super) id: SessionId,
    pub(super) kept: Rc<Kept>,
    /// What was known of ended sessions when it was last looked at.
    pub(super) asked: Cell<Asked>,
}

impl Shown {
    /// The token or key of a request. None: there is none.
    pub(super) fn of(plan: &Plan, request: &CanonicalRequest, scheme: Scheme) -> Option<Self> {
        let headers = request.headers();
        match scheme {
            Scheme::Bearer | Scheme::Dpop => {
                headers.get(header::AUTHORIZATION).cloned().map(Self::Token)
            }
            Scheme::ApiKey => {
                let name = plan.api_key_header.as_ref()?;
                headers.get(name).cloned().map(Self::Key)
            }
        }
    }

    /// What a token or key is without its scheme. None: it is neither.
    pub(super) fn token(&self) -> Result<Option<&[u8]>, Refusal> {
        match self {
            Self::Token(field) => {
                Credential::read(field.as_bytes(), true).map(|credential| Some(credential.token))
            }
            Self::Key(key) => Ok(Some(key.as_bytes())),
            Self::Session(_) | Self::Certificate(_) => Ok(None),
        }
    }

    /// Whether a session has not ended, as far as was heard, and a certificate is believed. Of what ends
    /// tokens, others know.
    pub(crate) fn stands(&self, worker: &Worker) -> bool {
        match self {
            Self::Token(_) | Self::Key(_) => true,
            Self::Certificate(shown) => shown.stands(worker),
            Self::Session(shown) => worker.sessions.stands(&shown.kept, shown.asked.get()),
        }
    }
}

impl ShownCertificate {
    fn stands(&self, worker: &Worker) -> bool {
        let (tls, now) = (worker.core.tls.as_ref(), worker.core.clock.now());
        let shown = tls.and_then(|tls| self.connection.certificate(tls, now));
        // Looked at by other authorities, or another list of what is revoked, it may be the same still.
        shown.is_some_and(|shown| shown.is_worth_as_much_as(&self.certificate))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Shown(…)")
    }
}
