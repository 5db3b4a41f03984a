//! What people see: login, consent, devices, and errors. Plain HTML, no script, no third party, not
//! to be framed.

mod asking;
pub(super) mod device;
pub(super) mod federation;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use oauth::Scope;
use url::{Host, Url};

use super::browser::LoggedIn;
use super::{forms, render};
use crate::core::Core;
use crate::error::Trouble;
use crate::params::Params;
use crate::record::AuthorizationRequest;
use crate::refusal::Refusal;
use crate::token::{Handle, UserCode};
use asking::asking;

/// The names of the forms: a token of one is none of another.
pub(super) const LOGIN_FORM: &str = "login";
pub(super) const CONSENT_FORM: &str = "consent";
pub(super) const LOGOUT_FORM: &str = "logout";

/// What a login page is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignIn<'a> {
    /// None: it leads to the device page.
    pub(super) request: Option<&'a AuthorizationRequest>,
    /// What that page is to begin with.
    pub(super) code: Option<&'a UserCode>,
    /// The interaction as it travels.
    pub(super) text: &'a str,
    pub(super) browser: &'a Handle,
    pub(super) problem: Option<&'a str>,
}

/// The login page.
pub(super) async fn login(core: &Core, asked: &SignIn<'_>) -> Result<Response, Trouble> {
    let client = match asked.request {
        Some(request) => Some(asking(core, &request.client_id).await?),
        None => None,
    };
    let registry = core.registry();
    let body = html! {
        h1 { "Sign in" }
        @match &client {
            Some(client) => p { "to continue to " strong { (client.name) } },
            None => p { "to connect a device" },
        }
        @if let Some(problem) = asked.problem { p role="alert" { (problem) } }
        @if registry.local_users().next().is_some() { (password_form(core, asked)) }
        @if !registry.providers.is_empty() { (federation::buttons(core, asked, &registry)) }
    };
    let status = if asked.problem.is_some() {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::OK
    };
    let redirect_uri = asked.request.map(|request| request.redirect_uri.as_str());
    Ok(page(status, "Sign in", redirect_uri, &body))
}

fn password_form(core: &Core, asked: &SignIn<'_>) -> Markup {
    let csrf = form_token(core, LOGIN_FORM, asked.text, asked.browser);
    html! {
        form method="post" action=(format!("{}/login", core.issuer.path())) {
            (fields(asked, &csrf))
            label for="username" { "Username" }
            input type="text" id="username" name="username" autocomplete="username"
                autocapitalize="none" spellcheck="false" required autofocus
                value=[asked.request.and_then(|request| request.login_hint.as_deref())];
            label for="password" { "Password" }
            input type="password" id="password" name="password" autocomplete="current-password"
                required;
            button type="submit" { "Sign in" }
        }
    }
}

/// What every form of the login page sends along.
fn fields(asked: &SignIn<'_>, csrf: &str) -> Markup {
    html! {
        input type="hidden" name="interaction" value=(asked.text);
        input type="hidden" name="csrf" value=(csrf);
        @if let Some(code) = asked.code {
            input type="hidden" name="user_code" value=(code.shown());
        }
    }
}

/// The consent page.
pub(super) async fn consent(
    core: &Core,
    asked: &AuthorizationRequest,
    text: &str,
    logged_in: &LoggedIn,
    scope: &Scope,
) -> Result<Response, Trouble> {
    let client = asking(core, &asked.client_id).await?;
    let shown = forms::showing(&core.secrets.token_hash(text), scope);
    let session = logged_in.handle.as_str();
    let csrf = core.secrets.form_token(CONSENT_FORM, &shown, session);
    let body = html! {
        h1 { strong { (client.name) } " asks for access" }
        (client.warning(Some(&asked.redirect_uri)))
        p { "You are signed in as " strong { (logged_in.user.username) } ". The application would be allowed to:" }
        (list(core, scope))
        form method="post" action=(format!("{}/consent", core.issuer.path())) {
            input type="hidden" name="interaction" value=(text);
            input type="hidden" name="scope" value=(scope);
            input type="hidden" name="csrf" value=(csrf);
            button type="submit" name="decision" value="approve" { "Allow" }
            button type="submit" name="decision" value="deny" class="quiet" { "Deny" }
        }
    };
    Ok(page(
        StatusCode::OK,
        "Allow access",
        Some(&asked.redirect_uri),
        &body,
    ))
}

/// Asks whether a login is to end. What was asked for is asked again with the answer.
pub(super) fn logout(
    core: &Core,
    asked: &Params,
    csrf: &str,
    logged_in: &LoggedIn,
    target: Option<&str>,
) -> Response {
    let name = logged_in.user.username.as_str();
    let again = [
        "id_token_hint",
        "client_id",
        "post_logout_redirect_uri",
        "state",
    ];
    let body = html! {
        h1 { "Sign out?" }
        p { "You are signed in as " strong { (name) } ". Applications that you have signed in to from this \
            browser may sign you out, too." }
        form method="post" action=(format!("{}/logout", core.issuer.path())) {
            input type="hidden" name="csrf" value=(csrf);
            @for (name, value) in again.into_iter().filter_map(|name| Some((name, asked.get(name)?))) {
                input type="hidden" name=(name) value=(value);
            }
            button type="submit" { "Sign out" }
        }
        p { "To stay signed in, close this page." }
    };
    core.meter.request("logout", "asked");
    page(StatusCode::OK, "Sign out", target, &body)
}

/// Nobody is signed in, and there is nowhere to go.
pub(super) fn logged_out() -> Response {
    let body = html! {
        h1 { "You are signed out" }
        p { "You may close this page." }
    };
    page(StatusCode::OK, "Signed out", None, &body)
}

/// An error that only the person at the browser may see.
pub(super) fn refusal(core: &Core, endpoint: &str, refusal: &Refusal) -> Response {
    core.meter.request(endpoint, render::outcome(refusal));
    let (code, text) = match refusal {
        Refusal::Denied(code, text) => (code.as_str(), *text),
        Refusal::TooLarge => ("invalid_request", "the request is too long"),
        Refusal::TooSlow => ("invalid_request", "the request is too slow"),
        Refusal::TooMany(_) => ("temporarily_unavailable", "please try again later"),
        Refusal::Trouble(trouble) => {
            render::log(endpoint, trouble);
            (trouble.code().as_str(), "please try again in a moment")
        }
    };
    let body = html! {
        h1 { "This does not work" }
        p role="alert" { (text) }
        p { "Error: " code { (code) } }
    };
    // 400 also for a form of nobody's: a challenge would make the browser ask for a password.
    let status = match render::status(refusal) {
        StatusCode::UNAUTHORIZED => StatusCode::BAD_REQUEST,
        status => status,
    };
    let mut response = page(status, "Error", None, &body);
    render::add_retry_after(&mut response, refusal);
    response
}

/// Somebody is guessing.
pub(super) fn too_many_attempts(core: &Core, endpoint: &str) -> Response {
    core.meter.request(endpoint, "limited");
    let body = html! {
        h1 { "Too many attempts" }
        p role="alert" { "Please wait a few minutes, then go back to the application." }
    };
    let mut response = page(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many attempts",
        None,
        &body,
    );
    render::come_back(&mut response, core.attempts.window);
    response
}

fn form_token(core: &Core, form: &str, interaction: &str, bound_to: &Handle) -> String {
    let handle = core.secrets.token_hash(interaction);
    core.secrets.form_token(form, &handle, bound_to.as_str())
}

fn list(core: &Core, scope: &Scope) -> Markup {
    let registry = core.registry();
    html! {
        ul {
            @for token in scope.iter() {
                li {
                    @if let Some(meaning) = registry.meaning(token) { (meaning) " " }
                    code { (token) }
                }
            }
        }
    }
}

fn page(status: StatusCode, title: &str, redirect_uri: Option<&str>, body: &Markup) -> Response {
    page_of(status, (title, &html! {}), redirect_uri, body)
}

/// With something more in its head.
fn page_of(
    status: StatusCode,
    (title, head): (&str, &Markup),
    redirect_uri: Option<&str>,
    body: &Markup,
) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                (head)
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    let mut response = (
        status,
        [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        markup.into_string(),
    )
        .into_response();
    if let Ok(policy) = HeaderValue::try_from(content_security_policy(redirect_uri)) {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Browsers apply `form-action` also to the redirects that follow a form, so the client's origin
/// is part of it.
fn content_security_policy(redirect_uri: Option<&str>) -> String {
    let target = redirect_uri.and_then(form_target).unwrap_or_default();
    format!(
        "default-src 'none'; style-src '{}'; base-uri 'none'; frame-ancestors 'none'; \
         form-action 'self'{target}",
        *STYLE_HASH
    )
}

/// The source expression, with a space before it.
fn form_target(redirect_uri: &str) -> Option<String> {
    let url = Url::parse(redirect_uri).ok()?;
    match url.host() {
        // The grammar of source expressions has no IPv6 addresses.
        Some(Host::Domain(_) | Host::Ipv4(_)) if matches!(url.scheme(), "http" | "https") => {
            Some(format!(" {}", url.origin().ascii_serialization()))
        }
        _ => Some(format!(" {}:", url.scheme())),
    }
}

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    format!("sha256-{}", STANDARD.encode(digest))
});

const STYLE: &str = "\
body{margin:0;font:1rem/1.5 system-ui,sans-serif;background:#f3f4f2;color:#1c1f1a}\
main{max-width:24rem;margin:12vh auto 0;padding:2rem;background:#fff;border:1px solid #d5d9d0;\
border-radius:.5rem;overflow-wrap:anywhere}h1{margin:0 0 .5rem;font-size:1.4rem}label{display:block;margin-top:1rem}\
input{box-sizing:border-box;width:100%;padding:.55rem;font:inherit;border:1px solid #767b70;\
border-radius:.3rem}button{margin:1.5rem .5rem 0 0;padding:.55rem 1.4rem;font:inherit;color:#fff;\
background:#2c5a34;border:1px solid #2c5a34;border-radius:.3rem;cursor:pointer}button.quiet{\
color:#1c1f1a;background:#fff;border-color:#767b70}.code{font:1.6rem monospace;letter-spacing:.1em;\
text-align:center}section{margin-top:1.5rem;border-top:1px solid #d5d9d0}section button{width:100%;\
margin-right:0}[role=alert]{padding:.6rem;border-left:4px solid \
#a3262a;background:#fbeeee}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_may_lead_to_the_client_and_to_nowhere_else() {
        for (uri, source) in [
            ("https://app.example/cb?x=1", " https://app.example"),
            ("http://127.0.0.1:5178/cb", " http://127.0.0.1:5178"),
            ("http://[::1]:5178/cb", " http:"),
            ("com.example.app:/cb", " com.example.app:"),
        ] {
            let policy = content_security_policy(Some(uri));
            assert!(
                policy.ends_with(&format!("form-action 'self'{source}")),
                "{policy}"
            );
            assert!(policy.contains("frame-ancestors 'none'"));
        }
        assert!(content_security_policy(None).ends_with("form-action 'self'"));
    }
}
