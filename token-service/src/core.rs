//! What every endpoint works with: configuration as it was understood, keys, store, decision
//! point and clock.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use authzen::DecisionPoint;
use service_kit::{SharedClock, UnixTime};
use store::Store;

use crate::backchannel::Backchannel;
use crate::config::{LimitsConfig, SigningAlgorithm, TtlConfig};
use crate::error::Trouble;
use crate::jws::{self, Claims, Typ};
use crate::keys::{Keys, SigningKey};
use crate::meter::Meter;
use crate::minted::MintedJwts;
use crate::password::Passwords;
use crate::push::Push;
use crate::registry::Registry;
use crate::secrets::Secrets;
use crate::web_document::Web;

/// Shared by all requests.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) issuer: Issuer,
    /// The listener for certificates, where there is one.
    pub(crate) mtls: Option<MtlsEndpoints>,
    pub(crate) registry: ArcSwap<Registry>,
    pub(crate) secrets: Secrets,
    pub(crate) keys: Keys,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) decisions: Arc<dyn DecisionPoint>,
    pub(crate) event_log: String,
    pub(crate) clock: SharedClock,
    pub(crate) ttl: Ttl,
    /// DPoP proofs without a nonce of ours are refused.
    pub(crate) wants_nonce: bool,
    pub(crate) attempts: Attempts,
    pub(crate) limits: LimitsConfig,
    /// What a login is called.
    pub(crate) login_acr: Option<String>,
    pub(crate) passwords: Passwords,
    pub(crate) meter: Meter,
    pub(crate) push: Push,
    pub(crate) minted: MintedJwts,
    pub(crate) backchannel: Backchannel,
    pub(crate) web: Web,
}

/// Where clients with certificates go.
#[derive(Debug, Clone)]
pub(crate) struct MtlsEndpoints {
    /// What the URLs of its endpoints begin with.
    pub(crate) url: Issuer,
    pub(crate) has_authorities: bool,
}

/// Lifetimes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ttl {
    pub(crate) code: Duration,
    pub(crate) access_token: Duration,
    pub(crate) refresh_token: Duration,
    pub(crate) refresh_token_idle: Duration,
    pub(crate) refresh_retry: Duration,
    pub(crate) id_token: Duration,
    pub(crate) session: Duration,
    pub(crate) interaction: Duration,
    pub(crate) pushed_request: Duration,
    pub(crate) device_code: Duration,
    pub(crate) device_poll: Duration,
    pub(crate) introspection_cache: Duration,
}

/// How often a login may be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempts {
    pub(crate) most: u64,
    pub(crate) failures_per_username: u64,
    pub(crate) failures_per_address: u64,
    pub(crate) window: Duration,
}

/// The issuer identifier, byte for byte as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issuer {
    text: String,
    /// Empty, or `/tenant`.
    path: String,
    is_https: bool,
}

/// RFC 9068 wants JWTs that fit a header; the proxies that carry these have 4 KiB for all.
pub(crate) const MAX_JWT: usize = 3500;

impl Core {
    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// The registry at this moment: taken once a request, so that a reload never splits one.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    /// Signs claims with the current key of an algorithm.
    pub(crate) fn sign(
        &self,
        typ: Typ,
        algorithm: SigningAlgorithm,
        claims: &Claims,
    ) -> Result<String, Trouble> {
        let key = self.keys.current(algorithm, self.now())?;
        Self::sign_by(&key, typ, claims)
    }

    /// Signs claims with a key.
    pub(crate) fn sign_by(key: &SigningKey, typ: Typ, claims: &Claims) -> Result<String, Trouble> {
        let jwt = jws::sign(key, typ, claims)?;
        if typ == Typ::AccessToken && jwt.len() > MAX_JWT {
            let resource = claims
                .get("aud")
                .map(ToString::to_string)
                .unwrap_or_default();
            return Err(Trouble::TooLong {
                resource,
                length: jwt.len(),
            });
        }
        Ok(jwt)
    }
}

impl Ttl {
    pub(crate) fn new(config: &TtlConfig) -> Self {
        Self {
            code: Duration::from_secs(config.code_secs),
            access_token: Duration::from_secs(config.access_token_secs),
            refresh_token: Duration::from_secs(config.refresh_token_secs),
            refresh_token_idle: Duration::from_secs(config.refresh_token_idle_secs),
            refresh_retry: Duration::from_secs(config.refresh_retry_secs),
            id_token: Duration::from_secs(config.id_token_secs),
            session: Duration::from_secs(config.session_secs),
            interaction: Duration::from_secs(config.interaction_secs),
            pushed_request: Duration::from_secs(config.pushed_request_secs),
            device_code: Duration::from_secs(config.device_code_secs),
            device_poll: Duration::from_secs(config.device_poll_secs),
            introspection_cache: Duration::from_secs(config.introspection_cache_secs),
        }
    }
}

impl Issuer {
    /// RFC 8414 section 2: no query, no fragment. Plain `http` is for loopback and closed
    /// networks; the cookies say which it is.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = url::Url::parse(text).map_err(|_| "must be a URL")?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err("must be an `https` or `http` URL");
        }
        if text.contains(['?', '#', '@']) {
            return Err("must have no query, no fragment and no user name");
        }
        if text.ends_with('/') {
            return Err("must be written without the slash at its end");
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if !text.ends_with(&path) || path.contains(['{', '}', '%']) {
            return Err("must have a plain path");
        }
        Ok(Self {
            text: text.to_owned(),
            path,
            is_https: url.scheme() == "https",
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    /// The URL of an endpoint; `path` begins with a slash.
    pub(crate) fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_kept_byte_for_byte() {
        let issuer = Issuer::parse("https://as.example/tenant").unwrap();
        assert_eq!(issuer.endpoint("/token"), "https://as.example/tenant/token");
        assert_eq!((issuer.path(), issuer.is_https()), ("/tenant", true));
        assert_eq!(Issuer::parse("http://127.0.0.1:8081").unwrap().path(), "");
        for bad in [
            "https://as.example/",
            "https://as.example/?x",
            "https://as.example#x",
            "https://u@as.example",
            "as.example",
            "file:///x",
            "https://as.example/{x}",
        ] {
            assert!(Issuer::parse(bad).is_err(), "{bad}");
        }
    }
}
