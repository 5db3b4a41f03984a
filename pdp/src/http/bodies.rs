//! Bodies, refusals and headers, as the API's document describes them: what they are made of is
//! read by hand and strictly, so that it is said here once more. Tests hold both together.

pub(super) mod access;
pub(super) mod cedar;

use utoipa::{IntoParams, IntoResponses, ToSchema};

/// RFC 9457 problem details.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "describes `service_kit::Problem`")]
pub(super) struct ProblemDocument {
    /// What kind of problem it is.
    #[schema(rename = "type", example = "urn:cedargate:problem:bad-request")]
    kind: String,
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: Option<String>,
    /// The request's id.
    instance: Option<String>,
}

/// What any endpoint that is asked something may answer instead.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `receive` and `gate` answer")]
pub(super) enum Refusal {
    /// The body cannot be used; the member is named.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] ProblemDocument),
    /// A configured caller's credentials are wanted.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(#[to_schema] ProblemDocument),
    /// The caller has no such right.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] ProblemDocument),
    /// The body did not arrive in time.
    #[response(status = 408, content_type = "application/problem+json")]
    Timeout(#[to_schema] ProblemDocument),
    /// The body is too long.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemDocument),
    /// The caller asks too often; `Retry-After` says when to come back.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(#[to_schema] ProblemDocument),
    /// There is no answer now: too much is asked at once, the revision that is demanded has not
    /// come, or attributes that a search or a residual needs cannot be had.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemDocument),
}

/// Freshness.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(super) struct Freshness {
    /// The answer must know every change of entities up to this revision. It is waited for, within
    /// bounds.
    #[param(rename = "Cedargate-At-Least-Revision")]
    at_least_revision: Option<u64>,
}
