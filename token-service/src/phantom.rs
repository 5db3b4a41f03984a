//! The swap: what an opaque access token stands for now, and the JWT that one resource gets.
//!
//! Every cause for "no" ends in [`Resolved::Inactive`]; the cause is for the audit log and never
//! for the wire.

mod origins;
mod returned;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oauth::{ActiveToken, Origin, PhantomJwt, Scope, SubjectFacts};
use serde_json::{Value, json};
use service_kit::{UnixTime, random};
use store::Batch;

use crate::claims;
use crate::clients;
use crate::core::Core;
use crate::error::Trouble;
use crate::facts::{self, Known};
use crate::jws::{Claims, Typ};
use crate::minted::{Minted, Wanted};
use crate::record::{self, AccessToken, Grant};
use crate::registry::{Registry, Resource, User};
use crate::scopes::{self, Moment, ScopeQuestion};
use crate::token::{FormError, Handle, Kind};
pub(crate) use returned::{Returned, Unreturned, jti, made_of, returned, verified};

/// What a text is worth.
#[derive(Debug)]
pub(crate) enum Resolved {
    Live(Box<Live>),
    Inactive(Inactive),
}

/// A live access token and whose it is.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) token: AccessToken,
    pub(crate) grant: Grant,
    /// The scope in it is cut to what is asked for.
    pub(crate) facts: SubjectFacts,
    /// The subject, where it is a user.
    pub(crate) user: Option<Arc<User>>,
    /// What a resource may be told beside; nothing before a resource is named.
    pub(crate) claims: Vec<String>,
    /// The tokens that it was exchanged from: live, too.
    pub(crate) origins: Vec<Origin>,
    pub(crate) kept: Kept,
}

/// Token and grant as the store has them: for a write under the condition that both still stand.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) handle: Handle,
    pub(crate) token: Bytes,
    pub(crate) grant: Bytes,
}

/// Why a text is worth nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Inactive {
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("unknown, revoked, or expired long ago")]
    Unknown,
    #[error("expired")]
    Expired,
    #[error("its grant has ended or is revoked")]
    GrantEnded,
    #[error("there are no API keys any more")]
    NoApiKeys,
    #[error("its client is gone or disabled")]
    ClientGone,
    #[error("its user is gone or disabled")]
    UserGone,
    #[error("audience `{missing}` is missing; the token is for: {present}")]
    Audience { missing: String, present: String },
    #[error("what it was exchanged from has ended or is revoked")]
    OriginEnded,
    #[error("what it was exchanged for is not allowed any more")]
    ExchangeGone,
    #[error("no scope of it means anything at this resource, or none is permitted any more")]
    Scope,
}

/// Looks an access token up and checks everything that does not depend on a resource.
pub(crate) async fn find(
    core: &Core,
    registry: &Registry,
    text: &str,
) -> Result<Resolved, Trouble> {
    match Kind::AccessToken.read(text, &core.secrets) {
        Ok(handle) => of_handle(core, registry, handle).await,
        Err(error) => Ok(Resolved::Inactive(error.into())),
    }
}

/// The same of what is swapped: an API key, too. Nothing but a resource ever takes one.
async fn find_any(core: &Core, registry: &Registry, text: &str) -> Result<Resolved, Trouble> {
    match Kind::ApiKey.read(text, &core.secrets) {
        Ok(handle) => of_handle(core, registry, handle).await,
        Err(FormError::OtherKind) => find(core, registry, text).await,
        Err(error) => Ok(Resolved::Inactive(error.into())),
    }
}

/// The same by the name of the record.
/// The write happens only if nobody has revoked any of them since they were read.
pub(crate) fn while_they_stand<'a>(
    batch: Batch,
    tokens: impl IntoIterator<Item = &'a Live>,
    now: UnixTime,
) -> Batch {
    let mut conditions = BTreeMap::new();
    for live in tokens {
        let keep = record::keep_until(live.token.exp, now);
        let key = record::key::<AccessToken>(live.kept.handle.as_str());
        conditions.insert(key, (live.kept.token.clone(), keep));
        let keep = record::keep_until(live.grant.exp, now);
        let key = record::key::<Grant>(&live.token.grant);
        conditions.insert(key, (live.kept.grant.clone(), keep));
    }
    conditions
        .into_iter()
        .fold(batch, |batch, (key, (bytes, keep))| {
            batch.replace(key, bytes.clone(), bytes, Some(keep))
        })
}

impl Live {
    /// Whether nobody has revoked it since it was read.
    pub(crate) async fn stands(&self, core: &Core) -> Result<bool, Trouble> {
        let token = record::load::<AccessToken>(&*core.store, self.kept.handle.as_str()).await?;
        let grant = record::load::<Grant>(&*core.store, &self.token.grant).await?;
        Ok(token.is_some_and(|it| it.bytes == self.kept.token)
            && grant.is_some_and(|it| it.bytes == self.kept.grant))
    }
}

async fn of_handle(core: &Core, registry: &Registry, handle: Handle) -> Result<Resolved, Trouble> {
    let live = match standing(core, registry, handle).await? {
        Ok(live) => live,
        Err(inactive) => return Ok(Resolved::Inactive(inactive)),
    };
    Ok(match origins::with(core, registry, live).await? {
        Ok(live) => Resolved::Live(Box::new(live)),
        Err(inactive) => Resolved::Inactive(inactive),
    })
}

/// A token by itself, whatever it was exchanged from.
async fn standing(
    core: &Core,
    registry: &Registry,
    handle: Handle,
) -> Result<Result<Live, Inactive>, Trouble> {
    let now = core.now();
    let Some(token) = record::load::<AccessToken>(&*core.store, handle.as_str()).await? else {
        return Ok(Err(Inactive::Unknown));
    };
    if now >= token.record.exp {
        return Ok(Err(Inactive::Expired));
    }
    let grant = record::load::<Grant>(&*core.store, &token.record.grant).await?;
    let Some(grant) = grant.filter(|grant| grant.record.is_live(now)) else {
        return Ok(Err(Inactive::GrantEnded));
    };
    let kept = Kept {
        handle,
        token: token.bytes,
        grant: grant.bytes,
    };
    known((core, registry), (token.record, grant.record), kept).await
}

/// Everybody whom the records name must still be there.
async fn known(
    (core, registry): (&Core, &Registry),
    (mut token, grant): (AccessToken, Grant),
    kept: Kept,
) -> Result<Result<Live, Inactive>, Trouble> {
    if grant.api_key.is_some() && registry.api_keys.is_none() {
        return Ok(Err(Inactive::NoApiKeys));
    }
    let Some(client) = clients::find(core, registry, &token.client_id).await? else {
        return Ok(Err(Inactive::ClientGone));
    };
    let scope = token.scope.intersection(&client.scope);
    let login = grant.authentication.as_ref();
    let known = facts::gather((core, registry), &client, &grant.subject, login, scope).await?;
    let Some(Known { mut facts, user }) = known else {
        return Ok(Err(Inactive::UserGone));
    };
    if let Some(exchanged) = &grant.exchanged {
        let subject = (&grant.subject, user.as_deref());
        let Some(allowed) = registry.exchange(&client, subject, exchanged) else {
            return Ok(Err(Inactive::ExchangeGone));
        };
        token.resources.retain(|id| allowed.audiences.contains(id));
        facts.act.clone_from(&exchanged.act);
    }
    facts.api_key.clone_from(&grant.api_key);
    Ok(Ok(Live {
        token,
        grant,
        facts,
        user,
        claims: Vec::new(),
        origins: Vec::new(),
        kept,
    }))
}

/// What stands for an access token or an API key at one resource: its audience, its scope, and what the
/// decision point still permits.
pub(crate) async fn resolve(
    core: &Core,
    registry: &Registry,
    text: &str,
    resource: &Resource,
) -> Result<Resolved, Trouble> {
    let mut live = match find_any(core, registry, text).await? {
        Resolved::Live(live) => live,
        inactive @ Resolved::Inactive(_) => return Ok(inactive),
    };
    if !live.token.resources.contains(&resource.id) {
        return Ok(Resolved::Inactive(Inactive::Audience {
            missing: resource.id.clone(),
            present: live.token.resources.join(", "),
        }));
    }
    let whole = live.facts.clone();
    live.facts.scope = live.facts.scope.intersection(&resource.scope);
    let scope = permitted(core, &live, resource).await?;
    if scope.is_empty() {
        return Ok(Resolved::Inactive(Inactive::Scope));
    }
    live.facts.scope = scope;
    // By all that was granted, and not by what this resource understands of it.
    live.claims = claims::permitted(&*core.decisions, &whole, resource).await?;
    Ok(Resolved::Live(live))
}

/// The JWT that the resource gets, with everything that a gateway has to know.
pub(crate) fn swap(core: &Core, live: &Live, resource: &Resource) -> Result<ActiveToken, Trouble> {
    let Minted { jwt, exp, .. } = mint(core, live, resource)?;
    Ok(ActiveToken {
        facts: live.facts.clone(),
        jwt,
        exp: exp.as_secs(),
        token_ref: live.token.token_ref.clone(),
        grant: live.token.grant.clone(),
        confirmation: live.token.confirmation(),
        origins: live.origins.clone(),
    })
}

async fn permitted(core: &Core, live: &Live, resource: &Resource) -> Result<Scope, Trouble> {
    let question = ScopeQuestion {
        facts: &live.facts,
        grant_type: live.grant.grant_type,
        moment: Moment::Swap,
        resources: std::slice::from_ref(&resource.id),
    };
    Ok(scopes::permitted(&*core.decisions, &question).await?)
}

/// The same again where one was signed a moment ago that says what a new one would.
fn mint(core: &Core, live: &Live, resource: &Resource) -> Result<Minted, Trouble> {
    let now = core.now();
    let ttl = Duration::from_secs(resource.jwt_ttl_secs);
    let exp = now.plus(ttl).min(live.token.exp);
    let key = core.keys.current(resource.jwt_alg, now)?;
    let mut claims = claims(core, live, resource);
    let wanted = Wanted {
        kid: key.kid(),
        token_ref: &live.token.token_ref,
        ttl,
        claims: &claims,
    };
    let name = wanted.name()?;
    if let Some(minted) = core.minted.find(name, now, exp) {
        return Ok(minted);
    }
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iat", now.as_secs().into());
    put("exp", exp.as_secs().into());
    // Each JWT has an id of its own, which begins with what names the token that it is cut from.
    put("jti", jti(&live.token.token_ref, &random::id()?).into());
    let jwt = Core::sign_by(&key, Typ::AccessToken, &claims)?;
    let minted = Minted {
        jwt: PhantomJwt::new(jwt),
        iat: now,
        exp,
    };
    core.minted.keep(name, minted.clone());
    Ok(minted)
}

/// What lasts: all but its time and its id. RFC 9068 section 2.2; beyond it only what the resource's configuration names.
fn claims(core: &Core, live: &Live, resource: &Resource) -> Claims {
    let facts = &live.facts;
    let mut claims = Claims::new();
    for name in &live.claims {
        if let Some(value) = attribute(live, name) {
            claims.insert(name.clone(), value);
        }
    }
    // After the attributes: nothing of a user's can stand for the service's own word.
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", core.issuer.as_str().into());
    put("sub", facts.sub.as_str().into());
    put("aud", resource.id.as_str().into());
    put("client_id", facts.client_id.as_str().into());
    put("scope", facts.scope.to_string().into());
    if let Some(confirmation) = live.token.confirmation() {
        put("cnf", json!(confirmation));
    }
    if let Some(act) = &facts.act {
        put("act", act.claim());
    }
    if let Some(auth_time) = facts.auth_time {
        put("auth_time", auth_time.into());
    }
    if let Some(acr) = &facts.acr {
        put("acr", acr.as_str().into());
    }
    if !facts.amr.is_empty() {
        put("amr", facts.amr.clone().into());
    }
    claims
}

fn attribute(live: &Live, name: &str) -> Option<Value> {
    if let Some(value) = live.facts.attributes.get(name) {
        return Some(value.clone());
    }
    // Only a user has these.
    let user = live.user.as_ref()?;
    match name {
        "name" => user.name.as_deref().map(Value::from),
        "email" => user.email.as_deref().map(Value::from),
        "preferred_username" => Some(user.username.as_str().into()),
        _ => None,
    }
}
