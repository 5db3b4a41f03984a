//! Whom a `sub` names: a user of the configuration, or somebody who has logged in at an identity
//! provider. The one place that asks both, and the two name spaces never mix.

use std::sync::Arc;

use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, FederatedUser, Subject};
use crate::registry::{Registry, User};

/// The user, where there and not shut out. Somebody of a provider that is not configured any more,
/// or not as it was, is gone.
pub(crate) async fn find(
    core: &Core,
    registry: &Registry,
    sub: &str,
) -> Result<Option<Arc<User>>, Trouble> {
    if !FederatedUser::is_sub(sub) {
        return Ok(registry.local_user(sub).cloned());
    }
    let Some(stored) = record::load::<FederatedUser>(&*core.store, sub).await? else {
        return Ok(None);
    };
    let record = stored.record;
    let provider = registry.provider(&record.provider);
    let is_known = provider.is_some_and(|provider| {
        provider.issuer == record.issuer && !provider.blocked.contains(&record.upstream_sub)
    });
    Ok(is_known.then(|| Arc::new(user(registry, sub, record))))
}

/// The same of whoever has a grant. None for a client, too.
pub(crate) async fn of_subject(
    core: &Core,
    registry: &Registry,
    subject: &Subject,
) -> Result<Option<Arc<User>>, Trouble> {
    match subject {
        Subject::User(sub) => find(core, registry, sub).await,
        Subject::Client(_) => Ok(None),
    }
}

fn user(registry: &Registry, sub: &str, record: FederatedUser) -> User {
    // SECURITY: what a provider calls its people is never taken for the name of one of ours.
    let username = if registry.has_username(&record.username) {
        format!("{} ({})", record.username, record.provider)
    } else {
        record.username
    };
    User {
        sub: sub.to_owned(),
        username,
        password_hash: None,
        name: record.name,
        email: record.email,
        attributes: record.attributes,
        may_act: None,
        disabled: false,
    }
}
