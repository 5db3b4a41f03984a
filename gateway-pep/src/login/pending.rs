//! A login that was begun: what the browser brings back in a cookie of its own for each, sealed, and bound to
//! the `state` that the provider sends back. Nothing is kept here until somebody has logged in, so nobody
//! can fill the store by knocking.
//!
//! SECURITY: nonce and PKCE verifier are made from `state` by a key of ours: nobody else can know them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::HeaderValue;
use openidconnect::{Nonce, PkceCodeVerifier};
use serde::{Deserialize, Serialize};
use service_kit::random::{self, RandomError};
use service_kit::{UnixTime, digest};

use super::cookies;
use super::{Login, Logins};
use crate::seal::Seal;

/// Where somebody goes who has logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) login: String,
    pub(crate) origin: String,
    /// Path and query on this origin, in canonical form.
    pub(crate) back: String,
    pub(crate) begun: UnixTime,
}

/// What the provider sends back.
pub(crate) struct State(String);

/// So long people may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(15);

/// Of one login at once, in one browser: the oldest give way.
const MOST: usize = 8;

/// Longer ones do not fit into a cookie beside what else there is. Bytes.
const LONGEST_BACK: usize = 2000;

impl State {
    pub(crate) fn mint() -> Result<Self, RandomError> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random::bytes::<32>()?)))
    }

    /// None: no state that was ever made.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // A hash and a state have the same alphabet and length.
        digest::is_sha256_base64url(text).then(|| Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn nonce(&self, seal: &Seal) -> Nonce {
        Nonce::new(self.made("nonce", seal))
    }

    pub(crate) fn verifier(&self, seal: &Seal) -> PkceCodeVerifier {
        PkceCodeVerifier::new(self.made("verifier", seal))
    }

    fn made(&self, what: &str, seal: &Seal) -> String {
        seal.name(format!("{what}\0{}", self.0).as_bytes())
    }

    /// Ends the name of its cookie.
    fn tag(&self) -> String {
        let mut tag = digest::sha256_base64url(self.0.as_bytes());
        tag.truncate(16);
        tag
    }

    /// What the cookie's value is sealed under.
    fn sealed_as(&self) -> String {
        format!("login: {}", self.0)
    }
}

impl Pending {
    /// Without what is too long to be kept.
    pub(crate) fn new(login: &Login, origin: &str, back: &str, now: UnixTime) -> Self {
        let path = back.split('?').next().unwrap_or_default();
        let fitting = [back, path].into_iter().find(|it| it.len() <= LONGEST_BACK);
        Self {
            login: login.name.to_string(),
            origin: origin.to_owned(),
            back: fitting.unwrap_or("/").to_owned(),
            begun: now,
        }
    }

    /// The cookie that it is kept in, and the ends of those that were there too long.
    pub(crate) fn cookies(
        &self,
        (logins, login): (&Logins, &Login),
        state: &State,
        headers: &HeaderMap,
    ) -> Option<Vec<HeaderValue>> {
        let attributes = logins.attributes;
        let prefix = cookies::pending_prefix(&login.cookie);
        let sealed = logins.seal.seal(&state.sealed_as(), self)?;
        let name = format!("{prefix}{:08x}-{}", self.begun.as_secs(), state.tag());
        let value = URL_SAFE_NO_PAD.encode(sealed);
        let mut set = vec![attributes.set(&name, &value, Some(PATIENCE.as_secs()))?];
        let mut others = names(headers, &prefix);
        // They begin with the time.
        others.sort_unstable();
        let excess = (others.len() + 1).saturating_sub(MOST);
        let oldest = others.iter().take(excess);
        set.extend(oldest.filter_map(|name| attributes.expire(name)));
        Some(set)
    }

    /// What a browser has brought back, and the cookie to end. None: it has begun no such login, or too long
    /// ago.
    pub(crate) fn read(
        (logins, login): (&Logins, &Login),
        state: &State,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Option<(Self, HeaderValue)> {
        let prefix = cookies::pending_prefix(&login.cookie);
        let end = format!("-{}", state.tag());
        let is_it =
            |name: &[u8]| name.starts_with(prefix.as_bytes()) && name.ends_with(end.as_bytes());
        let (name, value) = cookies::pairs(headers).find(|(name, _)| is_it(name))?;
        let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        let pending: Self = logins.seal.open(&state.sealed_as(), &sealed)?;
        let is_good = *pending.login == *login.name && now.since(pending.begun) < PATIENCE;
        let name = std::str::from_utf8(name).ok()?;
        let expired = logins.attributes.expire(name)?;
        is_good.then_some((pending, expired))
    }
}

/// Of the cookies with this prefix: those whose names can be ours.
fn names(headers: &HeaderMap, prefix: &str) -> Vec<String> {
    let own = |name: &&[u8]| {
        name.strip_prefix(prefix.as_bytes()).is_some_and(|rest| {
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
            rest.len() == 25 && rest.iter().all(is_plain)
        })
    };
    let names = cookies::pairs(headers).map(|(name, _)| name).filter(own);
    names
        .filter_map(|name| std::str::from_utf8(name).ok())
        .map(str::to_owned)
        .collect()
}
