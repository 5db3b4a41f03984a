//! Why a request is refused, and what is said of that: a reason for metrics and logs, a status, and a text from a closed
//! set. Why a policy denied, or how a backend failed, goes to the log.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;

use super::login::departure::Departure;
use super::presented::Unproven;
use crate::cache::verdict::Verdict;
use crate::canonical::Ambiguity;
use crate::values::Unread;

/// Why a request is not forwarded, or its answer not passed on.
#[derive(Debug)]
pub(crate) enum Refusal {
    Ambiguous(Ambiguity),
    /// The connection is for another host than the request.
    Misdirected,
    NotFound,
    MethodNotAllowed {
        allow: HeaderValue,
    },
    /// The route takes no WebSocket.
    UpgradeNotAllowed,
    /// A WebSocket on a stream is one connection more, and there are as many as there may be.
    TooManyConnections,
    NoCredentials,
    TwoCredentials,
    MalformedToken,
    InvalidToken,
    /// It came alone, and is bound to a key.
    BoundToKey,
    /// Of which nothing is shown here.
    BoundToCertificate,
    /// The connection's is another one.
    OtherCertificate,
    /// It is bound to no certificate, and came to a route that wants that.
    UncertifiedToken,
    /// It is bound to no key, and came as one that is, or to a route that wants one.
    UnboundToken,
    /// Its proof is of another key than the one that it is bound to.
    OtherKey,
    /// The proof beside it is none.
    Unproven(Unproven),
    /// Nobody knows whether the proof was used before.
    ProofStoreUnavailable,
    InsufficientScope {
        route: usize,
    },
    /// A browser is sent to where it can log in.
    LogIn(Box<Departure>),
    /// The cookie is of no session that lasts.
    SessionEnded,
    /// A session's cookie came with what a page of another site has sent.
    CrossSite,
    /// Pages of that origin may not send what a browser asks for.
    CrossOrigin,
    /// Nobody knows whether there is such a session, or it cannot be written.
    SessionStoreUnavailable,
    /// A provider's logout token does not hold, or has come before.
    LogoutToken,
    /// The login behind the token is not what the route wants (RFC 9470).
    WeakLogin,
    /// Nor what the decision wants: one of its conditions.
    LoginWanted {
        verdict: Rc<Verdict>,
        which: usize,
    },
    /// Under a limit that the decision names.
    TooOften {
        retry: Duration,
    },
    /// Nobody knows how often there was.
    RateUnknown,
    Denied,
    Obligation,
    /// Whoever asks may not ask for others.
    UntrustedProxy,
    /// It does not say, or not clearly, what the question is about.
    Unread(Unread),
    TokenServiceUnavailable,
    /// The issuer of the token, beside the token service.
    IssuerUnavailable,
    DecisionPointUnavailable,
    RequestTimeout,
    /// As many requests are under way there as may be, and too many wait.
    UpstreamFull,
    /// Nowhere does it run well enough to be sent anything.
    UpstreamUnhealthy,
    UpstreamFailed,
    UpstreamTimeout,
    Unmaskable(&'static str),
}

/// Every reason, as metrics and logs name it.
pub(crate) const REASONS: &[&str] = &[
    "ambiguous",
    "too_large",
    "misdirected",
    "not_found",
    "method_not_allowed",
    "upgrade_not_allowed",
    "too_many_connections",
    "no_credentials",
    "two_credentials",
    "malformed_token",
    "invalid_token",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "proof_store_unavailable",
    "login",
    "session_ended",
    "cross_site",
    "cross_origin",
    "session_store_unavailable",
    "logout_token",
    "insufficient_scope",
    "insufficient_user_authentication",
    "denied",
    "obligation",
    "too_many_requests",
    "rate_unknown",
    "untrusted_proxy",
    "unread",
    "token_service_unavailable",
    "issuer_unavailable",
    "decision_point_unavailable",
    "request_timeout",
    "upstream_full",
    "upstream_unhealthy",
    "upstream_failed",
    "upstream_timeout",
    "unmaskable",
];

impl Refusal {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Ambiguous(Ambiguity::TargetTooLong | Ambiguity::BodyTooLarge)
            | Self::Unread(Unread::TooLarge) => "too_large",
            Self::Ambiguous(_) => "ambiguous",
            Self::Misdirected => "misdirected",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::UpgradeNotAllowed => "upgrade_not_allowed",
            Self::TooManyConnections => "too_many_connections",
            Self::NoCredentials => "no_credentials",
            Self::TwoCredentials => "two_credentials",
            Self::MalformedToken => "malformed_token",
            Self::InvalidToken
            | Self::BoundToKey
            | Self::BoundToCertificate
            | Self::OtherCertificate
            | Self::UncertifiedToken
            | Self::UnboundToken
            | Self::OtherKey => "invalid_token",
            Self::Unproven(unproven) => unproven.code(),
            Self::ProofStoreUnavailable => "proof_store_unavailable",
            Self::LogIn(_) => "login",
            Self::SessionEnded => "session_ended",
            Self::CrossSite => "cross_site",
            Self::CrossOrigin => "cross_origin",
            Self::SessionStoreUnavailable => "session_store_unavailable",
            Self::LogoutToken => "logout_token",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::WeakLogin | Self::LoginWanted { .. } => "insufficient_user_authentication",
            Self::TooOften { .. } => "too_many_requests",
            Self::RateUnknown => "rate_unknown",
            Self::Denied => "denied",
            Self::Obligation => "obligation",
            Self::UntrustedProxy => "untrusted_proxy",
            Self::Unread(_) => "unread",
            Self::TokenServiceUnavailable => "token_service_unavailable",
            Self::IssuerUnavailable => "issuer_unavailable",
            Self::DecisionPointUnavailable => "decision_point_unavailable",
            Self::RequestTimeout => "request_timeout",
            Self::UpstreamFull => "upstream_full",
            Self::UpstreamUnhealthy => "upstream_unhealthy",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Unmaskable(_) => "unmaskable",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Ambiguous(ambiguity) => match ambiguity {
                Ambiguity::TargetTooLong => StatusCode::URI_TOO_LONG,
                Ambiguity::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Ambiguity::Expectation => StatusCode::EXPECTATION_FAILED,
                Ambiguity::Method => StatusCode::METHOD_NOT_ALLOWED,
                Ambiguity::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            },
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Unread(Unread::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unread(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TwoCredentials | Self::MalformedToken | Self::LogoutToken => {
                StatusCode::BAD_REQUEST
            }
            Self::LogIn(_) => StatusCode::SEE_OTHER,
            Self::NoCredentials
            | Self::SessionEnded
            | Self::InvalidToken
            | Self::BoundToKey
            | Self::BoundToCertificate
            | Self::OtherCertificate
            | Self::UncertifiedToken
            | Self::UnboundToken
            | Self::OtherKey
            | Self::Unproven(_)
            | Self::WeakLogin
            | Self::LoginWanted { .. } => StatusCode::UNAUTHORIZED,
            Self::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::InsufficientScope { .. }
            | Self::UpgradeNotAllowed
            | Self::Denied
            | Self::CrossSite
            | Self::CrossOrigin
            | Self::Obligation
            | Self::UntrustedProxy => StatusCode::FORBIDDEN,
            Self::TokenServiceUnavailable
            | Self::IssuerUnavailable
            | Self::DecisionPointUnavailable
            | Self::SessionStoreUnavailable
            | Self::ProofStoreUnavailable
            | Self::RateUnknown
            | Self::UpstreamFull
            | Self::TooManyConnections
            | Self::UpstreamUnhealthy => StatusCode::SERVICE_UNAVAILABLE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UpstreamFailed | Self::Unmaskable(_) => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What the caller is told. A deny is told no reason.
    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::Ambiguous(ambiguity) => Some(ambiguity.to_string()),
            Self::Unread(unread) => Some(unread.to_string()),
            Self::Misdirected => {
                Some("this connection is not, or no more, for such a request; open another".into())
            }
            Self::NotFound | Self::MethodNotAllowed { .. } | Self::Denied | Self::Obligation => {
                None
            }
            Self::UpgradeNotAllowed => Some("there is no WebSocket here".into()),
            Self::NoCredentials => Some("an access token is needed".into()),
            Self::TwoCredentials => Some("there is more than one credential".into()),
            Self::MalformedToken => Some("the access token is malformed".into()),
            Self::InvalidToken => Some("the token is not valid here".into()),
            Self::BoundToKey => {
                Some("the token is bound to a key, of which nothing is shown".into())
            }
            Self::BoundToCertificate => {
                Some("the token is bound to a certificate, and none is shown".into())
            }
            Self::OtherCertificate => Some("the token is bound to another certificate".into()),
            Self::UncertifiedToken => Some("the token is not bound to a certificate".into()),
            Self::UnboundToken => Some("the token is not bound to a key".into()),
            Self::OtherKey => Some("the token is bound to another key".into()),
            Self::Unproven(unproven) => Some(unproven.to_string()),
            Self::LogIn(_) => Some("a browser is sent to log in".into()),
            Self::SessionEnded => Some("the session has ended".into()),
            Self::CrossSite => Some("a page of another site has sent this".into()),
            Self::CrossOrigin => Some("pages of this origin may not use this".into()),
            Self::LogoutToken => Some("the logout token is not valid here".into()),
            Self::InsufficientScope { .. } => Some("the token lacks a scope".into()),
            Self::UntrustedProxy => {
                Some("whoever asks is not in `proxies` of this listener".into())
            }
            Self::WeakLogin | Self::LoginWanted { .. } => {
                Some("another or a newer login is needed".into())
            }
            Self::TooOften { .. } => Some("there were too many of these; try again later".into()),
            Self::TokenServiceUnavailable
            | Self::IssuerUnavailable
            | Self::DecisionPointUnavailable
            | Self::SessionStoreUnavailable
            | Self::ProofStoreUnavailable
            | Self::RateUnknown => {
                Some("it cannot be found out whether this is allowed; try again".into())
            }
            Self::RequestTimeout => Some("the body did not arrive in time".into()),
            Self::TooManyConnections => {
                Some("there are as many connections as there may be; try again".into())
            }
            Self::UpstreamFull => {
                Some("the service behind this gateway has too much to do; try again".into())
            }
            Self::UpstreamUnhealthy => {
                Some("the service behind this gateway is not available; try again".into())
            }
            Self::UpstreamFailed => Some("the service behind this gateway failed".into()),
            Self::UpstreamTimeout => Some("the service behind this gateway is too slow".into()),
            Self::Unmaskable(why) => Some((*why).into()),
        }
    }

    /// After these, what else the connection holds cannot be believed, or is not wanted.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Ambiguous(_) | Self::RequestTimeout)
    }
}
