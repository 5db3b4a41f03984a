//! Clients that register, change and end themselves (RFC 7591, RFC 7592), as it is kept. Each is one
//! conditional write: how many there may be, and whose a registration access token is, holds also for
//! fifty at once.

use oauth::TokenEvent;
use service_kit::{UnixTime, random};
use store::Batch;
use zeroize::Zeroizing;

use crate::audit::audit;
use crate::client_metadata::ClientMetadata;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{
    self, KeptSecret, ListedClient, RegisteredClient, Registrar, Registrations, Stored,
};
use crate::registry::{self, Registration};
use crate::revocation;
use crate::token::{Kind, Minted};

/// Attempts against other writers before giving up.
const ATTEMPTS: usize = 64;

/// A client as it is kept now, and what only itself gets to know. No `Debug`: it holds secrets.
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) kept: RegisteredClient,
    /// None: the one that it has stays.
    pub(crate) secret: Option<Zeroizing<String>>,
    pub(crate) token: Minted,
}

/// Registers a client. None: there are as many as there may be.
pub(crate) async fn register(
    core: &Core,
    registration: &Registration,
    by: Registrar,
    metadata: ClientMetadata,
) -> Result<Option<Registered>, Trouble> {
    let Some(bounds) = registration.bounds(&by) else {
        return Ok(None);
    };
    let now = core.now();
    let id = RegisteredClient::id(&random::id()?);
    let token = Kind::RegistrationToken.mint(&core.secrets)?;
    let (secret, kept_secret) = fresh_secret(registration, &metadata, now)?;
    let kept = RegisteredClient {
        by,
        metadata,
        secret: kept_secret,
        token: token.handle.as_str().to_owned(),
        issued: now,
        used: None,
        exp: now.plus(registration.unused),
    };
    for _ in 0..ATTEMPTS {
        let list = List::load(core, &kept.by).await?;
        let mut clients = list.clients();
        if clients.len() >= bounds.clients {
            clients = still_there(core, clients).await?;
        }
        if clients.len() >= bounds.clients {
            audit!(
                "registration_refused",
                by = kept.by.as_str(),
                reason = "as many as may be"
            );
            return Ok(None);
        }
        clients.push(ListedClient {
            id: id.clone(),
            until: kept.exp,
        });
        let key = record::key::<RegisteredClient>(&id);
        let keep = Some(record::keep_until(kept.exp, now));
        let batch = Batch::new().put_new(key, record::encode(&kept)?, keep);
        let batch = list.change(batch, clients)?;
        if core.store.commit(batch).await?.is_applied() {
            audit!("client_registered", client = id, by = kept.by.as_str());
            return Ok(Some(Registered {
                id,
                kept,
                secret,
                token,
            }));
        }
    }
    Err(Trouble::Busy)
}

/// Puts other metadata in the place of a client's own (RFC 7592 section 2.2). Its registration access
/// token is good for one update, and the answer has the next. None: somebody else has used it up.
pub(crate) async fn update(
    core: &Core,
    registration: &Registration,
    id: &str,
    stored: Stored<RegisteredClient>,
    metadata: ClientMetadata,
) -> Result<Option<Registered>, Trouble> {
    let now = core.now();
    let before = stored.record;
    let token = Kind::RegistrationToken.mint(&core.secrets)?;
    let is_narrower = !before.metadata.scope.is_subset(&metadata.scope);
    let (secret, kept_secret) = match before.secret {
        Some(kept) if metadata.auth_method.has_secret() && !is_old(&kept, now) => {
            (None, Some(kept))
        }
        _ => fresh_secret(registration, &metadata, now)?,
    };
    let kept = RegisteredClient {
        metadata,
        secret: kept_secret,
        token: token.handle.as_str().to_owned(),
        ..before
    };
    let keep = Some(record::keep_until(kept.exp, now));
    let key = record::key::<RegisteredClient>(id);
    let batch = Batch::new().replace(key, stored.bytes, record::encode(&kept)?, keep);
    // Its tokens live on with less: what is known of them has to be asked for again.
    let event = is_narrower.then_some(TokenEvent::RegistryChanged);
    let batch = announced(core, batch, &kept, event)?;
    if !core.store.commit(batch).await?.is_applied() {
        return Ok(None);
    }
    audit!("client_updated", client = id);
    Ok(Some(Registered {
        id: id.to_owned(),
        kept,
        secret,
        token,
    }))
}

/// Ends a client: with it ends all that it has, for every use of a token asks for its client. False:
/// it has changed meanwhile.
pub(crate) async fn end(
    core: &Core,
    id: &str,
    stored: &Stored<RegisteredClient>,
) -> Result<bool, Trouble> {
    let now = core.now();
    // Over and not gone: only what is there can be a condition, and whether it was ever used has to be
    // what was read.
    let over = RegisteredClient {
        exp: now,
        ..stored.record.clone()
    };
    for _ in 0..ATTEMPTS {
        let list = List::load(core, &over.by).await?;
        let mut clients = list.clients();
        clients.retain(|listed| listed.id != id);
        let batch = Batch::new().replace(
            record::key::<RegisteredClient>(id),
            stored.bytes.clone(),
            record::encode(&over)?,
            Some(record::keep_until(now, now)),
        );
        let event = TokenEvent::ClientEnded {
            client_id: id.to_owned(),
        };
        let batch = announced(core, list.change(batch, clients)?, &over, Some(event))?;
        if core.store.commit(batch).await?.is_applied() {
            audit!("client_ended", client = id, reason = "at its own word");
            return Ok(true);
        }
        let current = record::load::<RegisteredClient>(&*core.store, id).await?;
        if current.is_none_or(|current| current.bytes != stored.bytes) {
            return Ok(false);
        }
    }
    Err(Trouble::Busy)
}

/// Gateways are told where they may have something of the client's: what never got a token costs them
/// nothing.
fn announced(
    core: &Core,
    batch: Batch,
    kept: &RegisteredClient,
    event: Option<TokenEvent>,
) -> Result<Batch, Trouble> {
    match event.filter(|_| kept.used.is_some()) {
        Some(event) => Ok(batch.append(&core.event_log, revocation::encode(&event)?)),
        None => Ok(batch),
    }
}

/// Half of its life is over.
fn is_old(kept: &KeptSecret, now: UnixTime) -> bool {
    kept.exp
        .is_some_and(|exp| now.since(kept.issued) >= exp.since(now))
}

type Secrets = (Option<Zeroizing<String>>, Option<KeptSecret>);

fn fresh_secret(
    registration: &Registration,
    metadata: &ClientMetadata,
    now: UnixTime,
) -> Result<Secrets, Trouble> {
    if !metadata.auth_method.has_secret() {
        return Ok((None, None));
    }
    let (secret, hash) = registry::fresh_secret()?;
    let kept = KeptSecret {
        hash,
        issued: now,
        exp: registration.secret_life.map(|life| now.plus(life)),
    };
    Ok((Some(Zeroizing::new(secret)), Some(kept)))
}

/// The list of one registrar's clients, as the store has it.
struct List {
    key: String,
    stored: Option<Stored<Registrations>>,
}

impl List {
    async fn load(core: &Core, by: &Registrar) -> Result<Self, Trouble> {
        let id = by.id();
        Ok(Self {
            key: record::key::<Registrations>(&id),
            stored: record::load::<Registrations>(&*core.store, &id).await?,
        })
    }

    fn clients(&self) -> Vec<ListedClient> {
        let stored = self.stored.as_ref();
        stored.map_or_else(Vec::new, |stored| stored.record.clients.clone())
    }

    /// If nobody has changed it since.
    fn change(self, batch: Batch, clients: Vec<ListedClient>) -> Result<Batch, Trouble> {
        let bytes = record::encode(&Registrations { clients })?;
        Ok(match self.stored {
            Some(stored) => batch.replace(self.key, stored.bytes, bytes, None),
            None => batch.put_new(self.key, bytes, None),
        })
    }
}

/// The list without those that were forgotten.
async fn still_there(
    core: &Core,
    clients: Vec<ListedClient>,
) -> Result<Vec<ListedClient>, Trouble> {
    let now = core.now();
    let mut there = Vec::with_capacity(clients.len());
    for listed in clients {
        if now < listed.until {
            there.push(listed);
            continue;
        }
        let kept = record::load::<RegisteredClient>(&*core.store, &listed.id).await?;
        if let Some(kept) = kept.filter(|kept| now < kept.record.exp) {
            let until = kept.record.exp;
            there.push(ListedClient { until, ..listed });
        }
    }
    Ok(there)
}
