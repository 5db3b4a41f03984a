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
    Page,
}

impl Limited {
    fn name(self) -> &'static str {
        match self {
            Self::DeviceAuthorization => "device-authorizations",
            Self::PushedRequest => "pushed-requests",
            Self::Proof => "proofs",
            Self::Page => "pages",
        }
    }

    fn most(self, limits: &LimitsConfig) -> u64 {
        match self {
            Self::DeviceAuthorization => limits.device_authorizations,
            Self::PushedRequest => limits.pushed_requests,
            Self::Proof => limits.proofs,
            Self::Page => limits.pages,
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
    count(core, parts, what, Some(client)).await
}

/// Counts what a browser asks for, whatever the client: it need not be there at all.
pub(super) async fn check_browser(
    core: &Core,
    parts: &Parts,
    what: Limited,
) -> Result<(), Refusal> {
    count(core, parts, what, None).await
}

async fn count(
    core: &Core,
    parts: &Parts,
    what: Limited,
    client: Option<&Client>,
) -> Result<(), Refusal> {
    let network = request::peer_network(parts);
    let name = client.map(|client| digest::sha256_base64url(client.id.as_bytes()));
    let name = name.unwrap_or_default();
    let key = format!("{}:{network}:{name}", what.name());
    let window = Duration::from_secs(core.limits.window_secs);
    if core.store.count(&key, window).await? <= what.most(&core.limits) {
        return Ok(());
    }
    audit!(
        "limited",
        what = what.name(),
        client = client.map_or("", |client| client.id.as_str()),
        address = network
    );
    Err(Refusal::TooMany(window))
}
