//! Who somebody is here that a provider has spoken for: a user of the configuration, where a rule says so,
//! or a user of their own, kept with what the provider says of them now.

use std::sync::Arc;
use std::time::Duration;

use oauth::TokenEvent;
use service_kit::UnixTime;
use store::Batch;

use super::Stop;
use super::claims::Mapped;
use super::flow::Returned;
use crate::config::LinkRule;
use crate::core::Core;
use crate::error::Trouble;
use crate::provider::{Fault, Provider};
use crate::record::{self, Change, FederatedUser, Upstream};
use crate::registry::{Registry, User};
use crate::revocation;

/// Somebody who is here now.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) sub: String,
    /// When the provider has seen them; now, where it does not say.
    pub(crate) at: UnixTime,
    pub(crate) acr: Option<String>,
    pub(crate) amr: Vec<String>,
    pub(crate) upstream: Upstream,
}

/// Longer ID tokens are not kept: they would have to go into a URL. Bytes.
const LONGEST_HINT: usize = 4 << 10;

/// By the rules of the provider's configuration.
pub(crate) async fn arrive(
    core: &Core,
    registry: &Registry,
    provider: &Provider,
    said: &Returned,
) -> Result<Arrived, Stop> {
    if provider.blocked.contains(&said.sub) {
        return Err(Fault::Unwanted("`blocked`").into());
    }
    if !said.claims.has_required(provider) {
        return Err(Fault::Unwanted("`require`").into());
    }
    let mapped = said.claims.map(provider)?;
    let sub = match linked(registry, provider, said, &mapped)? {
        Some(user) => user.sub.clone(),
        None if provider.creates => keep(core, provider, said, mapped).await?,
        None => return Err(Fault::Unwanted("no user, and `create` is false").into()),
    };
    let is_kept = provider.logs_out && said.id_token.len() <= LONGEST_HINT;
    let hint = if is_kept { &*said.id_token } else { "" };
    let now = core.now();
    let (acr, amr) = if provider.trusts_acr {
        (said.acr.clone(), said.amr.clone())
    } else {
        (None, Vec::new())
    };
    Ok(Arrived {
        sub,
        at: said.auth_time.map_or(now, |at| at.min(now)),
        acr: acr.or_else(|| provider.acr.clone()),
        amr,
        upstream: Upstream {
            provider: provider.id.clone(),
            is_dated: said.auth_time.is_some(),
            id_token: core.secrets.seal(super::logout::HINT, hint)?,
        },
    })
}

/// The user of the configuration that somebody is. None: none of them.
fn linked<'r>(
    registry: &'r Registry,
    provider: &Provider,
    said: &Returned,
    mapped: &Mapped,
) -> Result<Option<&'r Arc<User>>, Fault> {
    let is_the_one = |user: &&Arc<User>| match provider.link {
        LinkRule::Never => false,
        LinkRule::VerifiedEmail => {
            let email = said.claims.verified_email().zip(user.email.as_deref());
            email.is_some_and(|(said, own)| said.eq_ignore_ascii_case(own))
        }
        LinkRule::Username => {
            let username = mapped.username.as_ref();
            username.is_some_and(|said| said.to_lowercase() == user.username.to_lowercase())
        }
    };
    let mut found = registry.local_users().filter(is_the_one);
    let user = found.next();
    if found.next().is_some() {
        return Err(Fault::Unwanted("more than one user has this address"));
    }
    // SECURITY: whoever is shut out does not come in as somebody new.
    if user.is_some_and(|user| user.disabled) {
        return Err(Fault::Unwanted("the user is disabled"));
    }
    Ok(user)
}

/// Keeps what the provider says now. Where it says something else than before, nothing of it is to be
/// trusted from a cache.
async fn keep(
    core: &Core,
    provider: &Provider,
    said: &Returned,
    mapped: Mapped,
) -> Result<String, Trouble> {
    let sub = FederatedUser::sub(&provider.id, &provider.issuer, &said.sub);
    let user = FederatedUser {
        provider: provider.id.clone(),
        issuer: provider.issuer.clone(),
        upstream_sub: said.sub.clone(),
        username: mapped
            .username
            .or_else(|| mapped.email.clone())
            .unwrap_or_else(|| said.sub.clone()),
        name: mapped.name,
        email: mapped.email,
        attributes: mapped.attributes,
        last_login: core.now(),
    };
    let event = revocation::encode(&TokenEvent::RegistryChanged)?;
    let written = record::change::<FederatedUser>(&*core.store, &sub, |before| {
        let is_news = before.is_some_and(|before| !before.says_the_same(&user));
        let also = if is_news {
            Batch::new().append(&core.event_log, event.clone())
        } else {
            Batch::new()
        };
        Some(Change {
            record: user.clone(),
            keep: longest(core),
            also,
        })
    });
    written.await?;
    Ok(sub)
}

/// As long as anything can depend on a login: a session that leads to a grant in its last moment.
fn longest(core: &Core) -> Duration {
    const SLACK: Duration = Duration::from_hours(1);
    let ttl = &core.ttl;
    ttl.session + ttl.refresh_token.max(ttl.access_token) + SLACK
}
