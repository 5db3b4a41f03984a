//! Who we are to one provider, and what it says of itself.

use std::sync::Arc;

use openidconnect::core::{CoreClientAuthMethod, CoreJsonWebKey};
use openidconnect::{AuthType, ClientId, ClientSecret, IdTokenVerifier, RedirectUrl};
use reqwest::Certificate;
use service_kit::{Secret, UnixTime};
use url::Url;

use crate::discovery::{Discovered, algorithms};
use crate::{Fault, Http, Metadata, OidcClient, SKEW, seconds};

/// A client of one provider.
#[derive(Debug)]
pub struct RelyingParty {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) http: Http,
    discovered: Discovered,
}

impl RelyingParty {
    /// `trusted`: the certificates that are believed there; none: the system's. None: no HTTP client can
    /// be made, for they cannot be used.
    pub fn new(
        issuer: &Url,
        written: &str,
        (client_id, client_secret): (&str, Secret),
        trusted: Option<Vec<Certificate>>,
    ) -> Option<Self> {
        Some(Self {
            issuer: written.to_owned(),
            client_id: client_id.to_owned(),
            client_secret,
            http: Http::new(issuer, trusted)?,
            discovered: Discovered::default(),
        })
    }

    /// To the letter, as configuration has it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Whether the browser, or we, may be sent there.
    pub fn is_acceptable(&self, url: &Url) -> bool {
        self.http.is_acceptable(url)
    }

    /// What the provider says of itself, at most an hour old.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, Fault> {
        self.discovered.known(&self.http, &self.issuer).await
    }

    /// The same, asked for again because a key is missing in it.
    pub(crate) async fn renewed_metadata(&self) -> Result<Arc<Metadata>, Fault> {
        self.discovered.renewed(&self.http, &self.issuer).await
    }

    /// The library's client, by what the provider says now.
    pub fn client(&self, metadata: &Metadata, redirect_uri: String) -> Result<OidcClient, Fault> {
        let redirect = RedirectUrl::new(redirect_uri)
            .map_err(|_| Fault::Down("our own redirect URI is no URL"))?;
        let methods = metadata.token_endpoint_auth_methods_supported();
        // OpenID Connect Discovery section 3: `client_secret_basic` where it does not say.
        let is_basic =
            methods.is_none_or(|all| all.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let secret = ClientSecret::new(self.client_secret.reveal().to_owned());
        let id = ClientId::new(self.client_id.clone());
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
    pub(crate) fn id_token_verifier<'a>(
        &self,
        metadata: &Metadata,
        now: UnixTime,
    ) -> IdTokenVerifier<'a, CoreJsonWebKey> {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
        // Public: no secret, and so no signature by one.
        IdTokenVerifier::new_public_client(
            ClientId::new(self.client_id.clone()),
            metadata.issuer().clone(),
            metadata.jwks().clone(),
        )
        .set_allowed_algs(algorithms(metadata))
        .set_time_fn(move || at.into())
        .set_issue_time_verifier_fn(move |issued| {
            if seconds(issued.timestamp()) <= now.plus(SKEW) {
                Ok(())
            } else {
                Err("it was made in the future".into())
            }
        })
    }
}
