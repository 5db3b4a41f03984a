//! Who calls: what was shown for it, and who vouches for it. Each way to be known has a file here;
//! tokens, by [`issuer`], and [`certificate`]s.
//!
//! Knows nothing of requests, routes and caches: they know it.

pub(crate) mod accepted;
pub(crate) mod answer;
pub(crate) mod certificate;
mod claims;
pub(crate) mod fault;
pub(crate) mod introspection;
pub(crate) mod issuer;
pub(crate) mod jwks;
pub(crate) mod jwt;
pub(crate) mod mapping;

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use authzen::Subject;
use http::HeaderValue;
use oauth::{ActiveToken, Confirmation, SubjectFacts};
use service_kit::UnixTime;

/// Who calls, ready to be asked about.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) vouched: Vouched,
    /// Who vouches, as configuration calls them.
    pub(crate) issuer: Arc<str>,
    pub(crate) subject: Subject,
    /// Stands for the whole of `subject` in decision keys.
    pub(crate) subject_hash: u128,
    /// What events call the token, its grant and its client.
    pub(crate) names: Rc<[u128]>,
    /// Until then this may be used without asking again.
    pub(crate) until: UnixTime,
    /// How the access log says who it is: written once.
    pub(crate) said: OnceCell<Box<[u8]>>,
}

/// What somebody vouches for.
#[derive(Debug, Clone)]
pub(crate) struct Vouched {
    pub(crate) facts: SubjectFacts,
    /// What whoever calls has to prove beside it.
    pub(crate) confirmation: Option<Confirmation>,
    /// From then on it is not vouched for.
    pub(crate) ends: UnixTime,
    /// `Authorization` towards the upstream. None: it gets none.
    pub(crate) forwarded: Option<HeaderValue>,
}

impl Vouched {
    /// What the token service says. None: its JWT cannot be a header.
    pub(crate) fn of(token: &ActiveToken) -> Option<Self> {
        Some(Self {
            facts: token.facts.clone(),
            confirmation: token.confirmation.clone(),
            ends: UnixTime::from_secs(token.exp),
            forwarded: Some(bearer(token.jwt.reveal())?),
        })
    }
}

/// `Bearer <token>`, which no log shows.
fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
