//! Step 7: the gateway's own answers. Every refusal is rendered here, exhaustively.
//!
//! Texts come from a closed set; why a policy denied, or how a backend failed, goes to the log.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use oauth::{BearerChallenge, BearerError, Scope, StepUp};
use service_kit::Problem;

use super::canonical::Ambiguity;
use super::record::Record;
use super::response_body::ResponseBody;
use crate::core::Core;
use crate::plan::{Protection, RoutePlan};

/// Why a request is not forwarded, or its answer not passed on.
#[derive(Debug)]
pub(crate) enum Refusal {
    Ambiguous(Ambiguity),
    NotFound,
    MethodNotAllowed {
        allow: HeaderValue,
    },
    NoCredentials,
    TwoCredentials,
    MalformedToken,
    InvalidToken,
    /// It is bound to a key, of which nothing is shown here.
    BoundToken,
    InsufficientScope {
        route: usize,
    },
    /// The login behind the token is not what the route wants (RFC 9470).
    WeakLogin,
    Denied,
    Obligation,
    TokenServiceUnavailable,
    DecisionPointUnavailable,
    RequestTimeout,
    UpstreamFailed,
    UpstreamTimeout,
    Unmaskable(&'static str),
}

/// Every reason, as metrics and logs name it.
pub(crate) const REASONS: &[&str] = &[
    "ambiguous",
    "too_large",
    "not_found",
    "method_not_allowed",
    "no_credentials",
    "two_credentials",
    "malformed_token",
    "invalid_token",
    "insufficient_scope",
    "insufficient_user_authentication",
    "denied",
    "obligation",
    "token_service_unavailable",
    "decision_point_unavailable",
    "request_timeout",
    "upstream_failed",
    "upstream_timeout",
    "unmaskable",
];

impl Refusal {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Ambiguous(Ambiguity::TargetTooLong | Ambiguity::BodyTooLarge) => "too_large",
            Self::Ambiguous(_) => "ambiguous",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NoCredentials => "no_credentials",
            Self::TwoCredentials => "two_credentials",
            Self::MalformedToken => "malformed_token",
            Self::InvalidToken | Self::BoundToken => "invalid_token",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::WeakLogin => "insufficient_user_authentication",
            Self::Denied => "denied",
            Self::Obligation => "obligation",
            Self::TokenServiceUnavailable => "token_service_unavailable",
            Self::DecisionPointUnavailable => "decision_point_unavailable",
            Self::RequestTimeout => "request_timeout",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Unmaskable(_) => "unmaskable",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Ambiguous(ambiguity) => match ambiguity {
                Ambiguity::TargetTooLong => StatusCode::URI_TOO_LONG,
                Ambiguity::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Ambiguity::Expectation => StatusCode::EXPECTATION_FAILED,
                Ambiguity::Method => StatusCode::METHOD_NOT_ALLOWED,
                _ => StatusCode::BAD_REQUEST,
            },
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TwoCredentials | Self::MalformedToken => StatusCode::BAD_REQUEST,
            Self::NoCredentials | Self::InvalidToken | Self::BoundToken | Self::WeakLogin => {
                StatusCode::UNAUTHORIZED
            }
            Self::InsufficientScope { .. } | Self::Denied | Self::Obligation => {
                StatusCode::FORBIDDEN
            }
            Self::TokenServiceUnavailable | Self::DecisionPointUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UpstreamFailed | Self::Unmaskable(_) => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What the caller is told. A deny is told no reason.
    fn detail(&self) -> Option<String> {
        match self {
            Self::Ambiguous(ambiguity) => Some(ambiguity.to_string()),
            Self::NotFound | Self::MethodNotAllowed { .. } | Self::Denied | Self::Obligation => {
                None
            }
            Self::NoCredentials => Some("a bearer token is needed".into()),
            Self::TwoCredentials => Some("there is more than one credential".into()),
            Self::MalformedToken => Some("the bearer token is malformed".into()),
            Self::InvalidToken => Some("the token is not valid here".into()),
            Self::BoundToken => Some("the token is bound to a key, which is not taken here".into()),
            Self::InsufficientScope { .. } => Some("the token lacks a scope".into()),
            Self::WeakLogin => Some("another or a newer login is needed".into()),
            Self::TokenServiceUnavailable | Self::DecisionPointUnavailable => {
                Some("it cannot be found out whether this is allowed; try again".into())
            }
            Self::RequestTimeout => Some("the body did not arrive in time".into()),
            Self::UpstreamFailed => Some("the service behind this gateway failed".into()),
            Self::UpstreamTimeout => Some("the service behind this gateway is too slow".into()),
            Self::Unmaskable(why) => Some((*why).into()),
        }
    }

    /// RFC 6750 section 3.1: whether to challenge at all, and with which code. There is no code
    /// where no credentials came.
    fn challenge(&self) -> (bool, Option<(BearerError, &'static str)>) {
        let error = match self {
            Self::NoCredentials => return (true, None),
            Self::TwoCredentials => (BearerError::InvalidRequest, "more than one credential"),
            Self::MalformedToken => (BearerError::InvalidRequest, "the token is malformed"),
            Self::InvalidToken => (BearerError::InvalidToken, "the token is not valid"),
            Self::BoundToken => (BearerError::InvalidToken, "the token is bound to a key"),
            Self::InsufficientScope { .. } => {
                (BearerError::InsufficientScope, "the token lacks a scope")
            }
            Self::WeakLogin => (
                BearerError::InsufficientUserAuthentication,
                "another or a newer login is needed",
            ),
            _ => return (false, None),
        };
        (true, Some(error))
    }

    /// After these, what else the connection holds cannot be believed, or is not wanted.
    fn ends_connection(&self) -> bool {
        matches!(self, Self::Ambiguous(_) | Self::RequestTimeout)
    }
}

/// `application/problem+json` (RFC 9457), and whatever header the refusal asks for.
pub(crate) fn refuse(
    core: &Core,
    refusal: &Refusal,
    record: &mut Record,
) -> Response<ResponseBody> {
    record.failed(refusal.reason());
    core.metrics.reject(refusal.reason());
    let status = refusal.status();
    let mut problem =
        Problem::new(status, &refusal.reason().replace('_', "-")).instance(record.id.as_str());
    if let Some(detail) = refusal.detail() {
        problem = problem.detail(detail);
    }
    let mut response = Response::new(ResponseBody::whole(problem.to_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let (challenges, error) = refusal.challenge();
    if challenges {
        let route = record.route().and_then(|route| core.plan.routes.get(route));
        let challenge = BearerChallenge {
            realm: &core.realm,
            error,
            scope: needed_scope(core, refusal),
            step_up: route.and_then(|route| needed_login(route, refusal)),
            resource_metadata: route.and_then(|route| core.plan.discovery.url(route.upstream)),
        };
        if let Ok(challenge) = HeaderValue::try_from(challenge.to_string()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
    match refusal {
        Refusal::MethodNotAllowed { allow } => {
            headers.insert(header::ALLOW, allow.clone());
        }
        Refusal::TokenServiceUnavailable | Refusal::DecisionPointUnavailable => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    // RFC 9112 section 9.6: said, or the client sends its next request into a connection that closes.
    if refusal.ends_connection() || record.leaves_body() {
        close_after(&mut response);
    }
    response
}

/// The connection ends with this answer.
pub(crate) fn close_after(response: &mut Response<ResponseBody>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Not where there is no token yet: a client that registers itself then, as those of MCP do, would
/// register for no more, and could never get more. How much there is, the resource's metadata say.
fn needed_scope<'c>(core: &'c Core, refusal: &Refusal) -> Option<&'c Scope> {
    let Refusal::InsufficientScope { route } = refusal else {
        return None;
    };
    match &core.plan.routes.get(*route)?.protection {
        Protection::Token { scope, .. } => Some(scope),
        Protection::Public => None,
    }
}

fn needed_login<'c>(route: &'c RoutePlan, refusal: &Refusal) -> Option<StepUp<'c>> {
    match (refusal, &route.protection) {
        (Refusal::WeakLogin, Protection::Token { step_up, .. }) => {
            step_up.as_ref().map(crate::plan::StepUp::challenge)
        }
        _ => None,
    }
}
