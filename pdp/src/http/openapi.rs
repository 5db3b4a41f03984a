//! `GET /openapi.json`, and a page that shows it under `/docs/`. What is documented is at each
//! handler; the bodies are described here, since they are read by hand and strictly.

pub(super) mod access;
pub(super) mod cedar;

use std::sync::Arc;

use axum::Router;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

use crate::pdp::Inner;

/// The document and the page.
pub(super) fn routes(inner: &Inner) -> Router<Arc<Inner>> {
    let mut document = Documentation::openapi();
    if let Some(own) = &inner.identifier {
        document.servers = Some(vec![utoipa::openapi::Server::new(&own.url)]);
    }
    SwaggerUi::new("/docs")
        .url("/openapi.json", document)
        .into()
}

/// The API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cedargate PDP",
        description = "May this subject do this action on this resource in this context? The \
            OpenID AuthZEN Authorization API 1.0, and beside it the same in Cedar's own words.",
        version = env!("CARGO_PKG_VERSION"),
        license(name = "Apache-2.0")
    ),
    paths(
        super::evaluation::one,
        super::evaluation::many,
        super::search::subject,
        super::search::action,
        super::search::resource,
        super::native::authorize,
        super::native::batch,
        super::native::partial,
        super::native::filter,
        super::explain::answer,
        super::entities::list,
        super::entities::one,
        super::entities::change,
        super::contract::show,
        super::metadata::show,
    ),
    security(("key" = []), ("basic" = []), ()),
    modifiers(&Schemes)
)]
struct Documentation;

/// How a caller authenticates, where callers are configured.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, scheme) in [
            ("key", HttpAuthScheme::Bearer),
            ("basic", HttpAuthScheme::Basic),
        ] {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
    }
}

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
#[expect(dead_code, reason = "describes what `receive` and `admit` answer")]
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
    /// There is no answer now: too much is asked at once, or the revision that is demanded has
    /// not come.
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

#[cfg(test)]
mod tests;
