//! Forms as browsers send them back: only from the page that was shown, and with an answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::Scope;

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

/// The token of a page that shows a scope: it says which, so that nothing else is answered.
pub(super) fn token_showing(
    core: &Core,
    form: &str,
    shown: &str,
    scope: &Scope,
    browser: &str,
) -> String {
    let tag = core
        .secrets
        .form_token(form, &with_scope(shown, scope), browser);
    format!("{tag}.{}", URL_SAFE_NO_PAD.encode(scope.to_string()))
}

/// SECURITY: the same as [`check`] of such a page; gives the scope that it has shown.
pub(super) fn shown_scope(
    core: &Core,
    params: &Params,
    form: &str,
    shown: &str,
    browser: &str,
) -> Result<Scope, Refusal> {
    let token = params.get("csrf").unwrap_or_default();
    let (tag, scope) = token.split_once('.').ok_or_else(from_elsewhere)?;
    let scope = URL_SAFE_NO_PAD.decode(scope).ok();
    let scope = scope.and_then(|scope| String::from_utf8(scope).ok());
    let scope = scope.and_then(|scope| Scope::parse(&scope).ok());
    let scope = scope.ok_or_else(from_elsewhere)?;
    let text = with_scope(shown, &scope);
    if core.secrets.is_form_token(tag, form, &text, browser) {
        Ok(scope)
    } else {
        Err(from_elsewhere())
    }
}

fn with_scope(shown: &str, scope: &Scope) -> String {
    format!("{shown} {scope}")
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
