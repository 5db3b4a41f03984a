//! `GET /openapi.json`, and a page that shows it under `/docs/`. What is documented is at each
//! handler, in the words of `bodies`.

use std::sync::Arc;

use axum::Router;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
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
        super::left_open::partial,
        super::left_open::filter,
        super::explain::answer,
        super::entities::list,
        super::entities::one,
        super::entities::change,
        super::contract::show,
        super::snapshot::show,
        super::metadata::show,
    ),
    security(("key" = []), ("basic" = []), ("jwt" = []), ("certificate" = []), ()),
    modifiers(&Schemes)
)]
struct Documentation;

/// How a caller authenticates, where callers are configured.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let http = |scheme| SecurityScheme::Http(Http::new(scheme));
        let mut jwt = Http::new(HttpAuthScheme::Bearer);
        jwt.bearer_format = Some("JWT".into());
        for (name, scheme) in [
            ("key", http(HttpAuthScheme::Bearer)),
            ("basic", http(HttpAuthScheme::Basic)),
            ("jwt", SecurityScheme::Http(jwt)),
            (
                "certificate",
                SecurityScheme::MutualTls {
                    description: Some("A client certificate".into()),
                    extensions: None,
                    deprecated: None,
                },
            ),
        ] {
            components.add_security_scheme(name, scheme);
        }
    }
}

#[cfg(test)]
mod tests;
