//! `grant_type=refresh_token` (RFC 6749 section 6), with rotation: each refresh token is used
//! once. One that comes again is a copy, and its whole family dies; but for a moment the same request
//! gets the same answer, because the first may have been lost on its way.

use oauth::Scope;
use service_kit::{digest, random};
use store::Batch;

use super::approved::Approved;
use super::family::{Issue, Order};
use super::{TokenAnswer, TokenRequest, invalid_grant, nothing_granted};
use crate::audit::audit;
use crate::config::GrantType;
use crate::record::{self, Grant, RefreshState, RefreshToken, Rotation, Stored, Subject};
use crate::refusal::{ErrorCode, Refusal};
use crate::revocation;
use crate::scopes::Moment;
use crate::token::{Handle, Kind};
use crate::users;

pub(super) async fn exchange(request: TokenRequest<'_>) -> Result<TokenAnswer, Refusal> {
    let core = request.core;
    let text = request.required("refresh_token", "`refresh_token` is missing")?;
    let handle = Kind::RefreshToken
        .read(text, &core.secrets)
        .map_err(|error| refused(request, &error.to_string()))?;
    let stored = load(request, &handle).await?;
    let token = &stored.record;
    check(request, token)?;
    if token.state == RefreshState::Rotated {
        return used(request, token, text).await;
    }
    let grant = live_grant(request, token).await?;
    let resources = request.resources(&grant.resources)?;
    let scope = still_permitted(request, token, &grant, resources).await?;

    let rotation = Rotation {
        at: core.now(),
        seed: random::id()?,
        request: asked(request)?,
        key: request.key.map(str::to_owned),
        certificate: request.binding_certificate().map(str::to_owned),
    };
    let order = Order {
        grant_id: &token.grant,
        grant: &grant,
        scope,
        resources,
        nonce: None,
        after: Some((text, &rotation.seed)),
    };
    let issue = Issue::make(request, &order)?;
    let rotated = RefreshToken {
        state: RefreshState::Rotated,
        rotation: Some(rotation.clone()),
        ..token.clone()
    };
    let batch = Batch::new().replace(
        record::key::<RefreshToken>(handle.as_str()),
        stored.bytes.clone(),
        record::encode(&rotated)?,
        Some(record::keep_until(grant.exp, core.now())),
    );
    if !issue.commit(core, batch).await? {
        let stored = load(request, &handle).await?;
        return used(request, &stored.record, text).await;
    }
    audit!(
        "token_refreshed",
        client = token.client_id,
        sub = grant.subject.id(),
        grant = token.grant,
        token_ref = issue.token_ref(),
    );
    Ok(issue.answer(core.now()))
}

async fn load(request: TokenRequest<'_>, handle: &Handle) -> Result<Stored<RefreshToken>, Refusal> {
    record::load::<RefreshToken>(&*request.core.store, handle.as_str())
        .await?
        .ok_or_else(|| refused(request, "unknown refresh token"))
}

/// The token must be this client's, and come with its key.
fn check(request: TokenRequest<'_>, token: &RefreshToken) -> Result<(), Refusal> {
    // SECURITY: before reuse is acted upon. Another client must not be able to have a family
    // revoked by asking for tokens, and neither must whoever found the token without its key.
    if token.client_id != request.client.id {
        return Err(refused(request, "the refresh token of another client"));
    }
    if token.is_bound_to_other(request.key, request.certificate) {
        return Err(refused(
            request,
            "not the key or certificate that the refresh token is bound to",
        ));
    }
    Ok(())
}

/// The grant of a token that is alive.
async fn live_grant(request: TokenRequest<'_>, token: &RefreshToken) -> Result<Grant, Refusal> {
    let now = request.core.now();
    if now >= token.exp {
        return Err(refused(request, "the refresh token has expired"));
    }
    record::load::<Grant>(&*request.core.store, &token.grant)
        .await?
        .map(|stored| stored.record)
        .filter(|grant| grant.is_live(now))
        .ok_or_else(|| refused(request, "the grant has ended or is revoked"))
}

/// A token that was used before: the same answer again, where its first one may have been lost;
/// else somebody has a copy, and its family dies.
async fn used(
    request: TokenRequest<'_>,
    token: &RefreshToken,
    text: &str,
) -> Result<TokenAnswer, Refusal> {
    let core = request.core;
    if let Some(rotation) = &token.rotation
        && is_repeated(request, rotation)?
    {
        let grant = live_grant(request, token).await?;
        let user = users::of_subject(core, request.registry, &grant.subject).await?;
        if user.is_none() && matches!(grant.subject, Subject::User(_)) {
            return Err(refused(request, "the user is gone or disabled"));
        }
        let order = Order {
            grant_id: &token.grant,
            grant: &grant,
            // As it was granted then.
            scope: token.scope.clone(),
            resources: request.params.resources(),
            nonce: None,
            after: Some((text, &rotation.seed)),
        };
        if let Some(issue) = Issue::again(request, &order).await? {
            audit!(
                "refresh_repeated",
                client = token.client_id,
                grant = token.grant,
                token_ref = issue.token_ref(),
            );
            return Ok(issue.answer(core.now()));
        }
    }
    revocation::revoke_grant(core, &token.grant, "a refresh token was used twice").await?;
    Err(refused(request, "the refresh token was used before"))
}

/// Whether a request is the one that a token was used by, a moment later.
fn is_repeated(request: TokenRequest<'_>, rotation: &Rotation) -> Result<bool, Refusal> {
    let core = request.core;
    let is_soon = core.now() < rotation.at.plus(core.ttl.refresh_retry);
    let is_same = rotation.key.as_deref() == request.key
        && rotation.certificate.as_deref() == request.binding_certificate();
    Ok(is_soon && is_same && rotation.request == asked(request)?)
}

/// Stands for what a request asks for.
fn asked(request: TokenRequest<'_>) -> Result<String, Refusal> {
    let scope = request.scope()?.map(|scope| scope.to_string());
    let asked = serde_json::json!([scope, request.params.resources()]);
    Ok(digest::sha256_base64url(asked.to_string().as_bytes()))
}

/// The user must still be there, and the decision point must still permit.
async fn still_permitted(
    request: TokenRequest<'_>,
    token: &RefreshToken,
    grant: &Grant,
    resources: &[String],
) -> Result<Scope, Refusal> {
    let requested = request.scope()?.unwrap_or_else(|| token.scope.clone());
    if !requested.is_subset(&token.scope) {
        return Err(Refusal::Denied(
            ErrorCode::InvalidScope,
            "the scope is more than was granted",
        ));
    }
    let approved = Approved {
        subject: &grant.subject,
        authentication: grant.authentication.as_ref(),
        scope: &requested,
        resources: &grant.resources,
    };
    let at = (GrantType::RefreshToken, Moment::Refresh);
    let left = approved.left(request, at, resources).await?;
    let gone = || refused(request, "the user is gone or disabled");
    left.or(gone, nothing_granted)
}

fn refused(request: TokenRequest<'_>, reason: &str) -> Refusal {
    audit!(
        "refresh_refused",
        client = request.client.id,
        reason = reason
    );
    invalid_grant()
}
