//! `GET|POST /consent`: what the client wants, and the answer of the person at the browser. The
//! answer counts once, from the browser and the login that the question was shown to.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;

use super::authorize::{self, Open, Step, back, next_step, open_interaction, remember};
use super::browser::{self, LoggedIn};
use super::{forms, pages, request};
use crate::audit::audit;
use crate::core::Core;
use crate::params::Params;
use crate::record::{self, Asked, AuthorizationRequest, Interaction};
use crate::refusal::{ErrorCode, Refusal};

pub(super) async fn get(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let result = match request::query(&parts) {
        Ok(params) => show(&core, &parts, &params).await,
        Err(refusal) => Err(refusal),
    };
    result.unwrap_or_else(|refusal| pages::refusal(&core, "consent", &refusal))
}

pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let result = answer(&core, request).await;
    result.unwrap_or_else(|refusal| pages::refusal(&core, "consent", &refusal))
}

async fn show(core: &Core, parts: &Parts, params: &Params) -> Result<Response, Refusal> {
    let text = params.get("interaction").unwrap_or_default();
    let (_, asked, logged_in) = question(core, parts, text).await?;
    let asked = &asked;
    match next_step(core, asked, &logged_in.session).await {
        Ok(Step::Ask(scope) | Step::Issue(scope)) => {
            Ok(pages::consent(core, asked, text, &logged_in, &scope).await?)
        }
        Err(refusal) => Ok(back(core, asked, &refusal).await),
    }
}

async fn answer(core: &Core, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = &request::posted(request).await?;
    let text = params.get("interaction").unwrap_or_default();
    let (open, asked, logged_in) = question(core, parts, text).await?;
    let (handle, session) = (open.handle.as_str(), logged_in.handle.as_str());
    let shown = forms::scope(params)?;
    let page = forms::showing(handle, &shown);
    forms::check(core, params, pages::CONSENT_FORM, &page, session)?;
    let approves = forms::approves(params)?;
    // Asked before the page is used up: an outage can be sat out by sending the form again.
    let step = match next_step(core, &asked, &logged_in.session).await {
        Ok(step) => step,
        Err(refusal) => return Ok(back(core, &asked, &refusal).await),
    };
    record::take::<Interaction>(&*core.store, handle)
        .await?
        .ok_or(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "this page has been used already",
        ))?;
    if !approves {
        audit!(
            "consent_denied",
            client = asked.client_id,
            sub = logged_in.session.sub
        );
        let refusal = Refusal::Denied(ErrorCode::AccessDenied, "the resource owner said no");
        return Ok(back(core, &asked, &refusal).await);
    }
    let (Step::Ask(permitted) | Step::Issue(permitted)) = step;
    // SECURITY: what has come to be permitted since was not shown, and so was not approved.
    let scope = permitted.intersection(&shown);
    if scope.is_empty() && !shown.is_empty() {
        let refusal = Refusal::Denied(
            ErrorCode::AccessDenied,
            "nothing of what was approved is permitted any more",
        );
        return Ok(back(core, &asked, &refusal).await);
    }
    let session = &logged_in.session;
    remember(core, session, &asked, &scope).await?;
    audit!(
        "consent_given",
        client = asked.client_id,
        sub = session.sub,
        scope = scope
    );
    authorize::issue(core, &asked, session, scope).await
}

/// The interaction, what it asks, and the login that it was shown to.
async fn question(
    core: &Core,
    parts: &Parts,
    text: &str,
) -> Result<(Open, AuthorizationRequest, LoggedIn), Refusal> {
    let open = open_interaction(core, parts, Some(text)).await?;
    let logged_in = browser::logged_in(core, parts)
        .await?
        .filter(|login| open.stored.record.session.as_deref() == Some(login.handle.as_str()))
        .ok_or(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "you are not logged in as the person who was asked; please start again",
        ))?;
    match open.stored.record.asked.clone() {
        Asked::Authorization(asked) => Ok((open, *asked, logged_in)),
        // Answered on its own page, and never bound to a login.
        Asked::Device => Err(Refusal::Denied(
            ErrorCode::InvalidRequest,
            "there is nothing to approve here",
        )),
    }
}
