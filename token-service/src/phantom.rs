//! The swap: what an opaque access token stands for now, and the JWT that one resource gets.
//!
//! Every cause for "no" ends in [`Resolved::Inactive`]; the cause is for the audit log and never
//! for the wire.

use std::sync::Arc;

use oauth::{ActiveToken, PhantomJwt, Scope, SubjectFacts};
use serde_json::{Value, json};
use service_kit::{UnixTime, random};

use crate::core::Core;
use crate::error::Trouble;
use crate::facts;
use crate::jws::{Claims, Typ};
use crate::record::{self, AccessToken, Grant};
use crate::registry::{Registry, Resource};
use crate::scopes::{self, Moment, ScopeQuestion};
use crate::token::{FormError, Kind};

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
    #[error("its client is gone or disabled")]
    ClientGone,
    #[error("its user is gone or disabled")]
    UserGone,
    #[error("audience `{missing}` is missing; the token is for: {present}")]
    Audience { missing: String, present: String },
    #[error("no scope of it means anything at this resource, or none is permitted any more")]
    Scope,
}

/// Looks a text up and checks everything that does not depend on a resource.
pub(crate) async fn find(
    core: &Core,
    registry: &Registry,
    text: &str,
) -> Result<Resolved, Trouble> {
    let handle = match Kind::AccessToken.read(text, &core.secrets) {
        Ok(handle) => handle,
        Err(error) => return Ok(Resolved::Inactive(error.into())),
    };
    let now = core.now();
    let Some(token) = record::load::<AccessToken>(&*core.store, handle.as_str()).await? else {
        return Ok(Resolved::Inactive(Inactive::Unknown));
    };
    let token = token.record;
    if now >= token.exp {
        return Ok(Resolved::Inactive(Inactive::Expired));
    }
    let grant = record::load::<Grant>(&*core.store, &token.grant).await?;
    let Some(grant) = grant
        .map(|stored| stored.record)
        .filter(|grant| grant.is_live(now))
    else {
        return Ok(Resolved::Inactive(Inactive::GrantEnded));
    };
    let Some(client) = registry.client(&token.client_id) else {
        return Ok(Resolved::Inactive(Inactive::ClientGone));
    };
    let scope = token.scope.intersection(&client.scope);
    let login = grant.authentication.as_ref();
    let Some(facts) = facts::gather(registry, client, &grant.subject, login, scope) else {
        return Ok(Resolved::Inactive(Inactive::UserGone));
    };
    Ok(Resolved::Live(Box::new(Live {
        token,
        grant,
        facts,
    })))
}

/// [`find`], cut for one resource: its audience, its scope, and what the decision point still
/// permits.
pub(crate) async fn resolve(
    core: &Core,
    registry: &Registry,
    text: &str,
    resource: &Resource,
) -> Result<Resolved, Trouble> {
    let mut live = match find(core, registry, text).await? {
        Resolved::Live(live) => live,
        inactive @ Resolved::Inactive(_) => return Ok(inactive),
    };
    if !live.token.resources.contains(&resource.id) {
        return Ok(Resolved::Inactive(Inactive::Audience {
            missing: resource.id.clone(),
            present: live.token.resources.join(", "),
        }));
    }
    live.facts.scope = live.facts.scope.intersection(&resource.scope);
    let scope = permitted(core, &live, resource).await?;
    if scope.is_empty() {
        return Ok(Resolved::Inactive(Inactive::Scope));
    }
    live.facts.scope = scope;
    Ok(Resolved::Live(live))
}

/// The JWT that the resource gets, with everything that a gateway has to know.
pub(crate) fn swap(
    core: &Core,
    registry: &Registry,
    live: &Live,
    resource: &Resource,
) -> Result<ActiveToken, Trouble> {
    let now = core.now();
    let ttl = std::time::Duration::from_secs(resource.jwt_ttl_secs);
    let exp = now.plus(ttl).min(live.token.exp);
    let claims = claims(core, registry, live, resource, exp)?;
    let jwt = core.sign(Typ::AccessToken, resource.jwt_alg, &claims)?;
    Ok(ActiveToken {
        facts: live.facts.clone(),
        jwt: PhantomJwt::new(Arc::<str>::from(jwt)),
        exp: exp.as_secs(),
        token_ref: live.token.token_ref.clone(),
        grant: live.token.grant.clone(),
        confirmation: live.token.confirmation(),
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

/// RFC 9068 section 2.2; beyond it only what the resource's configuration names.
fn claims(
    core: &Core,
    registry: &Registry,
    live: &Live,
    resource: &Resource,
    exp: UnixTime,
) -> Result<Claims, Trouble> {
    let facts = &live.facts;
    let mut claims = Claims::new();
    for name in &resource.claims {
        if let Some(value) = attribute(registry, facts, name) {
            claims.insert(name.clone(), value);
        }
    }
    // After the attributes: nothing of a user's can stand for the service's own word.
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", core.issuer.as_str().into());
    put("sub", facts.sub.as_str().into());
    put("aud", resource.id.as_str().into());
    put("client_id", facts.client_id.as_str().into());
    put("iat", core.now().as_secs().into());
    put("exp", exp.as_secs().into());
    put("jti", random::id()?.into());
    put("scope", facts.scope.to_string().into());
    if let Some(confirmation) = live.token.confirmation() {
        put("cnf", json!(confirmation));
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
    Ok(claims)
}

fn attribute(registry: &Registry, facts: &SubjectFacts, name: &str) -> Option<Value> {
    if let Some(value) = facts.attributes.get(name) {
        return Some(value.clone());
    }
    // Only a user has these; `username` tells a user from a client.
    facts.username.as_ref()?;
    let user = registry.user(&facts.sub)?;
    match name {
        "name" => user.name.as_deref().map(Value::from),
        "email" => user.email.as_deref().map(Value::from),
        "preferred_username" => Some(user.username.as_str().into()),
        _ => None,
    }
}
