//! Why a token is not taken, for the log, and why nothing is known of one. The caller learns neither.

use jose::Fault;
use oauth::IntrospectionError;

/// Why a token is nobody's here. The texts are of a closed set: what a token says is repeated nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenFault {
    #[error(transparent)]
    Jws(#[from] Fault),
    #[error("its `alg` is not one of `algorithms`")]
    Algorithm,
    #[error("its `iss` is another issuer")]
    Issuer,
    #[error("`{0}` is missing, or of another type")]
    Claim(&'static str),
    #[error("the claim that `subject.{0}` names is missing, or of another type")]
    Mapped(&'static str),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it lives longer than `max_lifetime_secs`")]
    Lifetime,
    #[error("it is for another audience")]
    Audience,
    #[error("it is an ID token or a logout token, and no access token")]
    NoAccessToken,
    #[error("its `cnf` asks for a proof that is not known here")]
    Confirmation,
    #[error("a claim of `require` is missing, or has another value")]
    Required,
    #[error("its subject or client is in another issuer's name space")]
    Namespace,
    #[error("its claims are too long")]
    TooLong,
}

/// Why nothing can be said about a token. Deliberately exhaustive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error(transparent)]
    TokenService(IntrospectionError),
    #[error("the keys of issuer `{0}` are not known")]
    Keys(String),
    /// A key is not known, and nobody can be asked for new ones.
    #[error("issuer `{0}` cannot be asked for a new key")]
    NewKey(String),
    #[error("the introspection endpoint of issuer `{issuer}`: {why}")]
    Introspection { issuer: String, why: Unasked },
    #[error("issuer `{0}` did not answer in time")]
    Timeout(String),
    /// The asking ended without an answer.
    #[error("the question was dropped")]
    Dropped,
}

/// Why an introspection endpoint has not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unasked {
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("it does not answer in time")]
    Timeout,
    /// Our credential, or our right to ask.
    #[error("it refuses us: status {0}")]
    Refused(u16),
    #[error("it fails: status {0}")]
    Failed(u16),
    #[error("its answer is too long")]
    TooLong,
    #[error("its answer is none of RFC 7662")]
    Malformed,
}
