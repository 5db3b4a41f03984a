//! API keys as they are kept: made, listed, ended. To everything else a key is an access token of a grant of
//! its own, which ends when the key does.

use std::time::Duration;

use oauth::{Scope, SubjectFacts};
use service_kit::random;
use store::Batch;

use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::phantom::{self, Live};
use crate::record::{
    self, AccessToken, ApiKey, ApiKeys, Change, Grant, GrantState, Stored, Subject, TokenReference,
};
use crate::registry::{API_KEYS, ApiKeyRules, Registry};
use crate::revocation;
use crate::scopes::{self, Moment, ScopeQuestion};
use crate::token::{Handle, Kind, Minted};

/// Attempts against other writers before giving up.
const ATTEMPTS: usize = 16;

/// What no key has: the scope to make others, and what belongs to a login.
const NEVER: [&str; 3] = [API_KEYS, "openid", "offline_access"];

/// What somebody asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// None: all that the caller's token has.
    pub(crate) scope: Option<Scope>,
    /// Empty: every resource where the scope means something.
    pub(crate) resources: Vec<String>,
    pub(crate) life: Duration,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmade {
    /// Somebody acts for the subject, or the token hangs on others.
    Exchanged,
    /// The client's tokens are worth nothing without its key.
    Bound,
    /// More scope than the caller's token has, or none that a key can have.
    Scope,
    /// Nothing of the scope is permitted.
    Denied,
    /// A resource is unknown, or the scope means nothing there.
    Resource,
    /// There are as many as there may be.
    TooMany,
    /// The caller's token was revoked meanwhile.
    Ended,
}

/// A key that was made. No `Debug`: it has the key.
pub(crate) struct Made {
    pub(crate) text: Minted,
    pub(crate) key: ApiKey,
}

/// Makes a key for whoever has shown an access token.
pub(crate) async fn make(
    core: &Core,
    (registry, rules): (&Registry, &ApiKeyRules),
    caller: &Live,
    wanted: Wanted,
) -> Result<Result<Made, Unmade>, Trouble> {
    let id = random::id()?;
    let scope = match permitted(core, registry, caller, (&id, &wanted)).await? {
        Ok(scope) => scope,
        Err(unmade) => return Ok(Err(unmade)),
    };
    let Some(resources) = resources(registry, &wanted.resources, &scope) else {
        return Ok(Err(Unmade::Resource));
    };
    let text = Kind::ApiKey.mint(&core.secrets)?;
    let now = core.now();
    let key = ApiKey {
        id,
        name: wanted.name,
        client_id: caller.token.client_id.clone(),
        scope,
        resources,
        created: now,
        exp: now.plus(wanted.life.min(rules.max_life)),
        handle: text.handle.as_str().to_owned(),
        grant: random::id()?,
    };
    for _ in 0..ATTEMPTS {
        let list = List::load(core, &caller.grant.subject).await?;
        let mut keys = list.keys();
        if keys.len() >= rules.per_subject {
            keys = living(core, keys).await?;
        }
        if keys.len() >= rules.per_subject {
            return Ok(Err(Unmade::TooMany));
        }
        keys.push(key.clone());
        let batch = list.change(core, Batch::new(), keys)?;
        let batch = written(core, batch, caller, &key)?;
        // SECURITY: whoever has been logged out meanwhile leaves nothing that outlives that.
        let batch = phantom::while_they_stand(batch, [caller], now);
        if core.store.commit(batch).await?.is_applied() {
            audit!(
                "api_key_made",
                api_key = key.id,
                client = key.client_id,
                sub = caller.facts.sub,
                scope = key.scope,
                grant = key.grant
            );
            return Ok(Ok(Made { text, key }));
        }
        if !caller.stands(core).await? {
            return Ok(Err(Unmade::Ended));
        }
    }
    Err(Trouble::Busy)
}

/// The keys of a subject that are good for something.
pub(crate) async fn list(core: &Core, subject: &Subject) -> Result<Vec<ApiKey>, Trouble> {
    let list = List::load(core, subject).await?;
    living(core, list.keys()).await
}

/// Ends a key of a subject. Whether it had one of this id.
pub(crate) async fn end(core: &Core, subject: &Subject, id: &str) -> Result<bool, Trouble> {
    let list = List::load(core, subject).await?;
    let Some(key) = list.keys().into_iter().find(|key| key.id == id) else {
        return Ok(false);
    };
    // First what counts. Where the rest fails, the key is dead, and the list finds that out by itself.
    let handle = Handle::kept(&key.handle);
    if let Some(token) = record::load::<AccessToken>(&*core.store, &key.handle).await? {
        revocation::revoke_access_token(core, &handle, &token.record).await?;
    }
    record::change::<ApiKeys>(&*core.store, &ApiKeys::id(subject), |before| {
        let mut keys = before?.keys.clone();
        keys.retain(|key| key.id != id);
        let exp = keys.iter().map(|key| key.exp).max();
        let keep = record::keep_until(exp.unwrap_or_else(|| core.now()), core.now());
        Some(Change::of(ApiKeys { keys }, keep))
    })
    .await?;
    audit!("api_key_ended", api_key = id, client = key.client_id);
    Ok(true)
}

/// What the key gets of the scope that is wanted.
async fn permitted(
    core: &Core,
    registry: &Registry,
    caller: &Live,
    (id, wanted): (&str, &Wanted),
) -> Result<Result<Scope, Unmade>, Trouble> {
    let grant = &caller.grant;
    if grant.exchanged.is_some() || grant.api_key.is_some() {
        return Ok(Err(Unmade::Exchanged));
    }
    let client = crate::clients::find(core, registry, &caller.token.client_id).await?;
    if client.is_none_or(|client| client.only_bound || client.certificate_bound) {
        return Ok(Err(Unmade::Bound));
    }
    let most = caller.facts.scope.filter(|token| !NEVER.contains(&token));
    let scope = wanted.scope.as_ref().unwrap_or(&most);
    // SECURITY: no key has more than what was granted to whoever makes it.
    if scope.is_empty() || !scope.is_subset(&most) {
        return Ok(Err(Unmade::Scope));
    }
    let facts = SubjectFacts {
        scope: scope.clone(),
        api_key: Some(id.to_owned()),
        // A key outlives the login, and does not tell of one.
        auth_time: None,
        acr: None,
        amr: Vec::new(),
        ..caller.facts.clone()
    };
    let question = ScopeQuestion {
        facts: &facts,
        grant_type: grant.grant_type,
        moment: Moment::Issue,
        resources: &wanted.resources,
    };
    let scope = scopes::permitted(&*core.decisions, &question).await?;
    if scope.is_empty() {
        return Ok(Err(Unmade::Denied));
    }
    Ok(Ok(scope))
}

/// The resources that the key is for. None: one of them is not there, or the scope means nothing there.
fn resources(registry: &Registry, wanted: &[String], scope: &Scope) -> Option<Vec<String>> {
    let means_something =
        |resource: &&crate::registry::Resource| !resource.scope.intersection(scope).is_empty();
    if wanted.is_empty() {
        let all = registry.resources().filter(means_something);
        return Some(all.map(|resource| resource.id.clone()).collect());
    }
    wanted
        .iter()
        .map(|id| {
            let resource = registry.resource(id).filter(means_something);
            resource.map(|resource| resource.id.clone())
        })
        .collect()
}

/// Adds to a batch what makes a key good.
fn written(core: &Core, batch: Batch, caller: &Live, key: &ApiKey) -> Result<Batch, Trouble> {
    let now = core.now();
    let grant = Grant {
        state: GrantState::Live,
        subject: caller.grant.subject.clone(),
        client_id: key.client_id.clone(),
        grant_type: caller.grant.grant_type,
        scope: key.scope.clone(),
        resources: key.resources.clone(),
        created: now,
        exp: key.exp,
        authentication: None,
        exchanged: None,
        api_key: Some(key.id.clone()),
    };
    let token = AccessToken {
        token_ref: random::id()?,
        grant: key.grant.clone(),
        client_id: key.client_id.clone(),
        scope: key.scope.clone(),
        resources: key.resources.clone(),
        restricted: true,
        issued: now,
        exp: key.exp,
        key: None,
        certificate: None,
    };
    let reference = TokenReference {
        handle: key.handle.clone(),
    };
    let batch = record::put_new(batch, &key.grant, &grant, key.exp, now)?;
    let batch = record::put_new(batch, &key.handle, &token, key.exp, now)?;
    record::put_new(batch, &token.token_ref, &reference, key.exp, now)
}

/// Those that have neither expired nor been revoked.
async fn living(core: &Core, keys: Vec<ApiKey>) -> Result<Vec<ApiKey>, Trouble> {
    let now = core.now();
    let mut alive = Vec::with_capacity(keys.len());
    for key in keys {
        let token = record::load::<AccessToken>(&*core.store, &key.handle).await?;
        if now < key.exp && token.is_some() {
            alive.push(key);
        }
    }
    Ok(alive)
}

/// The list of one subject, as the store has it.
struct List {
    id: String,
    stored: Option<Stored<ApiKeys>>,
}

impl List {
    async fn load(core: &Core, subject: &Subject) -> Result<Self, Trouble> {
        let id = ApiKeys::id(subject);
        let stored = record::load::<ApiKeys>(&*core.store, &id).await?;
        Ok(Self { id, stored })
    }

    fn keys(&self) -> Vec<ApiKey> {
        let stored = self.stored.as_ref();
        stored.map_or_else(Vec::new, |stored| stored.record.keys.clone())
    }

    /// If nobody has changed it since.
    fn change(self, core: &Core, batch: Batch, keys: Vec<ApiKey>) -> Result<Batch, Trouble> {
        let now = core.now();
        let exp = keys.iter().map(|key| key.exp).max().unwrap_or(now);
        let keep = Some(record::keep_until(exp, now));
        let key = record::key::<ApiKeys>(&self.id);
        let bytes = record::encode(&ApiKeys { keys })?;
        Ok(match self.stored {
            Some(stored) => batch.replace(key, stored.bytes, bytes, keep),
            None => batch.put_new(key, bytes, keep),
        })
    }
}
