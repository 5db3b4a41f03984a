//! The library's client of one provider, and what it is given: names, secret, keys, nonce, verifier.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthType, Client, ClientId, ClientSecret, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields, IdTokenVerifier, Nonce,
    PkceCodeVerifier, RedirectUrl, StandardErrorResponse, StandardTokenResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service_kit::UnixTime;

use super::SKEW;
use crate::core::Core;
use crate::federation::endpoint;
use crate::provider::{self, Fault, Metadata, Provider};
use crate::secrets::Secrets;

/// Whatever a provider says beside the claims that have names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Further(Map<String, Value>);

impl AdditionalClaims for Further {}

type Fields = IdTokenFields<
    Further,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
pub(super) type Tokens = StandardTokenResponse<Fields, CoreTokenType>;
pub(super) type OidcClient = Client<
    Further,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Labels of what is made from `state`.
const NONCE: &str = "federation nonce";
const VERIFIER: &str = "federation verifier";

/// The client of a provider, as it describes itself now.
pub(super) fn client(
    core: &Core,
    provider: &Provider,
    metadata: &Metadata,
) -> Result<OidcClient, Fault> {
    let redirect = RedirectUrl::new(endpoint(core, provider, "callback"))
        .map_err(|_| Fault::Down("the issuer of this service is no URL"))?;
    let methods = metadata.token_endpoint_auth_methods_supported();
    // OpenID Connect Discovery section 3: `client_secret_basic` where it does not say.
    let is_basic = methods.is_none_or(|all| all.contains(&CoreClientAuthMethod::ClientSecretBasic));
    let secret = ClientSecret::new(provider.client_secret.reveal().to_owned());
    let id = ClientId::new(provider.client_id.clone());
    let client = OidcClient::from_provider_metadata(metadata.clone(), id, Some(secret));
    Ok(client
        .set_redirect_uri(redirect)
        .set_auth_type(if is_basic {
            AuthType::BasicAuth
        } else {
            AuthType::RequestBody
        }))
}

/// What checks its ID tokens.
pub(super) fn id_token_verifier<'a>(
    provider: &Provider,
    metadata: &Metadata,
    now: UnixTime,
) -> IdTokenVerifier<'a, CoreJsonWebKey> {
    let at = UNIX_EPOCH + Duration::from_secs(now.as_secs());
    // Public: no secret, and so no signature by one.
    IdTokenVerifier::new_public_client(
        ClientId::new(provider.client_id.clone()),
        metadata.issuer().clone(),
        metadata.jwks().clone(),
    )
    .set_allowed_algs(provider::algorithms(metadata))
    .set_time_fn(move || at.into())
    .set_issue_time_verifier_fn(move |issued| {
        if seconds(issued.timestamp()) <= now.plus(SKEW) {
            Ok(())
        } else {
            Err("it was made in the future".into())
        }
    })
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

/// Nothing was before 1970.
pub(super) fn seconds(timestamp: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(timestamp).unwrap_or_default())
}
