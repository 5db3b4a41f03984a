//! Which logins here a login at a provider has led to, and their end when the provider ends it.

use std::time::Duration;

use super::Farewell;
use super::flow::Returned;
use crate::core::Core;
use crate::error::Trouble;
use crate::provider::Provider;
use crate::record::{self, Change, Session, UpstreamLogin, UpstreamLogins};
use crate::sessions;
use crate::token::Handle;

/// It is remembered for so long that a provider's login is over: longer than a code of the provider's
/// takes to come here.
const OVER: Duration = Duration::from_hours(1);

/// Says that a provider's login has led to one here, and whether it still might: the provider may have
/// ended it meanwhile.
pub(crate) async fn leads_to(
    core: &Core,
    provider: &Provider,
    said: &Returned,
    (session, handle): (&Session, &Handle),
) -> Result<bool, Trouble> {
    let login = UpstreamLogin {
        sid: session.authentication.sid.clone(),
        sub: session.sub.clone(),
        session: handle.as_str().to_owned(),
        exp: session.exp,
    };
    let now = core.now();
    let of_session = said.sid.as_ref();
    let of_session = of_session.map(|sid| UpstreamLogins::id_of_session(&provider.id, sid));
    let of_subject = UpstreamLogins::id_of_subject(&provider.id, &said.sub);
    for id in of_session.into_iter().chain([of_subject]) {
        let written = record::change::<UpstreamLogins>(&*core.store, &id, |before| {
            let before = before.cloned().unwrap_or_default();
            let is_over = before.over.is_some_and(|over| said.issued <= over);
            (!is_over).then(|| {
                let after = before.with(login.clone(), now);
                let keep = record::keep_until(after.exp().unwrap_or(now), now).max(OVER);
                Change::of(after, keep)
            })
        });
        if written.await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ends every login here that a provider's login has led to.
pub(crate) async fn end(
    core: &Core,
    provider: &Provider,
    farewell: &Farewell,
) -> Result<(), Trouble> {
    let id = match (&farewell.sid, &farewell.sub) {
        (Some(sid), _) => UpstreamLogins::id_of_session(&provider.id, sid),
        (None, Some(sub)) => UpstreamLogins::id_of_subject(&provider.id, sub),
        (None, None) => return Ok(()),
    };
    // Before anything ends: what comes now is no part of the list, and sees that it is over.
    let over = record::change::<UpstreamLogins>(&*core.store, &id, |before| {
        let before = before.cloned().unwrap_or_default();
        let over = Some(before.over.map_or(farewell.at, |at| at.max(farewell.at)));
        Some(Change::of(UpstreamLogins { over, ..before }, keep(core)))
    });
    let Some(over) = over.await? else {
        return Ok(());
    };
    for login in &over.logins {
        let handle = Handle::kept(login.session.as_str());
        // One that has ended here already was the first to go: nobody is told twice.
        let session = record::load::<Session>(&*core.store, handle.as_str()).await?;
        if session.is_none() && sessions::is_over(core, &login.sid).await? {
            continue;
        }
        sessions::end(core, (&login.sid, &login.sub), Some(&handle)).await?;
    }
    Ok(())
}

/// Logins that are begun now may be as long.
fn keep(core: &Core) -> Duration {
    core.ttl.session.max(OVER)
}
