//! Logout tokens of a provider (OpenID Connect Back-Channel Logout 1.0): each is good once.

use relying_party::{Farewell, LOGOUT_TOKEN_LIFE};

use super::Stop;
use crate::core::Core;
use crate::provider::{Fault, Provider};
use crate::record::{self, LogoutTokenUse};

/// What a logout token says that has not come before.
pub(crate) async fn told(core: &Core, provider: &Provider, token: &str) -> Result<Farewell, Stop> {
    let now = core.now();
    let farewell = provider.party.farewell(token, now).await?;
    let exp = farewell.at.plus(LOGOUT_TOKEN_LIFE);
    let id = LogoutTokenUse::id(&provider.id, &farewell.jti);
    if record::keep_new(&*core.store, &id, &LogoutTokenUse { exp }, exp, now).await? {
        Ok(farewell)
    } else {
        Err(Fault::Invalid("the logout token has come before").into())
    }
}
