//! A logout that comes as a form of the application's own page. A browser brings no cookies along with
//! such a form, and so comes again, by itself, with the name of what was posted.
//!
//! SECURITY: not with what was posted. URLs are kept in histories and logs, and an ID token says who
//! somebody is, and ends logins.

use std::time::Duration;

use axum::response::Response;

use super::Hint;
use crate::audit::audit;
use crate::core::Core;
use crate::http::{browser, request};
use crate::params::Params;
use crate::record::{self, LogoutRequest};
use crate::refusal::{ErrorCode, Refusal};
use crate::token::Kind;

/// The name, in the query.
const NAME: &str = "logout_request";

/// The browser comes again at once.
const LIFE: Duration = Duration::from_mins(1);

/// Sends the browser here again, by GET.
pub(super) async fn come_again(core: &Core, params: &Params) -> Result<Response, Refusal> {
    let path = core.issuer.path();
    let to = |query: &str| browser::see_other(&format!("{path}/logout?{query}"));
    let Some(text) = params.get("id_token_hint") else {
        return Ok(to(&params.to_form(&[])));
    };
    // Nobody fills the store without an ID token of ours; another one says nothing, but that there was
    // one.
    if Hint::read(core, text).is_none() {
        let mut form = params.to_form(&["id_token_hint"]);
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str("id_token_hint=unreadable");
        return Ok(to(&form));
    }
    let minted = Kind::LogoutRequest.mint(&core.secrets)?;
    let kept = LogoutRequest {
        form: params.to_form(&[]),
        exp: core.now().plus(LIFE),
    };
    record::keep(
        &*core.store,
        minted.handle.as_str(),
        &kept,
        kept.exp,
        core.now(),
    )
    .await?;
    Ok(to(&format!("{NAME}={}", minted.reveal())))
}

/// What was posted, if the query names it.
pub(super) async fn posted(core: &Core, params: &Params) -> Result<Option<Params>, Refusal> {
    let Some(name) = params.get(NAME) else {
        return Ok(None);
    };
    let gone = |reason: &str| {
        audit!("logout_request_refused", reason = reason);
        Refusal::Denied(
            ErrorCode::InvalidRequest,
            "this link has been used or is too old; please start again at the application",
        )
    };
    let handle = Kind::LogoutRequest
        .read(name, &core.secrets)
        .map_err(|error| gone(&error.to_string()))?;
    let taken = record::take::<LogoutRequest>(&*core.store, handle.as_str())
        .await?
        .filter(|taken| core.now() < taken.exp)
        .ok_or_else(|| gone("unknown, used, or too old"))?;
    request::read(taken.form.as_bytes()).map(Some)
}
