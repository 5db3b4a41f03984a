//! People with a browser: they log in at an OpenID provider, and the cookie of their session stands for the
//! access token that the provider gave out. From then on a request is as any other: the token is swapped,
//! the decision point asked.
//!
//! A session is in the store that gateways share, sealed, under a name that is no secret; its id is in the
//! cookie and nowhere else. The token never reaches the browser, and the cookie no upstream.

pub(crate) mod browser;
pub(crate) mod cookies;
pub(crate) mod pending;
pub(crate) mod record;
pub(crate) mod store;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use relying_party::RelyingParty;

use crate::canonical::CanonicalRequest;
use crate::config::PublicOrigin;
use crate::seal::Seal;
use cookies::{Attributes, OwnCookies};

/// Everything below is ours, whatever routes say.
pub(crate) const RESERVED: &str = "/.cedargate";

/// Every login of the configuration.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(crate) all: Vec<Login>,
    pub(crate) endpoints: HashMap<String, Endpoint>,
    /// Redirect URIs that are elsewhere than under [`RESERVED`].
    pub(crate) elsewhere: Vec<String>,
    pub(crate) origins: Vec<PublicOrigin>,
    pub(crate) own_cookies: OwnCookies,
    pub(crate) attributes: Attributes,
    pub(crate) seal: Seal,
    /// Sessions that one worker remembers.
    pub(crate) cached: usize,
}

/// One provider at which people log in.
#[derive(Debug)]
pub(crate) struct Login {
    /// As configuration, logs and metrics call it.
    pub(crate) name: Arc<str>,
    pub(crate) party: RelyingParty,
    pub(crate) scopes: Vec<String>,
    pub(crate) resource: Option<String>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) callback_path: String,
    /// The session cookie's whole name.
    pub(crate) cookie: String,
    pub(crate) idle: Duration,
    pub(crate) lifetime: Duration,
    pub(crate) logout_at_provider: bool,
    pub(crate) after_logout: Option<String>,
}

/// What is at a reserved path: of a login, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) login: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A link that logs in.
    Start,
    /// The redirect URI.
    Callback,
    Logout,
    LoggedOut,
    BackchannelLogout,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Start,
        Self::Callback,
        Self::Logout,
        Self::LoggedOut,
        Self::BackchannelLogout,
    ];

    /// The last segment of its path.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Start => "login",
            Self::Callback => "callback",
            Self::Logout => "logout",
            Self::LoggedOut => "logged-out",
            Self::BackchannelLogout => "backchannel-logout",
        }
    }
}

/// Whether a path is one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserved {
    No,
    /// There is nothing there, and no route may say otherwise.
    Nothing,
    Endpoint(Endpoint),
}

impl Logins {
    pub(crate) fn reserved(&self, path: &str) -> Reserved {
        let rest = path.strip_prefix(RESERVED);
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !is_below && !self.elsewhere.iter().any(|other| other == path) {
            return Reserved::No;
        }
        match self.endpoints.get(path) {
            Some(endpoint) => Reserved::Endpoint(*endpoint),
            None => Reserved::Nothing,
        }
    }

    /// The public origin that a request names. None: it came by a name that is none of ours, and nobody
    /// logs in there.
    pub(crate) fn origin(&self, request: &CanonicalRequest) -> Option<&str> {
        let authority = request.authority();
        let (host, port) = (authority.host(), authority.port());
        let mut origins = self.origins.iter();
        let origin = origins.find(|origin| origin.is_named_by(host, port));
        origin.map(PublicOrigin::as_str)
    }
}

impl Login {
    /// Where one of its endpoints is.
    pub(crate) fn path(&self, kind: Kind) -> String {
        match kind {
            Kind::Callback => self.callback_path.clone(),
            _ => path(&self.name, kind),
        }
    }

    /// Parameters of the token endpoint beside those of the protocol.
    pub(crate) fn token_parameters(&self) -> Vec<(&str, &str)> {
        let resource = self.resource.as_deref();
        resource.map(|it| ("resource", it)).into_iter().collect()
    }
}

/// Where an endpoint is, but where configuration says otherwise.
pub(crate) fn path(login: &str, kind: Kind) -> String {
    format!("{RESERVED}/{login}/{}", kind.word())
}
