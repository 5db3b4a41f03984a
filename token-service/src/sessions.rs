//! Logins: what they have led to, and their end: that ends with them, and every client that took part
//! hears of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use service_kit::random;

use crate::audit::audit;
use crate::backchannel::LogoutTokens;
use crate::clients;
use crate::core::Core;
use crate::error::Trouble;
use crate::jws::{Claims, Typ};
use crate::record::{self, Change, Session, SessionGrant, SessionGrants};
use crate::registry::Client;
use crate::revocation;
use crate::token::Handle;

/// What a client is told of.
#[derive(Debug, Clone, Copy)]
struct Farewell<'a> {
    client: &'a Client,
    sub: &'a str,
    sid: &'a str,
}

/// The one event of these tokens (section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Section 2.4 recommends two minutes: longer than all attempts take.
const LIFE: Duration = Duration::from_mins(2);

/// It is remembered for so long that a login is over: longer than any code lives that it
/// has led to.
const OVER: Duration = Duration::from_hours(1);

/// Says that a login has led to a grant, and whether it still might: the end of a login finds it from
/// now on, or has come before.
pub(crate) async fn leads_to(
    core: &Core,
    sid: &str,
    grant: &SessionGrant,
) -> Result<bool, Trouble> {
    let now = core.now();
    let after = record::change::<SessionGrants>(&*core.store, sid, |before| {
        let before = before.cloned().unwrap_or_default();
        (!before.is_over).then(|| {
            let after = before.with(grant.clone(), now);
            let keep = record::keep_until(after.exp().unwrap_or(now), now);
            Change::of(after, keep)
        })
    });
    Ok(after.await?.is_some())
}

/// Whether a login is over, all of it or by half.
pub(crate) async fn is_over(core: &Core, sid: &str) -> Result<bool, Trouble> {
    let stored = record::load::<SessionGrants>(&*core.store, sid).await?;
    Ok(stored.is_some_and(|stored| stored.record.is_over))
}

/// Ends a login of a person, whose browser may have forgotten it already. What can fail comes before
/// the login itself is gone: whoever is told of an outage can try again.
pub(crate) async fn end(
    core: &Core,
    (sid, sub): (&str, &str),
    handle: Option<&Handle>,
) -> Result<(), Trouble> {
    // Before anything is revoked: what comes now is no part of the list, and sees that it is over.
    let over = record::change::<SessionGrants>(&*core.store, sid, |before| {
        let over = SessionGrants {
            is_over: true,
            ..before.cloned().unwrap_or_default()
        };
        Some(Change::of(over, OVER))
    });
    let grants = over.await?.unwrap_or_default().grants;
    for grant in grants.iter().filter(|grant| !grant.is_offline) {
        revocation::revoke_grant(core, &grant.id, "the login has ended").await?;
    }
    if let Some(handle) = handle {
        let session = record::key::<Session>(handle.as_str());
        core.store.delete(&session).await?;
    }
    audit!("logout", sub = sub, sid = sid);
    let registry = core.registry();
    let ids: BTreeSet<_> = grants.iter().map(|grant| &grant.client_id).collect();
    for id in ids {
        let Some(client) = clients::find(core, &registry, id).await? else {
            continue;
        };
        if let Some(to) = &client.backchannel_logout {
            let farewell = Farewell {
                client: &client,
                sub,
                sid,
            };
            core.backchannel
                .say(&client, to, logout_tokens(core, &farewell)?);
        }
    }
    Ok(())
}

fn logout_tokens(core: &Core, farewell: &Farewell<'_>) -> Result<LogoutTokens, Trouble> {
    let mut tokens: LogoutTokens = std::array::from_fn(|_| String::new());
    for token in &mut tokens {
        *token = logout_token(core, farewell)?;
    }
    Ok(tokens)
}

fn logout_token(core: &Core, farewell: &Farewell<'_>) -> Result<String, Trouble> {
    let now = core.now();
    let mut claims = Claims::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", core.issuer.as_str().into());
    put("sub", farewell.sub.into());
    put("aud", farewell.client.id.as_str().into());
    put("iat", now.as_secs().into());
    put("exp", now.plus(LIFE).as_secs().into());
    put("jti", random::id()?.into());
    put("sid", farewell.sid.into());
    put("events", json!({ EVENT: {} }));
    core.sign(Typ::Logout, farewell.client.id_token_alg, &claims)
}
