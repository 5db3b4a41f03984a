//! The device's request that a typed code leads to, and the one answer to it.

use store::Batch;

use crate::clients;
use crate::config::GrantType;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, DeviceCode, DeviceState, Stored, UserCodeUse};
use crate::token::Handle;

/// A request that waits for a person.
pub(super) struct Pending {
    user_code: Handle,
    /// Handle of the device code.
    device: String,
    stored: Stored<DeviceCode>,
}

impl Pending {
    pub(super) fn code(&self) -> &DeviceCode {
        &self.stored.record
    }
}

/// The request, where it waits, lives, and its client may still use it.
pub(super) async fn find(core: &Core, user_code: &Handle) -> Result<Option<Pending>, Trouble> {
    let Some(used) = record::load::<UserCodeUse>(&*core.store, user_code.as_str()).await? else {
        return Ok(None);
    };
    let device = used.record.device;
    let stored = record::load::<DeviceCode>(&*core.store, &device).await?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    Ok(is_pending(core, &stored.record).await?.then(|| Pending {
        user_code: user_code.clone(),
        device,
        stored,
    }))
}

/// Writes the answer, and takes the user code out of use. False: somebody else has answered since
/// it was found.
pub(super) async fn settle(
    core: &Core,
    pending: &Pending,
    state: DeviceState,
) -> Result<bool, Trouble> {
    let answered = DeviceCode {
        state,
        ..pending.stored.record.clone()
    };
    let batch = Batch::new()
        .replace(
            record::key::<DeviceCode>(&pending.device),
            pending.stored.bytes.clone(),
            record::encode(&answered)?,
            Some(answered.keep(core.now())),
        )
        .delete(record::key::<UserCodeUse>(pending.user_code.as_str()));
    Ok(core.store.commit(batch).await?.is_applied())
}

async fn is_pending(core: &Core, code: &DeviceCode) -> Result<bool, Trouble> {
    if code.state != DeviceState::Pending || core.now() >= code.exp {
        return Ok(false);
    }
    let client = clients::find(core, &core.registry(), &code.client_id).await?;
    Ok(client.is_some_and(|client| client.may_use(GrantType::DeviceCode)))
}
