//! How a token was presented, and why a proof beside it was not taken: what is said of a request to
//! whoever sent it, in the log and in metrics.

use oauth::DpopFault;

/// How a token is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750 section 2.1: whoever has it may use it.
    Bearer,
    /// In the header that is configured for API keys: whoever has one may use it.
    ApiKey,
    /// RFC 9449 section 7.1: beside it there is a proof of the key that it is bound to.
    Dpop,
}

/// Why a proof is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    #[error("there is no DPoP proof")]
    Missing,
    #[error(transparent)]
    Fault(#[from] DpopFault),
    #[error("the proof must repeat the nonce of this answer")]
    Nonce,
    #[error("the proof was used before")]
    Used,
}

impl Unproven {
    /// As challenges, metrics and logs name it (RFC 9449 sections 7.1 and 9).
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Nonce => "use_dpop_nonce",
            Self::Missing | Self::Fault(_) | Self::Used => "invalid_dpop_proof",
        }
    }
}
