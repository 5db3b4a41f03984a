//! Logout tokens of a provider (OpenID Connect Back-Channel Logout 1.0 section 2.6): read, verified with
//! the provider's keys, and good once.

use std::time::Duration;

use jose::{Accepted, Fault as Jws, Unverified};
use serde_json::{Map, Value};
use service_kit::UnixTime;

use super::Stop;
use crate::core::Core;
use crate::provider::{self, Fault, Provider};
use crate::record::{self, LogoutTokenUse};

/// What a provider has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) sub: Option<String>,
    pub(crate) sid: Option<String>,
    /// When it said so.
    pub(super) at: UnixTime,
}

/// An ID token has no `events`, and a logout token no nonce: one is never taken for the other.
const TYPES: Accepted = Accepted {
    types: &["logout+jwt", "jwt"],
    untyped: true,
};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Older ones are refused, and so long a `jti` is remembered.
const OLDEST: Duration = Duration::from_mins(5);
const SKEW: Duration = Duration::from_mins(1);

/// What a logout token says that has not come before.
pub(crate) async fn told(core: &Core, provider: &Provider, token: &str) -> Result<Farewell, Stop> {
    let claims = verified(provider, token).await?;
    let now = core.now();
    let (farewell, jti) =
        read(provider, &claims, now).ok_or(Fault::Invalid("the logout token's claims"))?;
    let exp = farewell.at.plus(OLDEST + SKEW);
    let id = LogoutTokenUse::id(&provider.id, jti);
    if record::keep_new(&*core.store, &id, &LogoutTokenUse { exp }, exp, now).await? {
        Ok(farewell)
    } else {
        Err(Fault::Invalid("the logout token has come before").into())
    }
}

async fn verified(provider: &Provider, token: &str) -> Result<Map<String, Value>, Fault> {
    let unverified =
        Unverified::read(token, TYPES).map_err(|_| Fault::Invalid("the logout token's form"))?;
    let metadata = provider.metadata().await?;
    match unverified.verify(&provider::keys(&metadata)?) {
        Ok(claims) => Ok(claims),
        Err(Jws::UnknownKey | Jws::OtherKey) => {
            let renewed = provider.renewed_metadata().await?;
            unverified
                .verify(&provider::keys(&renewed)?)
                .map_err(|_| Fault::Invalid("the logout token's key"))
        }
        Err(_) => Err(Fault::Invalid("the logout token's signature")),
    }
}

/// What it says, and its `jti`. None: a check of section 2.6 does not hold.
fn read<'a>(
    provider: &Provider,
    claims: &'a Map<String, Value>,
    now: UnixTime,
) -> Option<(Farewell, &'a str)> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let seconds = |name: &str| claims.get(name).and_then(Value::as_u64);
    let is_ours = match claims.get("aud")? {
        Value::String(one) => *one == provider.client_id,
        Value::Array(all) => all.contains(&provider.client_id.as_str().into()),
        _ => false,
    };
    let is_event = claims.get("events")?.get(EVENT)?.is_object();
    let at = UnixTime::from_secs(seconds("iat")?);
    let is_fresh = at <= now.plus(SKEW) && now < at.plus(OLDEST);
    let is_alive = match claims.get("exp") {
        Some(exp) => now < UnixTime::from_secs(exp.as_u64()?),
        None => true,
    };
    let is_good = is_ours
        && is_event
        && is_fresh
        && is_alive
        && text("iss")? == provider.issuer
        && !claims.contains_key("nonce");
    let farewell = Farewell {
        sub: text("sub").map(str::to_owned),
        sid: text("sid").map(str::to_owned),
        at,
    };
    let is_about_somebody = farewell.sub.is_some() || farewell.sid.is_some();
    let jti = text("jti").filter(|jti| !jti.is_empty())?;
    (is_good && is_about_somebody).then_some((farewell, jti))
}
