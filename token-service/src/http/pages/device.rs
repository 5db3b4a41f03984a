//! The pages of a device's request (RFC 8628): the code is typed, compared and approved. What the
//! person is told is what stands between them and a device that is somebody else's (section 5.4).

use axum::response::Response;
use http::StatusCode;
use maud::html;
use oauth::Scope;

use super::asking::asking;
use super::{list, page};
use crate::core::Core;
use crate::error::Trouble;
use crate::http::browser::LoggedIn;
use crate::http::forms;
use crate::params::Params;
use crate::refusal::Refusal;
use crate::token::UserCode;

/// The names of the two forms.
const CODE_FORM: &str = "device";
const CONFIRM_FORM: &str = "device-confirm";

/// Where a code is typed. `code`: what it begins with.
pub(in crate::http) fn form(
    core: &Core,
    logged_in: &LoggedIn,
    code: Option<&UserCode>,
    problem: Option<&str>,
) -> Response {
    let csrf = core
        .secrets
        .form_token(CODE_FORM, "", logged_in.handle.as_str());
    let code = code.map(UserCode::shown);
    let body = html! {
        h1 { "Connect a device" }
        p { "You are signed in as " strong { (logged_in.user.username) } "." }
        @if let Some(problem) = problem { p role="alert" { (problem) } }
        form method="post" action=(format!("{}/device", core.issuer.path())) {
            input type="hidden" name="csrf" value=(csrf);
            label for="user_code" { "The code that your device shows" }
            input type="text" id="user_code" name="user_code" value=[code] placeholder="XXXX-XXXX"
                autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="64"
                required autofocus;
            button type="submit" { "Continue" }
        }
    };
    let status = if problem.is_some() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    page(status, "Connect a device", None, &body)
}

/// The form again: there is no such code. The same whether it never was, was used or has expired.
pub(in crate::http) fn unknown(core: &Core, logged_in: &LoggedIn) -> Response {
    core.meter.request("device", "unknown_code");
    let problem = "This code is not right, or it is too old. Look at your device again.";
    form(core, logged_in, None, Some(problem))
}

/// Whether the form was sent from [`form`], as it was shown to this login.
pub(in crate::http) fn check_form(
    core: &Core,
    logged_in: &LoggedIn,
    params: &Params,
) -> Result<(), Refusal> {
    forms::check(core, params, CODE_FORM, "", logged_in.handle.as_str())
}

/// What the device wants, and the code to compare.
pub(in crate::http) async fn confirm(
    core: &Core,
    logged_in: &LoggedIn,
    code: &UserCode,
    client_id: &str,
    scope: &Scope,
) -> Result<Response, Trouble> {
    let client = asking(core, client_id).await?;
    core.meter.request("device", "ok");
    let session = logged_in.handle.as_str();
    let csrf = core
        .secrets
        .form_token(CONFIRM_FORM, &shown(core, code, scope), session);
    let body = html! {
        h1 { strong { (client.name) } " asks for access" }
        (client.warning(None))
        p { "Is this the code on the device in front of you?" }
        p class="code" { (code.shown()) }
        p role="alert" {
            "If you do not hold this device in your hands, or somebody sent you the code or a link, \
             deny: they would get access in your name."
        }
        p { "You are signed in as " strong { (logged_in.user.username) }
            ". The device would be allowed to:" }
        (list(core, scope))
        form method="post" action=(format!("{}/device/confirm", core.issuer.path())) {
            input type="hidden" name="user_code" value=(code.shown());
            input type="hidden" name="scope" value=(scope);
            input type="hidden" name="csrf" value=(csrf);
            button type="submit" name="decision" value="approve" { "Allow" }
            button type="submit" name="decision" value="deny" class="quiet" { "Deny" }
        }
    };
    Ok(page(StatusCode::OK, "Allow access", None, &body))
}

/// Whether the form was sent from [`confirm`], as it showed this code and this scope to this login.
pub(in crate::http) fn check_confirmed(
    core: &Core,
    logged_in: &LoggedIn,
    params: &Params,
    (code, scope): (&UserCode, &Scope),
) -> Result<(), Refusal> {
    let shown = shown(core, code, scope);
    forms::check(
        core,
        params,
        CONFIRM_FORM,
        &shown,
        logged_in.handle.as_str(),
    )
}

/// The end.
pub(in crate::http) fn done(core: &Core, approved: bool) -> Response {
    let outcome = if approved { "approved" } else { "denied" };
    core.meter.request("device", outcome);
    let body = html! {
        @if approved {
            h1 { "Your device is connected" }
            p { "Go back to it: it goes on by itself. You may close this window." }
        } @else {
            h1 { "Nothing was allowed" }
            p { "The device gets no access. You may close this window." }
        }
    };
    page(StatusCode::OK, "Connect a device", None, &body)
}

fn shown(core: &Core, code: &UserCode, scope: &Scope) -> String {
    forms::showing(code.handle(&core.secrets).as_str(), scope)
}
