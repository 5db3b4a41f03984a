//! What people see of identity providers: a button for each on the login page, and the page on the way
//! there and back.

use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use url::Url;

use super::{SignIn, fields, form_token, page_of};
use crate::core::Core;
use crate::provider::{Fault, Provider};
use crate::registry::Registry;

/// The name of the form.
pub(in crate::http) const FORM: &str = "federation";

/// The other ways to log in.
pub(super) fn buttons(core: &Core, asked: &SignIn<'_>, registry: &Registry) -> Markup {
    let csrf = form_token(core, FORM, asked.text, asked.browser);
    let action = |provider: &Provider| format!("{}/federation/{}", core.issuer.path(), provider.id);
    html! {
        section aria-label="Other ways to sign in" {
            @for provider in registry.providers.values() {
                form method="post" action=(action(provider)) {
                    (fields(asked, &csrf))
                    button type="submit" class="quiet" { "Continue with " (provider.name) }
                }
            }
        }
    }
}

/// Sends the browser on. A page and no redirect: browsers apply `form-action` to every redirect that
/// follows a form, and where a provider sends people on its way nobody can list.
pub(in crate::http) fn onward(name: &str, to: &Url) -> Response {
    let refresh = format!("0;url={to}");
    let head = html! { meta http-equiv="refresh" content=(refresh); };
    let body = html! {
        h1 { "On to " (name) }
        p { a href=(to) { "Continue" } " if this page does not go on by itself." }
    };
    page_of(StatusCode::OK, ("Please wait", &head), None, &body)
}

/// Why nobody is logged in, in words for whoever tried.
pub(in crate::http) fn problem(provider: &Provider, fault: Fault) -> String {
    let name = &provider.name;
    match fault {
        Fault::Down(_) => format!("{name} does not answer. Please try again in a moment."),
        Fault::Denied(_) => format!("{name} did not sign you in."),
        Fault::Invalid(_) => {
            format!("What {name} answers cannot be trusted. You are not signed in.")
        }
        Fault::Stale => format!("{name} did not ask again who you are. You are not signed in."),
        Fault::Unwanted(_) => format!("Your account at {name} may not be used here."),
    }
}
