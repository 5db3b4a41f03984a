//! Logging out: by the person, here and at the provider (OpenID Connect RP-Initiated Logout 1.0), and by the
//! provider's word behind the browser's back (OpenID Connect Back-Channel Logout 1.0).

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use relying_party::Fault;

use crate::body::RequestBody;
use crate::canonical::CanonicalRequest;
use crate::login::record::SessionId;
use crate::login::store::Ended;
use crate::login::{Kind, Login, Logins, cookies};
use crate::metrics::LoginOutcome;
use crate::pipeline::login::page::Page;
use crate::pipeline::login::page::see_other;
use crate::pipeline::record::Record;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::response_body::ResponseBody;
use crate::worker::Worker;

/// Longer ones are no logout token's. Bytes.
const LONGEST_FORM: usize = 16 << 10;

/// Ends the session of whoever asks, and sends them on.
pub(super) async fn logout(
    worker: &Worker,
    (logins, index): (&Logins, usize),
    request: &CanonicalRequest,
    record: &mut Record,
) -> Result<Response<ResponseBody>, Refusal> {
    let (Some(login), Some(store)) = (logins.all.get(index), worker.sessions.store()) else {
        return Err(Refusal::NotFound);
    };
    let origin = logins.origin(request).ok_or(Refusal::NotFound)?;
    if !crate::login::browser::is_sent_by(request.headers(), origin) {
        return Err(Refusal::CrossSite);
    }
    let shown = cookies::find(request.headers(), &login.cookie);
    let id = shown.ok().flatten().and_then(SessionId::parse);
    let mut hint = None;
    if let Some(id) = &id {
        let name = store.name(id);
        let ended = async {
            let kept = store.load(&name, login, record.moment.unix).await?;
            store.end_session(&name).await?;
            Ok(kept)
        };
        let kept = ended.await.map_err(|error: store::StoreError| {
            let request_id = record.id.as_str();
            tracing::warn!(request_id, %error, "a session cannot be ended");
            Refusal::SessionStoreUnavailable
        })?;
        worker.sessions.forget(id);
        worker.core.metrics.login(index, LoginOutcome::LoggedOut);
        hint = kept.and_then(|kept| kept.session.tokens.id_token.clone());
    }
    let hint = hint.as_ref().map(service_kit::Secret::reveal);
    let onward = onward(login, origin, hint).await;
    let gone = logins.attributes.expire(&login.cookie);
    Ok(see_other(onward, gone))
}

/// To the provider, that they are logged out there, too; or where they go in the end.
async fn onward(login: &Login, origin: &str, hint: Option<&str>) -> HeaderValue {
    let end = login
        .after_logout
        .clone()
        .unwrap_or_else(|| format!("{origin}{}", login.path(Kind::LoggedOut)));
    let metadata = match login.party.metadata().await {
        Ok(metadata) if login.logout_at_provider => metadata,
        Ok(_) => return location(&end),
        Err(fault) => {
            tracing::warn!(login = &*login.name, %fault, "no logout at the provider");
            return location(&end);
        }
    };
    let place = metadata.additional_metadata().end_session_endpoint.clone();
    let Some(mut url) = place.filter(|url| login.party.is_acceptable(url)) else {
        return location(&end);
    };
    let mut query = url.query_pairs_mut();
    query.append_pair("client_id", login.party.client_id());
    query.append_pair("post_logout_redirect_uri", &end);
    if let Some(hint) = hint {
        query.append_pair("id_token_hint", hint);
    }
    drop(query);
    location(url.as_str())
}

fn location(url: &str) -> HeaderValue {
    HeaderValue::try_from(url).unwrap_or(HeaderValue::from_static("/"))
}

/// Ends what a provider says has ended.
pub(super) async fn backchannel(
    worker: &Worker,
    (logins, index): (&Logins, usize),
    body: RequestBody,
    record: &mut Record,
) -> Result<Response<ResponseBody>, Refusal> {
    let (Some(login), Some(store)) = (logins.all.get(index), worker.sessions.store()) else {
        return Err(Refusal::NotFound);
    };
    let form = body.collect(LONGEST_FORM).await;
    let token = form.ok().and_then(|form| logout_token(&form));
    let token = token.ok_or(Refusal::LogoutToken)?;
    let (now, request_id) = (record.moment.unix, record.id.as_str());
    let farewell = login.party.farewell(&token, now).await;
    let farewell = farewell.map_err(|fault| {
        tracing::warn!(login = &*login.name, request_id, %fault, "a logout token is refused");
        match fault {
            Fault::Down(_) => Refusal::IssuerUnavailable,
            Fault::Denied(_) | Fault::Invalid(_) | Fault::Stale | Fault::Unwanted(_) => {
                Refusal::LogoutToken
            }
        }
    })?;
    match store.end_by(login, &farewell, now).await {
        Ok(Ended::Done) => {}
        Ok(Ended::Replay) => return Err(Refusal::LogoutToken),
        Err(error) => {
            tracing::warn!(request_id, %error, "sessions cannot be ended");
            return Err(Refusal::SessionStoreUnavailable);
        }
    }
    let metrics = &worker.core.metrics;
    metrics.login(index, LoginOutcome::BackchannelLogout);
    tracing::info!(
        login = &*login.name,
        request_id,
        "the provider has ended sessions"
    );
    let mut response = Response::new(ResponseBody::whole(""));
    *response.status_mut() = StatusCode::OK;
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// The one that a form has.
fn logout_token(form: &[u8]) -> Option<String> {
    let mut tokens = url::form_urlencoded::parse(form).filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Some(token.into_owned()),
        _ => None,
    }
}

pub(super) fn page(page: Page) -> Response<ResponseBody> {
    page.response(None)
}
