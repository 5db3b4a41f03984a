//! Forms as browsers send them back: only from the page that was shown, and with an answer.

use oauth::Scope;
use service_kit::digest;

use crate::core::Core;
use crate::params::Params;
use crate::refusal::{ErrorCode, Refusal};

/// SECURITY: whether a form was sent from the page that was shown for `shown`, in that browser or
/// login. Nobody else's page can know its token.
pub(super) fn check(
    core: &Core,
    params: &Params,
    form: &str,
    shown: &str,
    browser: &str,
) -> Result<(), Refusal> {
    let csrf = params.get("csrf").unwrap_or_default();
    if core.secrets.is_form_token(csrf, form, shown, browser) {
        Ok(())
    } else {
        Err(from_elsewhere())
    }
}

/// What a page shows that asks whether a scope may be given, in the characters of a token's text.
pub(super) fn showing(asked: &str, scope: &Scope) -> String {
    digest::sha256_base64url(format!("{asked} {scope}").as_bytes())
}

/// The scope that a page says it has shown. Worth no more than the check of the form.
pub(super) fn scope(params: &Params) -> Result<Scope, Refusal> {
    let scope = params.get("scope").and_then(|text| Scope::parse(text).ok());
    scope.ok_or_else(from_elsewhere)
}

/// What is said of a form that somebody else's page may have sent.
pub(super) fn from_elsewhere() -> Refusal {
    Refusal::Denied(
        ErrorCode::InvalidRequest,
        "the form was not sent from the page that was shown",
    )
}

/// Whether the person approves.
pub(super) fn approves(params: &Params) -> Result<bool, Refusal> {
    match params.get("decision") {
        Some("approve") => Ok(true),
        Some("deny") => Ok(false),
        _ => Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "`decision` is missing",
        )),
    }
}
