//! `GET|POST /userinfo` (OpenID Connect Core section 5.3).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use oauth::{Scope, SubjectKind};
use serde_json::{Map, Value};

use super::protected::{Challenge, Endpoint};
use super::{render, request};
use crate::core::Core;
use crate::params::Params;
use crate::phantom::{Inactive, Live};
use crate::refusal::Refusal;
use crate::registry::User;

const ENDPOINT: Endpoint = Endpoint {
    name: "userinfo",
    path: "/userinfo",
    scope: "openid",
};

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
        Err(refusal) => render::finish(&core, ENDPOINT.name, Err(refusal)),
    }
}

async fn answer(core: &Core, parts: &Parts, form: Option<&Params>) -> Response {
    let told = match ENDPOINT.caller(core, parts, (form, "")).await {
        Ok(caller) => caller.and_then(|live| claims(&live)),
        Err(trouble) => return render::finish(core, ENDPOINT.name, Err(Refusal::Trouble(trouble))),
    };
    match told {
        Ok(claims) => {
            core.meter.request(ENDPOINT.name, "ok");
            render::json(&claims)
        }
        Err(challenge) => challenge.answer(core, ENDPOINT),
    }
}

fn claims(live: &Live) -> Result<Map<String, Value>, Challenge> {
    if live.facts.kind != SubjectKind::User {
        return Err(Challenge::lacks_scope());
    }
    let user = live.user.as_ref();
    let user = user.ok_or_else(|| ENDPOINT.inactive(&Inactive::UserGone))?;
    Ok(user_claims(user, &live.facts.scope))
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
