//! What an exchanged token (RFC 8693) was exchanged from. A token is live only as long as every one of
//! these is: nothing has to be found and revoked when one of them ends.

use oauth::Origin;

use super::{Inactive, Live, standing};
use crate::core::Core;
use crate::error::Trouble;
use crate::registry::Registry;
use crate::token::Handle;

/// The token with its origins, if all of them stand.
pub(super) async fn with(
    core: &Core,
    registry: &Registry,
    mut live: Live,
) -> Result<Result<Live, Inactive>, Trouble> {
    let Some(exchanged) = &live.grant.exchanged else {
        return Ok(Ok(live));
    };
    for handle in &exchanged.origins {
        // INVARIANT: the list holds the origins of origins, too.
        let Ok(origin) = standing(core, registry, Handle::kept(handle)).await? else {
            return Ok(Err(Inactive::OriginEnded));
        };
        // What was made of a key is not more than the key, in whatever hands.
        let shown = origin.facts.api_key;
        live.facts.api_key = live.facts.api_key.or(shown);
        live.origins.push(Origin {
            token_ref: origin.token.token_ref,
            grant: origin.token.grant,
            client_id: origin.token.client_id,
        });
    }
    Ok(Ok(live))
}
