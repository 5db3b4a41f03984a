//! Why a caller's token is refused: for the log. The asker learns nothing of it.

use jose::Fault;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenFault {
    #[error(transparent)]
    Jws(#[from] Fault),
    #[error("nobody is configured for its `iss`")]
    UnknownIssuer,
    #[error("a claim is missing or of the wrong type")]
    Claim,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("no caller is configured for its claims")]
    NoCaller,
    #[error("more than one caller is configured for its claims")]
    ManyCallers,
}
