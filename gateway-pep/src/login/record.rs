//! A session as the store keeps it.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use service_kit::{Secret, UnixTime, random};

/// What the cookie holds, and nothing else does.
#[derive(Clone)]
pub(crate) struct SessionId(Secret);

/// Somebody who has logged in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Names of the login and of the public origin: a session counts there alone.
    pub(crate) login: String,
    pub(crate) origin: String,
    /// Who they are at the provider, and what it calls their login there.
    pub(crate) sub: String,
    pub(crate) sid: Option<String>,
    /// `iat` of the ID token, by the provider's clock: a farewell that is older is not about this login.
    pub(crate) issued: UnixTime,
    pub(crate) began: UnixTime,
    /// When it was last used, about.
    pub(crate) seen: UnixTime,
    pub(crate) tokens: Tokens,
    /// Somebody renews the tokens, or has failed to.
    pub(crate) renewal: Option<Renewal>,
}

/// What the provider has given out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tokens {
    #[serde(serialize_with = "revealed")]
    pub(crate) access: Secret,
    /// None: it does not say.
    pub(crate) ends: Option<UnixTime>,
    pub(crate) obtained: UnixTime,
    #[serde(serialize_with = "revealed_if_any")]
    pub(crate) refresh: Option<Secret>,
    /// Its logout wants it back.
    #[serde(serialize_with = "revealed_if_any")]
    pub(crate) id_token: Option<Secret>,
}

/// A note to the other requests and gateways.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Renewal {
    /// Until then nobody else tries.
    pub(crate) until: UnixTime,
    pub(crate) has_failed: bool,
}

/// Before they end by so much, tokens are renewed: the most, and, as providers count whole seconds, the least.
const EARLY: Duration = Duration::from_mins(1);
const LATEST: Duration = Duration::from_secs(1);

impl SessionId {
    pub(crate) fn mint() -> Result<Self, random::RandomError> {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let bytes = random::bytes::<32>()?;
        Ok(Self(Secret::new(URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// Of a cookie. None: no id that was ever made.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        // A hash and an id have the same alphabet and length.
        service_kit::digest::is_sha256_base64url(text).then(|| Self(Secret::new(text)))
    }

    pub(crate) fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SessionId(…)")
    }
}

impl Session {
    /// Whether it has lasted or lain idle for too long.
    pub(crate) fn is_over(&self, now: UnixTime, idle: Duration, lifetime: Duration) -> bool {
        now.since(self.began) >= lifetime || now.since(self.seen) >= idle
    }

    /// Whether somebody has logged in, or got new tokens, so lately that doing it again would help nobody.
    pub(crate) fn is_fresh(&self, now: UnixTime) -> bool {
        const FRESH: Duration = Duration::from_secs(30);
        now.since(self.tokens.obtained) < FRESH && !self.tokens.end_soon(now)
    }
}

impl Tokens {
    pub(crate) fn have_ended(&self, now: UnixTime) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// Whether new ones are due: the last minute, or the last quarter of a short life.
    pub(crate) fn end_soon(&self, now: UnixTime) -> bool {
        self.ends.is_some_and(|ends| {
            let early = EARLY.min(ends.since(self.obtained) / 4).max(LATEST);
            ends <= now.plus(early)
        })
    }
}

/// Only ever written into what is sealed.
fn revealed<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.reveal())
}

#[expect(clippy::ref_option, reason = "serde hands fields over by reference")]
fn revealed_if_any<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::reveal).serialize(to)
}
