//! `GET|POST /authorize` (RFC 6749 section 3.1, OpenID Connect Core section 3.1.2): the request
//! is checked, then whoever is at the browser is asked what is still open.

mod check;
mod proceed;
pub(super) mod push;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;

use super::browser::{self, LoggedIn};
use super::{pages, request};
use crate::clients;
use crate::core::Core;
use crate::error::Trouble;
use crate::params::Params;
use crate::record::{AuthorizationRequest, LoginWanted};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{Client, Registry};
use check::{Checked, Flaw, Received, Way};
pub(super) use check::{resources, scope};
pub(super) use proceed::{
    Open, Step, Wish, begin, begin_device, issue, next_step, open_interaction, permitted, remember,
    renew,
};

pub(super) async fn get(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let params = request::query(&parts);
    answer(&core, &parts, params).await
}

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let params = request::form(&parts, body).await;
    answer(&core, &parts, params).await
}

async fn answer(core: &Core, parts: &Parts, params: Result<Params, Refusal>) -> Response {
    let params = match params {
        Ok(params) => params,
        Err(refusal) => return pages::refusal(core, "authorize", &refusal),
    };
    let (params, way) = match push::pushed(core, &params).await {
        Ok(Some(pushed)) => (pushed, Way::Pushed),
        Ok(None) => (params, Way::Browser),
        Err(refusal) => return pages::refusal(core, "authorize", &refusal),
    };
    let registry = core.registry();
    let client = match named(core, &registry, parts, &params).await {
        Ok(client) => client,
        Err(trouble) => return pages::refusal(core, "authorize", &trouble.into()),
    };
    let received = Received {
        client: client.as_deref(),
        params: &params,
        way,
    };
    let checked = match check::check(core, &registry, received) {
        Ok(checked) => checked,
        Err(Flaw::Page(text)) => {
            let refusal = Refusal::Denied(ErrorCode::InvalidRequest, text);
            return pages::refusal(core, "authorize", &refusal);
        }
        Err(Flaw::Redirect { uri, code, text }) => {
            return browser::redirect_error(core, uri, params.get("state"), code, text);
        }
    };
    match ask(core, parts, &checked).await {
        Ok(response) => response,
        Err(refusal) => back(core, &checked.request, &refusal).await,
    }
}

/// Whom a request names.
async fn named(
    core: &Core,
    registry: &Registry,
    parts: &Parts,
    params: &Params,
) -> Result<Option<Arc<Client>>, Trouble> {
    let network = request::peer_network(parts);
    match params.get("client_id") {
        Some(id) => clients::find_anew(core, registry, (id, network)).await,
        None => Ok(None),
    }
}

/// What the client is told where the request cannot be granted. It may have gone while the person was thinking:
/// then nobody is sent to where it was (RFC 6749 section 4.1.2.1).
pub(super) async fn back(
    core: &Core,
    request: &AuthorizationRequest,
    refusal: &Refusal,
) -> Response {
    let client = clients::find(core, &core.registry(), &request.client_id).await;
    let is_there = client
        .map(|client| client.is_some_and(|client| client.accepts_redirect(&request.redirect_uri)));
    match is_there {
        Ok(true) => {}
        Ok(false) => return pages::refusal(core, "authorize", &changed()),
        Err(trouble) => return pages::refusal(core, "authorize", &trouble.into()),
    }
    let (code, text) = match refusal {
        Refusal::Denied(code, text) => (*code, *text),
        Refusal::TooLarge => (ErrorCode::InvalidRequest, "the body is too long"),
        Refusal::TooSlow => (ErrorCode::InvalidRequest, "the body is too slow"),
        Refusal::TooMany(_) => (ErrorCode::TemporarilyUnavailable, "try again later"),
        Refusal::Trouble(trouble) => {
            super::render::log("authorize", trouble);
            (trouble.code(), "try again in a moment")
        }
    };
    browser::redirect_error(
        core,
        &request.redirect_uri,
        request.state.as_deref(),
        code,
        text,
    )
}

/// The client is not what it was when the request came.
fn changed() -> Refusal {
    Refusal::Denied(
        ErrorCode::InvalidRequest,
        "the application has changed meanwhile; please start again there",
    )
}

/// Shows the page that is needed, or goes straight back with a code.
async fn ask(core: &Core, parts: &Parts, checked: &Checked) -> Result<Response, Refusal> {
    let request = &checked.request;
    let logged_in = browser::logged_in(core, parts)
        .await?
        .filter(|logged_in| is_good_enough(core, logged_in, checked));
    let Some(logged_in) = logged_in else {
        if checked.prompt.none {
            return Err(Refusal::Denied(
                ErrorCode::LoginRequired,
                "nobody is logged in, or not recently enough",
            ));
        }
        return begin(core, parts, request, None).await;
    };
    match next_step(core, request, &logged_in.session).await? {
        Step::Issue(scope) => issue(core, request, &logged_in.session, scope).await,
        Step::Ask(_) if checked.prompt.none => Err(Refusal::Denied(
            ErrorCode::ConsentRequired,
            "the scope has not been approved",
        )),
        Step::Ask(scope) => begin(core, parts, request, Some((&logged_in, &scope))).await,
    }
}

/// Whether the client accepts this login, or wants another.
fn is_good_enough(core: &Core, logged_in: &LoggedIn, checked: &Checked) -> bool {
    let LoginWanted {
        max_age_secs,
        acr_values,
        sub: _,
    } = &checked.request.wanted;
    let session = &logged_in.session;
    let age = core.now().since(session.authentication.at);
    // Of some logins elsewhere nobody says when they were.
    let is_dated = session.upstream.as_ref().is_none_or(|it| it.is_dated);
    let is_fresh =
        max_age_secs.is_none_or(|most| most > 0 && is_dated && age <= Duration::from_secs(most));
    // A new login helps where it could be called as the client wants it.
    let is_wanted = |acr: &Option<String>| acr.as_ref().is_some_and(|acr| acr_values.contains(acr));
    let registry = core.registry();
    let mut elsewhere = registry.providers.values().map(|provider| &provider.acr);
    let could_be = is_wanted(&core.login_acr) || elsewhere.any(is_wanted);
    let is_expected = checked.request.wanted.is_of(&session.sub);
    !checked.prompt.login
        && is_fresh
        && is_expected
        && (is_wanted(&session.authentication.acr) || !could_be)
}
