//! What the library's client of a provider is given: where browsers come back to, nonce and verifier.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::{Nonce, PkceCodeVerifier};
use relying_party::{Metadata, OidcClient};

use crate::core::Core;
use crate::federation::endpoint;
use crate::provider::{Fault, Provider};
use crate::secrets::Secrets;

/// Labels of what is made from `state`.
const NONCE: &str = "federation nonce";
const VERIFIER: &str = "federation verifier";

/// The client of a provider, as it describes itself now.
pub(super) fn client(
    core: &Core,
    provider: &Provider,
    metadata: &Metadata,
) -> Result<OidcClient, Fault> {
    let redirect_uri = endpoint(core, provider, "callback");
    provider.party.client(metadata, redirect_uri)
}

/// Of the login that `state` names.
pub(super) fn nonce(secrets: &Secrets, state: &str) -> Nonce {
    let made = secrets.successor(NONCE, "", state);
    Nonce::new(URL_SAFE_NO_PAD.encode(*made))
}

/// See [`nonce`].
pub(super) fn verifier(secrets: &Secrets, state: &str) -> PkceCodeVerifier {
    let made = secrets.successor(VERIFIER, "", state);
    PkceCodeVerifier::new(URL_SAFE_NO_PAD.encode(*made))
}
