//! Whom a `client_id` names: a client of the configuration, one that has registered itself, or one that a
//! document describes. The one place that asks all, and the name spaces never mix.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::documents;
use crate::error::Trouble;
use crate::network::Network;
use crate::record::{self, Change, Changed, RegisteredClient};
use crate::registry::{Client, Provenance, Registry};

/// How exactly it is known when a client was used last.
const EXACTNESS: Duration = Duration::from_hours(24);

/// Attempts against other writers before giving up.
const ATTEMPTS: usize = 16;

/// The client, where it is there and enabled; of all others, what it may have now.
pub(crate) async fn find(
    core: &Core,
    registry: &Registry,
    id: &str,
) -> Result<Option<Arc<Client>>, Trouble> {
    if let Some((_, url)) = registry.document_of(id) {
        return Ok(documents::find(core, registry, &url).await?.map(Arc::new));
    }
    if !RegisteredClient::is_id(id) {
        return Ok(registry.configured_client(id).cloned());
    }
    if registry.registration.is_none() {
        return Ok(None);
    }
    let stored = record::load::<RegisteredClient>(&*core.store, id).await?;
    let client = stored.and_then(|stored| registry.registered(id, &stored.record, core.now()));
    Ok(client.map(Arc::new))
}

/// The same where a client begins something: what is said of it elsewhere is fetched, where what is kept
/// of that is too old. `network`: whence it comes.
pub(crate) async fn find_anew(
    core: &Core,
    registry: &Registry,
    (id, network): (&str, Network),
) -> Result<Option<Arc<Client>>, Trouble> {
    documents::refresh(core, registry, (id, network)).await?;
    find(core, registry, id).await
}

/// Says that a client gets a token, before it gets it: from now on, its end is announced. False where it
/// has ended meanwhile.
pub(crate) async fn used(
    core: &Core,
    registry: &Registry,
    client: &Client,
) -> Result<bool, Trouble> {
    let now = core.now();
    let (Provenance::Registered { used, .. }, Some(registration)) =
        (&client.provenance, &registry.registration)
    else {
        return Ok(true);
    };
    if used.is_some_and(|used| now.since(used) < EXACTNESS) {
        return Ok(true);
    }
    let store = &*core.store;
    let changed =
        record::change_within::<RegisteredClient>(ATTEMPTS, store, &client.id, |before| {
            let before = before.filter(|before| now < before.exp)?;
            let after = RegisteredClient {
                used: Some(now),
                // Later uses on the same day are not written down.
                exp: now.plus(registration.unused).plus(EXACTNESS),
                ..before.clone()
            };
            let keep = record::keep_until(after.exp, now);
            Some(Change::of(after, keep))
        });
    match changed.await? {
        Changed::To(_) => Ok(true),
        Changed::Not => Ok(false),
        Changed::Contended => Err(Trouble::Busy),
    }
}
