//! The end of a login, told to the clients that took part in it (OpenID Connect Back-Channel Logout 1.0).
//!
//! Kept in the store before the login is gone, until the client has heard or nobody tries any more: a
//! process that ends meanwhile leaves it to the others, or to the next. Told once or more, never by
//! two replicas for the same attempt.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use service_kit::{SharedClock, UnixTime, random};
use store::Store;

use crate::audit::audit;
use crate::backchannel::LogoutTokens;
use crate::clients;
use crate::core::Core;
use crate::error::Trouble;
use crate::jws::{Claims, Typ};
use crate::record::{self, Change, Changed, Farewell, Farewells};
use crate::registry::Client;

/// The one event of these tokens (section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Section 2.4 recommends two minutes: longer than the attempts of a row take.
const LIFE: Duration = Duration::from_mins(2);

/// Whoever takes one on has so long for a row of attempts, before it is due again; twice as long after
/// each.
const ROW: Duration = Duration::from_mins(2);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Nobody tries after so long.
const PATIENCE: Duration = Duration::from_hours(24);

/// More do not wait at once: the oldest are given up.
const MOST: usize = 1000;

/// The only record.
const ID: &str = "all";

/// Attempts against other writers before giving up.
const ATTEMPTS: usize = 32;

/// Where word goes that a client has heard.
#[derive(Debug)]
struct Receipt {
    store: Arc<dyn Store>,
    clock: SharedClock,
    farewell: Farewell,
}

/// Keeps what these clients are to be told of a login. Before anything else is lost that says so.
pub(crate) async fn keep(
    core: &Core,
    clients: &[Arc<Client>],
    (sid, sub): (&str, &str),
) -> Result<Vec<Farewell>, Trouble> {
    let now = core.now();
    let new: Vec<_> = clients
        .iter()
        .filter(|client| client.backchannel_logout.is_some())
        .map(|client| Farewell {
            client_id: client.id.clone(),
            sub: sub.to_owned(),
            sid: sid.to_owned(),
            due: now.plus(ROW),
            tries: 0,
            exp: now.plus(PATIENCE),
        })
        .collect();
    if !new.is_empty() {
        change(&*core.store, now, |all| {
            all.retain(|old| !new.iter().any(|new| new.is_same(old)));
            all.extend(new.iter().cloned());
        })
        .await?;
    }
    Ok(new)
}

/// Tells a client, and does not wait for it.
pub(crate) async fn say(core: &Core, farewell: Farewell) -> Result<(), Trouble> {
    let registry = core.registry();
    let client = clients::find(core, &registry, &farewell.client_id).await?;
    let client = client.as_deref();
    let Some((client, to)) = client.and_then(|it| Some((it, it.backchannel_logout.as_ref()?)))
    else {
        // Gone since, or disabled: it is given up when its time is over.
        return Ok(());
    };
    let tokens = logout_tokens(core, client, &farewell)?;
    let receipt = Receipt {
        store: Arc::clone(&core.store),
        clock: core.clock.clone(),
        farewell,
    };
    core.backchannel
        .say(client, to, tokens, async move { receipt.heard().await });
    Ok(())
}

/// Tells what is due: what a process did not come to, and what nobody has heard.
pub(crate) async fn say_due(core: &Core) -> Result<(), Trouble> {
    let now = core.now();
    let mut due = Vec::new();
    change(&*core.store, now, |all| {
        due.clear();
        for farewell in all.iter_mut().filter(|farewell| farewell.due <= now) {
            farewell.tries = farewell.tries.saturating_add(1);
            let pause = ROW.saturating_mul(2_u32.saturating_pow(farewell.tries.min(16)));
            farewell.due = now.plus(pause.min(LONGEST_PAUSE));
            due.push(farewell.clone());
        }
    })
    .await?;
    for farewell in due {
        say(core, farewell).await?;
    }
    Ok(())
}

impl Receipt {
    /// The client has heard. Where that cannot be written, it hears again.
    async fn heard(&self) {
        let now = self.clock.now();
        let heard = change(&*self.store, now, |all| {
            all.retain(|it| !it.is_same(&self.farewell));
        });
        if let Err(trouble) = heard.await {
            tracing::warn!(
                error = trouble.chain(),
                "a client will hear of a logout again"
            );
        }
    }
}

/// Changes the list. What is over is given up on the way.
async fn change(
    store: &dyn Store,
    now: UnixTime,
    mut change: impl FnMut(&mut Vec<Farewell>),
) -> Result<(), Trouble> {
    let mut given_up = Vec::new();
    let changed = record::change_within::<Farewells>(ATTEMPTS, store, ID, |before| {
        let before = before.cloned().unwrap_or_default();
        let mut after = before.clone();
        given_up = after.all.extract_if(.., |it| it.exp <= now).collect();
        change(&mut after.all);
        let too_many = after.all.len().saturating_sub(MOST);
        given_up.extend(after.all.drain(..too_many));
        let last = after.all.iter().map(|it| it.exp).max().unwrap_or(now);
        (after != before).then(|| Change::of(after, record::keep_until(last, now)))
    });
    match changed.await? {
        Changed::To(_) => {}
        Changed::Not => return Ok(()),
        Changed::Contended => return Err(Trouble::Busy),
    }
    for farewell in given_up {
        audit!(
            "logout_not_told",
            client = farewell.client_id,
            reason = "given up"
        );
    }
    Ok(())
}

/// One for each attempt of a row: a client may refuse one that it has seen.
fn logout_tokens(
    core: &Core,
    client: &Client,
    farewell: &Farewell,
) -> Result<LogoutTokens, Trouble> {
    let mut tokens: LogoutTokens = std::array::from_fn(|_| String::new());
    for token in &mut tokens {
        *token = logout_token(core, client, farewell)?;
    }
    Ok(tokens)
}

fn logout_token(core: &Core, client: &Client, farewell: &Farewell) -> Result<String, Trouble> {
    let now = core.now();
    let mut claims = Claims::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", core.issuer.as_str().into());
    put("sub", farewell.sub.as_str().into());
    put("aud", client.id.as_str().into());
    put("iat", now.as_secs().into());
    put("exp", now.plus(LIFE).as_secs().into());
    put("jti", random::id()?.into());
    put("sid", farewell.sid.as_str().into());
    put("events", json!({ EVENT: {} }));
    core.sign(Typ::Logout, client.id_token_alg, &claims)
}
