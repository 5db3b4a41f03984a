//! `GET|POST /userinfo` (OpenID Connect Core section 5.3), challenges as in RFC 6750 section 3 and
//! RFC 9449 section 7.1.

mod brought;
mod challenge;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use oauth::{BearerError, DpopRequest, Scope, SubjectKind};
use serde_json::{Map, Value};

use super::{certificate, dpop, render, request};
use crate::audit::audit;
use crate::core::Core;
use crate::error::Trouble;
use crate::params::Params;
use crate::phantom::{self, Inactive, Live, Resolved};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::User;
use brought::Brought;
use challenge::{Challenge, SCOPE, challenged};

pub(super) async fn get(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    answer(&core, &parts, None).await
}

/// The same, where the token may be in a form.
pub(super) async fn post(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !request::is_form(&parts) {
        return answer(&core, &parts, None).await;
    }
    match request::form(&parts, body).await {
        Ok(params) => answer(&core, &parts, Some(&params)).await,
        Err(refusal) => render::finish(&core, "userinfo", Err(refusal)),
    }
}

async fn answer(core: &Core, parts: &Parts, form: Option<&Params>) -> Response {
    match told(core, parts, form).await {
        Ok(Ok(claims)) => {
            core.meter.request("userinfo", "ok");
            render::json(&claims)
        }
        Ok(Err(challenge)) => challenged(core, &challenge),
        Err(trouble) => render::finish(core, "userinfo", Err(Refusal::Trouble(trouble))),
    }
}

type Told = Result<Map<String, Value>, Challenge>;

async fn told(core: &Core, parts: &Parts, form: Option<&Params>) -> Result<Told, Trouble> {
    let brought = match Brought::read(&parts.headers, form) {
        Ok(brought) => brought,
        Err(challenge) => return Ok(Err(challenge)),
    };
    let registry = core.registry();
    let live = match phantom::find(core, &registry, brought.token).await? {
        Resolved::Live(live) => live,
        Resolved::Inactive(reason) => {
            let challenge = inactive(&reason);
            return Ok(Err(if brought.is_bound {
                Challenge::Dpop(ErrorCode::InvalidToken, "the token is not valid")
            } else {
                challenge
            }));
        }
    };
    // SECURITY: before anything is told. Whoever has the token alone may have found it.
    if let Err(challenge) = confirmed(core, parts, &brought, &live).await? {
        return Ok(Err(challenge));
    }
    Ok(claims(&live))
}

/// Whether a token came in the way that it has to, with the proof that it is bound to.
async fn confirmed(
    core: &Core,
    parts: &Parts,
    brought: &Brought<'_>,
    live: &Live,
) -> Result<Result<(), Challenge>, Trouble> {
    let refused = |reason: &dyn std::fmt::Display, challenge: Challenge| {
        audit!(
            "userinfo_refused",
            client = live.token.client_id,
            reason = reason
        );
        Ok(Err(challenge))
    };
    let invalid = |text| Challenge::Dpop(ErrorCode::InvalidToken, text);
    let wanted = live.token.certificate.as_ref();
    if wanted.is_some_and(|wanted| certificate::thumbprint(parts).as_ref() != Some(wanted)) {
        let text = "the token is bound to a certificate, which is not shown";
        let challenge = Challenge::Error(BearerError::InvalidToken, text);
        return refused(&"not the certificate that it is bound to", challenge);
    }
    let key = match (&live.token.key, brought.is_bound) {
        (None, false) => return Ok(Ok(())),
        // RFC 9449 section 7.2: else a proof could be left out.
        (Some(_), false) => {
            return refused(
                &"bound, and without a proof",
                invalid("the token is bound to a key"),
            );
        }
        (None, true) => {
            return refused(
                &"a proof of what is not bound",
                invalid("the token is not bound"),
            );
        }
        (Some(key), true) => key,
    };
    let url = certificate::url(core, parts, "/userinfo");
    let request = DpopRequest {
        method: &parts.method,
        url: &url,
        access_token: Some(brought.token),
    };
    match dpop::prove(core, &parts.headers, &request).await? {
        Ok(Some(shown)) if shown.thumbprint == *key => Ok(Ok(())),
        Ok(Some(_)) => refused(
            &"the proof of another key",
            invalid("the token is bound to another key"),
        ),
        Ok(None) => {
            let challenge = Challenge::Dpop(ErrorCode::InvalidDpopProof, "there is no DPoP proof");
            refused(&"no proof", challenge)
        }
        Err(unproven) => match Refusal::from(unproven) {
            Refusal::Denied(code, text) => refused(&unproven, Challenge::Dpop(code, text)),
            _ => refused(&unproven, invalid("the proof is not good")),
        },
    }
}

fn claims(live: &Live) -> Result<Map<String, Value>, Challenge> {
    if live.token.restricted {
        audit!(
            "userinfo_refused",
            client = live.token.client_id,
            reason = "for other resources"
        );
        return Err(Challenge::Error(
            BearerError::InvalidToken,
            "the token is not for this service",
        ));
    }
    let scope = &live.facts.scope;
    if live.facts.kind != SubjectKind::User || !scope.contains(SCOPE) {
        return Err(Challenge::Error(
            BearerError::InsufficientScope,
            "the token lacks the scope",
        ));
    }
    let user = live
        .user
        .as_ref()
        .ok_or_else(|| inactive(&Inactive::UserGone))?;
    Ok(user_claims(user, scope))
}

/// OpenID Connect Core sections 5.1 and 5.4.
fn user_claims(user: &User, scope: &Scope) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".into(), user.sub.as_str().into());
    if scope.contains("profile") {
        claims.insert("preferred_username".into(), user.username.as_str().into());
        if let Some(name) = &user.name {
            claims.insert("name".into(), name.as_str().into());
        }
    }
    if let Some(email) = user.email.as_ref().filter(|_| scope.contains("email")) {
        claims.insert("email".into(), email.as_str().into());
    }
    claims
}

fn inactive(reason: &Inactive) -> Challenge {
    audit!("userinfo_refused", reason = reason);
    Challenge::Error(BearerError::InvalidToken, "the token is not valid")
}
