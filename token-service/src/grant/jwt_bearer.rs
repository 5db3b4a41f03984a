//! `grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523 section 2.1): an issuer that is
//! trusted for it says for whom a client asks. No refresh token: there is always another assertion.
//!
//! An assertion buys one grant, by one conditional write that also remembers it.

use jose::{Accepted, Unverified};
use oauth::Scope;
use serde_json::Value;
use service_kit::random;
use store::Batch;

use super::approved::Approved;
use super::client_credentials::OF_PEOPLE;
use super::family::{Issue, Order};
use super::{TokenAnswer, TokenRequest, nothing_granted};
use crate::assertion::{Unproven, Use};
use crate::audit::audit;
use crate::config::GrantType;
use crate::record::{self, Subject};
use crate::refusal::{ErrorCode, Refusal};
use crate::scopes::Moment;

/// `authorization-grant+jwt` says what it is for; most issuers say nothing or `JWT`.
const TYPES: Accepted = Accepted {
    types: &["jwt", "authorization-grant+jwt"],
    untyped: true,
};

/// What an assertion comes to.
struct Asserted {
    subject: Subject,
    /// The most that the issuer's word is good for.
    scope: Scope,
    used: Use,
}

pub(super) async fn exchange(request: TokenRequest<'_>) -> Result<TokenAnswer, Refusal> {
    let TokenRequest { core, client, .. } = request;
    let text = request.required("assertion", "`assertion` is missing")?;
    let asserted = asserted(request, text).map_err(|unproven| refused(request, unproven))?;
    let resources = request.resources(&[])?;
    let requested = request.scope()?.unwrap_or_else(|| client.scope.clone());
    let requested = requested
        .intersection(&asserted.scope)
        .filter(|token| !OF_PEOPLE.contains(&token));
    let approved = Approved {
        subject: &asserted.subject,
        authentication: None,
        scope: &requested,
        resources,
    };
    let at = (GrantType::JwtBearer, Moment::Issue);
    let left = approved.left(request, at, resources).await?;
    let gone = || refused(request, Unproven::Subject);
    let scope = left.or(gone, nothing_granted)?;

    let now = core.now();
    let grant_id = random::id()?;
    let grant = approved.grant(request, at.0, scope);
    let issue = Issue::make(request, &Order::first(&grant_id, &grant, resources))?;
    let batch = record::put_new(Batch::new(), &grant_id, &grant, grant.exp, now)?;
    if !issue.commit(core, asserted.used.first(batch, now)?).await? {
        return Err(refused(request, Unproven::Used));
    }
    audit!(
        "assertion_redeemed",
        client = client.id,
        sub = grant.subject.id(),
        scope = grant.scope,
        grant = grant_id,
        token_ref = issue.token_ref(),
    );
    Ok(issue.answer(now))
}

/// Whom an assertion names, if it holds. It is not used yet.
fn asserted(request: TokenRequest<'_>, text: &str) -> Result<Asserted, Unproven> {
    let TokenRequest {
        core,
        registry,
        client,
        ..
    } = request;
    let unverified = Unverified::read(text, TYPES)?;
    let name = unverified.issuer().unwrap_or_default().to_owned();
    let Some(issuer) = registry.assertion_issuer(&name, &client.id) else {
        unverified.verify_by_nobody();
        return Err(Unproven::UnknownIssuer);
    };
    let claims = unverified.verify(&issuer.keys)?;
    let used = Use::of(&claims, &name, core.issuer.as_str(), core.now())?;
    let sub = claims.get("sub").and_then(Value::as_str);
    let user = sub.and_then(|sub| registry.user_of_assertion(issuer, sub));
    Ok(Asserted {
        subject: Subject::User(user.ok_or(Unproven::Subject)?.sub.clone()),
        scope: issuer.scope.clone(),
        used,
    })
}

/// The one answer to every assertion that is not good, whatever the cause.
fn refused(request: TokenRequest<'_>, reason: Unproven) -> Refusal {
    audit!(
        "assertion_refused",
        client = request.client.id,
        reason = reason
    );
    Refusal::Denied(
        ErrorCode::InvalidGrant,
        "the assertion is not valid, or not for this client",
    )
}
