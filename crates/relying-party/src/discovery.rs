//! What a provider says of itself (OpenID Connect Discovery) and its keys: asked for when needed, kept
//! for a while, and asked for again where a signature is by a key that is not known.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jose::KeySet;
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
    CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, DiscoveryError, IssuerUrl, ProviderMetadata};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::{Fault, Http, HttpError};

/// Metadata, with what the library does not read.
pub type Metadata = ProviderMetadata<
    Further,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// See [`Metadata`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Further {
    /// OpenID Connect RP-Initiated Logout.
    pub end_session_endpoint: Option<Url>,
    /// RFC 9207.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Further {}

/// What is known of one provider.
#[derive(Debug, Default)]
pub(crate) struct Discovered(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    said: Option<(Instant, Arc<Metadata>)>,
    /// The last time that it could not be asked.
    failed: Option<(Instant, Fault)>,
}

/// It is asked again after so long.
const KEEP: Duration = Duration::from_hours(1);

/// Whoever comes so soon after a failure is not kept waiting for another.
const FAILED: Duration = Duration::from_secs(3);

/// Not more often than this, whatever comes with keys that nobody knows.
const AGAIN: Duration = Duration::from_mins(1);

impl Discovered {
    /// What the provider says, at most an hour old.
    pub(crate) async fn known(&self, http: &Http, issuer: &str) -> Result<Arc<Metadata>, Fault> {
        self.not_older(http, issuer, KEEP).await
    }

    /// The same, asked for again because a key is missing in it.
    pub(crate) async fn renewed(&self, http: &Http, issuer: &str) -> Result<Arc<Metadata>, Fault> {
        self.not_older(http, issuer, AGAIN).await
    }

    async fn not_older(
        &self,
        http: &Http,
        issuer: &str,
        age: Duration,
    ) -> Result<Arc<Metadata>, Fault> {
        // Held while it is asked: whoever comes meanwhile waits for the same answer.
        let mut known = self.0.lock().await;
        if let Some((at, metadata)) = &known.said
            && at.elapsed() < age
        {
            return Ok(Arc::clone(metadata));
        }
        if let Some((at, fault)) = known.failed
            && at.elapsed() < FAILED
        {
            return Err(fault);
        }
        match discover(http, issuer).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                known.said = Some((Instant::now(), Arc::clone(&metadata)));
                Ok(metadata)
            }
            Err(fault) => {
                known.failed = Some((Instant::now(), fault));
                Err(fault)
            }
        }
    }
}

async fn discover(http: &Http, issuer: &str) -> Result<Metadata, Fault> {
    let issuer = IssuerUrl::new(issuer.to_owned()).map_err(|_| Fault::Down("its issuer"))?;
    let metadata = Metadata::discover_async(issuer, http)
        .await
        .map_err(|error| Fault::Down(reason(&error)))?;
    if metadata.token_endpoint().is_none() {
        return Err(Fault::Down("it has no token endpoint"));
    }
    if !http.is_acceptable(metadata.authorization_endpoint().url()) {
        return Err(Fault::Down("its authorization endpoint is not `https`"));
    }
    Ok(metadata)
}

/// Those of its algorithms by which a signature proves who made it: never a shared secret, never none.
pub(crate) fn algorithms(metadata: &Metadata) -> HashSet<CoreJwsSigningAlgorithm> {
    use CoreJwsSigningAlgorithm as Alg;
    let good = [
        Alg::RsaSsaPkcs1V15Sha256,
        Alg::RsaSsaPssSha256,
        Alg::EcdsaP256Sha256,
        Alg::EcdsaP384Sha384,
        Alg::EdDsa,
    ];
    let offered = metadata.id_token_signing_alg_values_supported();
    good.into_iter()
        .filter(|alg| offered.contains(alg))
        .collect()
}

/// Its keys, for what the library does not read.
pub(crate) fn keys(metadata: &Metadata) -> Result<KeySet, Fault> {
    let text = serde_json::to_vec(metadata.jwks()).unwrap_or_default();
    KeySet::parse(&text).map_err(|_| Fault::Invalid("its keys cannot be used"))
}

fn reason(error: &DiscoveryError<HttpError>) -> &'static str {
    match error {
        DiscoveryError::Request(error) => error.reason(),
        DiscoveryError::Response(..) => "its discovery document or keys are not served",
        DiscoveryError::Validation(_) => "its discovery document is another issuer's",
        DiscoveryError::Parse(_) => "its discovery document or keys cannot be read",
        _ => "its discovery document cannot be asked for",
    }
}
