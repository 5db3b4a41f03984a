//! Taking back what was given. The state and the event are one write: when the caller hears
//! that it is revoked, it is durable, and every gateway that follows the log will hear it too.

use bytes::Bytes;
use oauth::TokenEvent;
use store::{Batch, Commit};

use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, AccessToken, Grant, GrantState, Stored, TokenReference};
use crate::token::Handle;

/// Attempts against other writers before giving up.
const ATTEMPTS: usize = 16;

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
    for _ in 0..ATTEMPTS {
        let Some(stored) = record::load::<Grant>(&*core.store, id).await? else {
            return Ok(());
        };
        if stored.record.state == GrantState::Revoked {
            return Ok(());
        }
        let Stored { mut record, bytes } = stored;
        record.state = GrantState::Revoked;
        let ttl = Some(record::keep_until(record.exp, core.now()));
        let batch = Batch::new()
            .replace(
                record::key::<Grant>(id),
                bytes,
                record::encode(&record)?,
                ttl,
            )
            .append(&core.event_log, event.clone());
        if core.store.commit(batch).await? == Commit::Applied {
            core.meter.revoked("grant");
            audit!(
                "grant_revoked",
                grant = id,
                client = record.client_id,
                reason = reason
            );
            return Ok(());
        }
    }
    Err(Trouble::Record {
        message: "a grant changes all the time".into(),
    })
}

/// As events stand in the log.
pub(crate) fn encode(event: &TokenEvent) -> Result<Bytes, Trouble> {
    serde_json::to_vec(event)
        .map(Bytes::from)
        .map_err(|error| Trouble::Record {
            message: error.to_string(),
        })
}
