//! `POST /federation/{id}` and `GET /federation/{id}/callback`: a person logs in at an identity provider
//! (OpenID Connect Core section 3.1, as its client).
//!
//! SECURITY: the browser that comes back must be the one that was sent, for the same login, to the same
//! provider; whatever else comes, nobody is logged in by it.

pub(super) mod logout;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use zeroize::Zeroizing;

use super::after_login::{self, Authenticated, Login};
use super::authorize::{self, Open};
use super::limits::{self, Limited};
use super::pages::{self, SignIn};
use super::{browser, forms, render, request};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::federation::{self, Arrived, Begun, Returned, Stop};
use crate::params::Params;
use crate::provider::{Fault, Provider};
use crate::record::{Asked, AuthorizationRequest, FederatedLogin, LoginWanted};
use crate::refusal::{ErrorCode, Refusal};
use crate::sessions;
use crate::token::UserCode;

/// What a device's code is sealed as.
const CODE: &str = "user code under way";

/// A person on a login page, and the provider that they have chosen.
struct Visit<'a> {
    core: &'a Core,
    provider: &'a Provider,
    open: Open,
    /// The interaction as it travels.
    text: Zeroizing<String>,
    code: Option<UserCode>,
}

pub(super) async fn post(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let result = send(&core, &id, request).await;
    result.unwrap_or_else(|refusal| pages::refusal(&core, "federation", &refusal))
}

pub(super) async fn callback(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let result = match request::query(&parts) {
        Ok(params) => receive(&core, &id, &parts, &params).await,
        Err(refusal) => Err(refusal),
    };
    result.unwrap_or_else(|refusal| pages::refusal(&core, "federation", &refusal))
}

/// Off to the provider.
async fn send(core: &Core, id: &str, request: Request) -> Result<Response, Refusal> {
    let (parts, params) = &request::posted(request).await?;
    let registry = core.registry();
    let provider = registry.provider(id).ok_or_else(unknown)?;
    let text = params.get("interaction").unwrap_or_default();
    let open = authorize::open_interaction(core, parts, Some(text)).await?;
    let (handle, browser) = (open.handle.as_str(), open.browser.as_str());
    forms::check(core, params, pages::federation::FORM, handle, browser)?;
    limits::check_browser(core, parts, Limited::Page).await?;
    let visit = Visit {
        core,
        provider,
        open,
        text: Zeroizing::new(text.to_owned()),
        code: params.get("user_code").and_then(UserCode::read),
    };
    let kept = FederatedLogin {
        provider: provider.id.clone(),
        issuer: provider.issuer.clone(),
        browser: visit.open.browser.as_str().to_owned(),
        interaction: visit.open.handle.as_str().to_owned(),
        user_code: visit.sealed_code()?,
        seen_since: None,
        exp: visit.open.stored.record.exp,
    };
    let asked = visit.asked();
    let nothing = LoginWanted::default();
    let wanted = asked.map_or(&nothing, |asked| &asked.wanted);
    let hint = asked.and_then(|asked| asked.login_hint.as_deref());
    match federation::begin(core, provider, wanted, (hint, kept)).await {
        Ok(url) => {
            core.meter.request("federation", "sent");
            Ok(pages::federation::onward(&provider.name, &url))
        }
        Err(stop) => visit.stopped(stop).await,
    }
}

/// Back from the provider.
async fn receive(
    core: &Core,
    id: &str,
    parts: &Parts,
    params: &Params,
) -> Result<Response, Refusal> {
    let registry = core.registry();
    let provider = registry.provider(id).ok_or_else(unknown)?;
    let browser = browser::known(core, parts).ok_or_else(stranger)?;
    let begun = Begun::take(core, provider, &browser, params).await;
    let begun = begun.map_err(refusal)?.ok_or_else(stranger)?;
    let (open, id) = authorize::renew(core, &begun.login.interaction, browser).await?;
    let code = begun.login.user_code.as_deref();
    let code = code.and_then(|sealed| core.secrets.open(CODE, sealed));
    let visit = Visit {
        core,
        provider,
        open,
        text: Zeroizing::new(id.reveal().to_owned()),
        code: code.and_then(|code| UserCode::read(&code)),
    };
    let said = match begun.returned(core, provider, params).await {
        Ok(said) => said,
        Err(stop) => return visit.stopped(stop).await,
    };
    match federation::arrive(core, &registry, provider, &said).await {
        Ok(arrived) => visit.log_in(parts, &said, arrived).await,
        Err(stop) => visit.stopped(stop).await,
    }
}

impl Visit<'_> {
    async fn log_in(
        self,
        parts: &Parts,
        said: &Returned,
        arrived: Arrived,
    ) -> Result<Response, Refusal> {
        let (core, provider) = (self.core, self.provider);
        let client = self.asked().map(|asked| asked.client_id.as_str());
        audit!(
            "login",
            sub = arrived.sub,
            client = client.unwrap_or_default(),
            provider = provider.id
        );
        let who = Authenticated {
            sub: arrived.sub,
            at: arrived.at,
            amr: arrived.amr,
            acr: arrived.acr,
            upstream: Some(arrived.upstream),
        };
        let session = after_login::session(core, parts, who).await?;
        let cookie = browser::log_in(core, parts, &session).await?;
        let is_on = federation::leads_to(core, provider, said, (&session, &cookie.handle));
        if !is_on.await? {
            let login = (session.authentication.sid.as_str(), session.sub.as_str());
            sessions::end(core, login, Some(&cookie.handle)).await?;
            return self
                .stopped(Fault::Denied("it has ended the login already").into())
                .await;
        }
        core.meter.login("ok");
        core.meter.request("federation", "ok");
        let login = Login {
            cookie: &cookie.handle,
            session: &session,
            text: &self.text,
            code: self.code.as_ref(),
        };
        let mut response = after_login::go_on(core, self.open, &login).await?;
        browser::set_session(core, &cookie, &mut response);
        Ok(response)
    }

    /// The login page again, with words; an outage of ours is another matter.
    async fn stopped(&self, stop: Stop) -> Result<Response, Refusal> {
        let (core, provider) = (self.core, self.provider);
        let fault = match stop {
            Stop::Fault(fault) => fault,
            Stop::Trouble(trouble) => return Err(trouble.into()),
        };
        audit!("login_refused", provider = provider.id, reason = fault);
        core.meter.login("refused");
        core.meter.request("federation", "refused");
        let problem = pages::federation::problem(provider, fault);
        let page = SignIn {
            request: self.asked(),
            code: self.code.as_ref(),
            text: &self.text,
            browser: &self.open.browser,
            problem: Some(&problem),
        };
        let mut response = pages::login(core, &page).await?;
        if matches!(fault, Fault::Down(_)) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            render::come_back(&mut response, render::SOON);
        }
        Ok(response)
    }

    /// As the store keeps it until they come back.
    fn sealed_code(&self) -> Result<Option<String>, Trouble> {
        let code = self.code.as_ref();
        code.map(|code| self.core.secrets.seal(CODE, &code.shown()))
            .transpose()
    }

    fn asked(&self) -> Option<&AuthorizationRequest> {
        match &self.open.stored.record.asked {
            Asked::Authorization(request) => Some(request),
            Asked::Device => None,
        }
    }
}

fn unknown() -> Refusal {
    Refusal::Denied(
        ErrorCode::InvalidRequest,
        "there is no such identity provider",
    )
}

/// One text for every cause: nobody learns which it was.
fn stranger() -> Refusal {
    Refusal::Denied(
        ErrorCode::InvalidRequest,
        "this answer was not asked for, has been used or is too old, or it came to another browser; \
         please start again at the application",
    )
}

fn refusal(stop: Stop) -> Refusal {
    match stop {
        Stop::Trouble(trouble) => trouble.into(),
        Stop::Fault(_) => stranger(),
    }
}
