//! How often may be asked for what anybody may ask for: each leaves something in the store, and a
//! public client's name is no secret.

use std::time::Duration;

use http::request::Parts;
use service_kit::digest;

use super::request;
use crate::audit::audit;
use crate::config::LimitsConfig;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::registry::Client;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limited {
    DeviceAuthorization,
    PushedRequest,
    Proof,
}

impl Limited {
    fn name(self) -> &'static str {
        match self {
            Self::DeviceAuthorization => "device-authorizations",
            Self::PushedRequest => "pushed-requests",
            Self::Proof => "proofs",
        }
    }

    fn most(self, limits: &LimitsConfig) -> u64 {
        match self {
            Self::DeviceAuthorization => limits.device_authorizations,
            Self::PushedRequest => limits.pushed_requests,
            Self::Proof => limits.proofs,
        }
    }
}

/// Counts the request of a client without a credential.
pub(super) async fn check(
    core: &Core,
    parts: &Parts,
    what: Limited,
    client: &Client,
) -> Result<(), Refusal> {
    if !client.is_public() {
        return Ok(());
    }
    let network = request::peer_network(parts);
    let name = digest::sha256_base64url(client.id.as_bytes());
    let key = format!("{}:{network}:{name}", what.name());
    let window = Duration::from_secs(core.limits.window_secs);
    if core.store.count(&key, window).await? <= what.most(&core.limits) {
        return Ok(());
    }
    audit!(
        "limited",
        what = what.name(),
        client = client.id,
        address = network
    );
    Err(Refusal::TooMany(window))
}
