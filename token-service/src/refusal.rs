//! "No" in OAuth's words: a closed set of codes, each with a text that is fit for strangers.

use std::time::Duration;

use authzen::DecisionError;
use service_kit::random::RandomError;
use store::StoreError;

use crate::error::Trouble;

/// Error codes of RFC 6749, 7009, 7591, 8628, 8707, 9101, 9449 and OpenID Connect, as far as they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    InvalidDpopProof,
    UseDpopNonce,
    AccessDenied,
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    LoginRequired,
    ConsentRequired,
    RequestNotSupported,
    RequestUriNotSupported,
    InvalidRequestUri,
    RegistrationNotSupported,
    InvalidRedirectUri,
    InvalidClientMetadata,
    ServerError,
    TemporarilyUnavailable,
}

/// Why a request is not granted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request, or whoever sent it, is at fault. The text is a constant, so that nothing of
    /// the request can come back in it.
    Denied(ErrorCode, &'static str),
    /// The body is longer than anything that belongs here.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// Asked for too often; how long it is counted.
    TooMany(Duration),
    /// Nothing is known.
    Trouble(Trouble),
}

impl ErrorCode {
    /// The word on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidToken => "invalid_token",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::AccessDenied => "access_denied",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

impl Trouble {
    /// What the other side is told.
    pub(crate) fn code(&self) -> ErrorCode {
        if self.is_outage() {
            ErrorCode::TemporarilyUnavailable
        } else {
            ErrorCode::ServerError
        }
    }
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<DecisionError> for Refusal {
    fn from(error: DecisionError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<RandomError> for Refusal {
    fn from(error: RandomError) -> Self {
        Self::Trouble(error.into())
    }
}
