//! `grant_type=refresh_token` (RFC 6749 section 6), with rotation: each refresh token is used
//! once. One that comes again is a copy, and its whole family dies.

use oauth::SubjectFacts;
use store::Batch;

use super::family::{Issue, Order};
use super::{TokenAnswer, TokenRequest, invalid_grant, nothing_granted};
use crate::audit::audit;
use crate::config::GrantType;
use crate::facts;
use crate::record::{self, Grant, RefreshState, RefreshToken, Stored};
use crate::refusal::{ErrorCode, Refusal};
use crate::revocation;
use crate::scopes::{self, Moment, ScopeQuestion};
use crate::token::Kind;

pub(super) async fn exchange(request: TokenRequest<'_>) -> Result<TokenAnswer, Refusal> {
    let core = request.core;
    let text = request.required("refresh_token", "`refresh_token` is missing")?;
    let handle = Kind::RefreshToken
        .read(text, &core.secrets)
        .map_err(|error| refused(request, &error.to_string()))?;
    let stored = record::load::<RefreshToken>(&*core.store, handle.as_str())
        .await?
        .ok_or_else(|| refused(request, "unknown refresh token"))?;
    let grant = check(request, &stored).await?;
    let token = &stored.record;
    let resources = request.resources(&grant.resources)?;
    let facts = still_permitted(request, token, &grant, resources).await?;

    let order = Order {
        grant_id: &token.grant,
        grant: &grant,
        scope: facts.scope,
        resources,
        nonce: None,
    };
    let issue = Issue::make(request, &order)?;
    let rotated = RefreshToken {
        state: RefreshState::Rotated,
        ..token.clone()
    };
    let batch = Batch::new().replace(
        record::key::<RefreshToken>(handle.as_str()),
        stored.bytes.clone(),
        record::encode(&rotated)?,
        Some(record::keep_until(grant.exp, core.now())),
    );
    if !core
        .store
        .commit(issue.write(core, batch)?)
        .await?
        .is_applied()
    {
        return Err(reused(request, token).await?);
    }
    audit!(
        "token_refreshed",
        client = token.client_id,
        sub = grant.subject.id(),
        grant = token.grant,
        token_ref = issue.token_ref(),
    );
    Ok(issue.answer())
}

/// The token must be this client's, never used, alive, and of a grant that is.
async fn check(request: TokenRequest<'_>, stored: &Stored<RefreshToken>) -> Result<Grant, Refusal> {
    let token = &stored.record;
    // SECURITY: before reuse is acted upon. Another client must not be able to have a family
    // revoked.
    if token.client_id != request.client.id {
        return Err(refused(request, "the refresh token of another client"));
    }
    match token.state {
        RefreshState::Live => {}
        RefreshState::Rotated => return Err(reused(request, token).await?),
    }
    if token.key.is_some() && token.key.as_deref() != request.key {
        return Err(refused(
            request,
            "not the key that the refresh token is bound to",
        ));
    }
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

/// The user must still be there, and the decision point must still permit.
async fn still_permitted(
    request: TokenRequest<'_>,
    token: &RefreshToken,
    grant: &Grant,
    resources: &[String],
) -> Result<SubjectFacts, Refusal> {
    let requested = request.scope()?.unwrap_or_else(|| token.scope.clone());
    if !requested.is_subset(&token.scope) {
        return Err(Refusal::Denied(
            ErrorCode::InvalidScope,
            "the scope is more than was granted",
        ));
    }
    let facts = facts::gather(
        request.registry,
        request.client,
        &grant.subject,
        grant.authentication.as_ref(),
        requested.intersection(&request.client.scope),
    )
    .ok_or_else(|| refused(request, "the user is gone or disabled"))?;
    let question = ScopeQuestion {
        facts: &facts,
        grant_type: GrantType::RefreshToken,
        moment: Moment::Refresh,
        resources: if resources.is_empty() {
            &grant.resources
        } else {
            resources
        },
    };
    let scope = scopes::permitted(&*request.core.decisions, &question).await?;
    if scope.is_empty() {
        audit!(
            "refresh_refused",
            client = token.client_id,
            reason = "scope denied"
        );
        return Err(nothing_granted());
    }
    Ok(SubjectFacts { scope, ..facts })
}

async fn reused(
    request: TokenRequest<'_>,
    token: &RefreshToken,
) -> Result<Refusal, crate::error::Trouble> {
    revocation::revoke_grant(request.core, &token.grant, "a refresh token was used twice").await?;
    Ok(refused(request, "the refresh token was used before"))
}

fn refused(request: TokenRequest<'_>, reason: &str) -> Refusal {
    audit!(
        "refresh_refused",
        client = request.client.id,
        reason = reason
    );
    invalid_grant()
}
