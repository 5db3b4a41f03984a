//! Logging in elsewhere: this service as the client of other OpenID providers, with the library
//! `openidconnect`. What a provider says is believed of its own people alone, once every check of the
//! protocol has held; whoever does not answer lets nobody in.

mod arrival;
mod backchannel;
mod claims;
mod flow;
mod logins;
mod logout;

pub(crate) use arrival::{Arrived, arrive};
pub(crate) use backchannel::told;
pub(crate) use flow::{Begun, Returned, begin};
pub(crate) use logins::{end, leads_to};
pub(crate) use logout::onward;
pub(crate) use relying_party::Farewell;

use crate::core::Core;
use crate::error::Trouble;
use crate::provider::{Fault, Provider};

/// Why nobody is logged in: for a reason, or because we do not know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// Where a provider sends browsers back to.
fn endpoint(core: &Core, provider: &Provider, name: &str) -> String {
    core.issuer
        .endpoint(&format!("/federation/{}/{name}", provider.id))
}
