//! Logging out at the provider, too (OpenID Connect RP-Initiated Logout 1.0): where the browser is sent
//! once it is logged out here.

use url::Url;

use super::endpoint;
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::provider::Provider;
use crate::record::{self, Upstream, UpstreamLogout};
use crate::token::Kind;

/// What an ID token is sealed as.
pub(super) const HINT: &str = "upstream id token";

/// Where the browser goes. None: the provider is not to be told, or cannot be. `target`: where it goes in
/// the end, and the `state` for there.
pub(crate) async fn onward(
    core: &Core,
    provider: &Provider,
    upstream: &Upstream,
    target: Option<(&str, Option<&str>)>,
) -> Result<Option<Url>, Trouble> {
    if !provider.logs_out {
        return Ok(None);
    }
    let metadata = match provider.party.metadata().await {
        Ok(metadata) => metadata,
        Err(fault) => {
            audit!(
                "upstream_logout_failed",
                provider = provider.id,
                reason = fault
            );
            return Ok(None);
        }
    };
    let place = metadata.additional_metadata().end_session_endpoint.clone();
    let Some(mut url) = place.filter(|url| provider.party.is_acceptable(url)) else {
        return Ok(None);
    };
    let hint = core.secrets.open(HINT, &upstream.id_token);
    let state = match target {
        Some((target, state)) => Some(keep(core, target, state).await?),
        None => None,
    };
    let mut query = url.query_pairs_mut();
    query.append_pair("client_id", provider.party.client_id());
    let back = endpoint(core, provider, "logged_out");
    query.append_pair("post_logout_redirect_uri", &back);
    if let Some(hint) = hint.filter(|hint| !hint.is_empty()) {
        query.append_pair("id_token_hint", &hint);
    }
    if let Some(state) = state {
        query.append_pair("state", &state);
    }
    drop(query);
    Ok(Some(url))
}

/// The `state` that the browser comes back with.
async fn keep(core: &Core, target: &str, state: Option<&str>) -> Result<String, Trouble> {
    let minted = Kind::UpstreamLogout.mint(&core.secrets)?;
    let kept = UpstreamLogout {
        target: target.to_owned(),
        state: state.map(str::to_owned),
        exp: core.now().plus(core.ttl.interaction),
    };
    let name = minted.handle.as_str();
    record::keep(&*core.store, name, &kept, kept.exp, core.now()).await?;
    Ok(minted.reveal().to_owned())
}
