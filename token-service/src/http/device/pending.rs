//! The device's request that a typed code leads to, and the one answer to it.

use store::Batch;

use crate::config::GrantType;
use crate::core::Core;
use crate::error::Trouble;
use crate::record::{self, DeviceCode, DeviceState, UserCodeUse};
use crate::token::Handle;

/// A request that waits for a person.
pub(super) struct Pending {
    user_code: Handle,
    /// Handle of the device code.
    device: String,
    pub(super) code: DeviceCode,
}

/// Attempts against polls of the device, each of which changes the record.
const ATTEMPTS: usize = 16;

/// The request, where it waits, lives, and its client may still use it.
pub(super) async fn find(core: &Core, user_code: &Handle) -> Result<Option<Pending>, Trouble> {
    let Some(used) = record::load::<UserCodeUse>(&*core.store, user_code.as_str()).await? else {
        return Ok(None);
    };
    let device = used.record.device;
    let stored = record::load::<DeviceCode>(&*core.store, &device).await?;
    let found = stored.map(|stored| stored.record);
    Ok(found
        .filter(|code| is_pending(core, code))
        .map(|code| Pending {
            user_code: user_code.clone(),
            device,
            code,
        }))
}

/// Writes the answer, and takes the user code out of use. False: it was answered, or has expired,
/// since it was found.
pub(super) async fn settle(
    core: &Core,
    pending: &Pending,
    state: DeviceState,
) -> Result<bool, Trouble> {
    let key = record::key::<DeviceCode>(&pending.device);
    for _ in 0..ATTEMPTS {
        let Some(stored) = record::load::<DeviceCode>(&*core.store, &pending.device)
            .await?
            .filter(|stored| is_pending(core, &stored.record))
        else {
            return Ok(false);
        };
        let answered = DeviceCode {
            state: state.clone(),
            ..stored.record
        };
        let keep = Some(answered.keep(core.now()));
        let batch = Batch::new()
            .replace(&key, stored.bytes, record::encode(&answered)?, keep)
            .delete(record::key::<UserCodeUse>(pending.user_code.as_str()));
        if core.store.commit(batch).await?.is_applied() {
            return Ok(true);
        }
    }
    Err(Trouble::Busy)
}

fn is_pending(core: &Core, code: &DeviceCode) -> bool {
    let registry = core.registry();
    let client = registry.client(&code.client_id);
    code.state == DeviceState::Pending
        && core.now() < code.exp
        && client.is_some_and(|client| client.may_use(GrantType::DeviceCode))
}
