//! Logins: what they have led to, and their end: that ends with them, and every client that took part
//! hears of it.

use std::collections::BTreeSet;
use std::time::Duration;

use service_kit::random;

use crate::audit::audit;
use crate::clients;
use crate::core::Core;
use crate::error::Trouble;
use crate::farewells;
use crate::record::{self, Change, Session, SessionGrant, SessionGrants};
use crate::revocation;
use crate::signals::{self, Occurrence, Signal};
use crate::token::Handle;

/// It is remembered for at least so long that a login is over: longer than any code lives that it has
/// led to.
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
    let Some(after) = after.await? else {
        return Ok(false);
    };
    // No list grows without end, and what is on no list would outlive the login: it ends first.
    let surplus = after.surplus();
    if surplus.is_empty() {
        return Ok(true);
    }
    for oldest in surplus.iter().filter(|oldest| !oldest.is_offline) {
        revocation::revoke_grant(core, &oldest.id, "its login has led to too many").await?;
    }
    let shorter = record::change::<SessionGrants>(&*core.store, sid, |before| {
        let after = before.filter(|before| !before.is_over)?.without(surplus);
        let keep = record::keep_until(after.exp().unwrap_or(now), now);
        Some(Change::of(after, keep))
    });
    shorter.await?;
    Ok(true)
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
    // Whoever is to be told of it outside is told by the same write, and once.
    let (is_heard, jti) = (signals::is_heard(&core.registry()), random::id()?);
    let over = record::change::<SessionGrants>(&*core.store, sid, |before| {
        let before = before.cloned().unwrap_or_default();
        let over = SessionGrants {
            is_over: true,
            ..before.clone()
        };
        // And as long as its browser, which may not have been there, can come back with it.
        let mut change = Change::of(over, core.ttl.session.max(OVER));
        if is_heard && !before.is_over {
            let ended = Occurrence::SessionEnded {
                sid: sid.to_owned(),
                sub: sub.to_owned(),
                clients: before.clients(),
            };
            let signal = Signal::of(&jti, core.now(), ended).encode();
            change.also = change.also.append(signals::LOG, signal);
        }
        Some(change)
    });
    let grants = over.await?.unwrap_or_default().grants;
    for grant in grants.iter().filter(|grant| !grant.is_offline) {
        revocation::revoke_grant(core, &grant.id, "the login has ended").await?;
    }
    let registry = core.registry();
    let ids: BTreeSet<_> = grants.iter().map(|grant| &grant.client_id).collect();
    let mut clients = Vec::new();
    for id in ids {
        clients.extend(clients::find(core, &registry, id).await?);
    }
    let farewells = farewells::keep(core, &clients, (sid, sub)).await?;
    if let Some(handle) = handle {
        let session = record::key::<Session>(handle.as_str());
        core.store.delete(&session).await?;
    }
    audit!("logout", sub = sub, sid = sid);
    for farewell in farewells {
        farewells::say(core, farewell).await?;
    }
    Ok(())
}
