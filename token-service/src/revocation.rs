//! Taking back what was given. The state and the event are one write: when the caller hears
//! that it is revoked, it is durable, and every gateway that follows the log will hear it too.

use bytes::Bytes;
use oauth::TokenEvent;
use store::Batch;

use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, AccessToken, Change, Grant, GrantState, TokenReference};
use crate::token::Handle;

/// Revokes one access token.
pub(crate) async fn revoke_access_token(
    core: &Core,
    handle: &Handle,
    token: &AccessToken,
) -> Result<(), Trouble> {
    let event = TokenEvent::TokenRevoked {
        token_ref: token.token_ref.clone(),
    };
    let batch = Batch::new()
        .delete(record::key::<AccessToken>(handle.as_str()))
        .delete(record::key::<TokenReference>(&token.token_ref))
        .append(&core.event_log, encode(&event)?);
    // Unconditional: nothing in it can conflict.
    let _ = core.store.commit(batch).await?;
    core.meter.revoked("access_token");
    audit!(
        "token_revoked",
        token_ref = token.token_ref,
        client = token.client_id
    );
    Ok(())
}

/// Revokes a grant and with it every token of its family. Idempotent.
pub(crate) async fn revoke_grant(core: &Core, id: &str, reason: &str) -> Result<(), Trouble> {
    let event = encode(&TokenEvent::GrantRevoked {
        grant: id.to_owned(),
    })?;
    let revoked = record::change::<Grant>(&*core.store, id, |before| {
        let before = before.filter(|before| before.state != GrantState::Revoked)?;
        let revoked = Grant {
            state: GrantState::Revoked,
            ..before.clone()
        };
        let keep = record::keep_until(revoked.exp, core.now());
        let mut change = Change::of(revoked, keep);
        change.also = change.also.append(&core.event_log, event.clone());
        Some(change)
    });
    if let Some(revoked) = revoked.await? {
        core.meter.revoked("grant");
        audit!(
            "grant_revoked",
            grant = id,
            client = revoked.client_id,
            reason = reason
        );
    }
    Ok(())
}

/// As events stand in the log.
pub(crate) fn encode(event: &TokenEvent) -> Result<Bytes, Trouble> {
    serde_json::to_vec(event)
        .map(Bytes::from)
        .map_err(|error| Trouble::Record {
            message: error.to_string(),
        })
}
