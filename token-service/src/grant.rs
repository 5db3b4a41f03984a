//! The grants of the token endpoint, a file each, and what they share: one client, one request,
//! one answer.

mod approved;
mod authorization_code;
mod client_credentials;
mod device_code;
mod family;
mod jwt_bearer;
mod refresh_token;
mod token_exchange;

use oauth::Scope;
use serde::Serialize;

use crate::config::GrantType;
use crate::core::Core;
use crate::params::Params;
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{Client, Registry};

/// A request of a client that proved who it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) core: &'a Core,
    pub(crate) registry: &'a Registry,
    pub(crate) client: &'a Client,
    pub(crate) params: &'a Params,
    /// The thumbprint of the key that whoever asks has shown to have (RFC 9449).
    pub(crate) key: Option<&'a str>,
    /// Names the certificate of the connection (RFC 8705).
    pub(crate) certificate: Option<&'a str>,
}

/// RFC 6749 section 5.1. Holds secrets: no `Debug`.
#[derive(Serialize)]
pub(crate) struct TokenAnswer {
    access_token: String,
    /// RFC 8693 section 2.2.1, where a token was exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    token_type: &'static str,
    expires_in: u64,
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
}

/// Answers a token request.
pub(crate) async fn exchange(
    request: TokenRequest<'_>,
    grant_type: GrantType,
) -> Result<TokenAnswer, Refusal> {
    if !request.client.may_use(grant_type) {
        return Err(Refusal::Denied(
            ErrorCode::UnauthorizedClient,
            "the client is not registered for this grant type",
        ));
    }
    if request.client.only_bound && request.key.is_none() {
        return Err(Refusal::Denied(
            ErrorCode::InvalidDpopProof,
            "the client must send a DPoP proof",
        ));
    }
    if request.client.certificate_bound {
        check_certificate(request)?;
    }
    let answer = match grant_type {
        GrantType::AuthorizationCode => authorization_code::exchange(request).await,
        GrantType::ClientCredentials => client_credentials::exchange(request).await,
        GrantType::RefreshToken => refresh_token::exchange(request).await,
        GrantType::TokenExchange => token_exchange::exchange(request).await,
        GrantType::DeviceCode => device_code::exchange(request).await,
        GrantType::JwtBearer => jwt_bearer::exchange(request).await,
    }?;
    request.core.meter.issued(grant_type);
    Ok(answer)
}

/// RFC 8705 section 3, for a client whose tokens are bound to its certificate.
fn check_certificate(request: TokenRequest<'_>) -> Result<(), Refusal> {
    if request.certificate.is_none() {
        return Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "the client must show its certificate; see `mtls_endpoint_aliases`",
        ));
    }
    if request.key.is_some() {
        return Err(Refusal::Denied(
            ErrorCode::InvalidDpopProof,
            "the client's tokens are bound to its certificate, and to no key",
        ));
    }
    Ok(())
}

impl<'a> TokenRequest<'a> {
    /// Names the certificate that what is issued is bound to.
    fn binding_certificate(&self) -> Option<&'a str> {
        self.certificate.filter(|_| self.client.certificate_bound)
    }

    fn required(&self, name: &str, missing: &'static str) -> Result<&'a str, Refusal> {
        self.params
            .get(name)
            .ok_or(Refusal::Denied(ErrorCode::InvalidRequest, missing))
    }

    /// The requested scope, where one is requested.
    fn scope(&self) -> Result<Option<Scope>, Refusal> {
        self.params
            .get("scope")
            .map(Scope::parse)
            .transpose()
            .map_err(|_| Refusal::Denied(ErrorCode::InvalidScope, "the scope is malformed"))
    }

    /// The requested resources (RFC 8707): known ones, and of a grant that is restricted to some
    /// only those.
    fn resources(&self, granted: &[String]) -> Result<&'a [String], Refusal> {
        let requested = self.params.resources();
        let is_good = |id: &String| {
            self.registry.resource(id).is_some() && (granted.is_empty() || granted.contains(id))
        };
        if requested.iter().all(is_good) {
            return Ok(requested);
        }
        Err(Refusal::Denied(
            ErrorCode::InvalidTarget,
            "a resource is unknown, or the grant does not cover it",
        ))
    }
}

/// The one answer to every code or refresh token that is not good, whatever the cause.
fn invalid_grant() -> Refusal {
    Refusal::Denied(
        ErrorCode::InvalidGrant,
        "the code or refresh token is not valid, or not for this client",
    )
}

fn nothing_granted() -> Refusal {
    Refusal::Denied(ErrorCode::InvalidScope, "nothing of the scope is granted")
}
