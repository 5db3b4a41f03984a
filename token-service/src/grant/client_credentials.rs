//! `grant_type=client_credentials` (RFC 6749 section 4.4): a client on its own behalf. No
//! refresh token: it can ask again.

use oauth::Scope;
use service_kit::random;
use store::Batch;

use super::approved::Approved;
use super::family::{Issue, Order};
use super::{TokenAnswer, TokenRequest, nothing_granted};
use crate::audit::audit;
use crate::config::GrantType;
use crate::error::Trouble;
use crate::facts::{self, Known};
use crate::record::{self, Subject};
use crate::refusal::{ErrorCode, Refusal};
use crate::scopes::{self, Moment, ScopeQuestion};

/// What only a person can have.
pub(super) const OF_PEOPLE: [&str; 2] = ["openid", "offline_access"];

pub(super) async fn exchange(request: TokenRequest<'_>) -> Result<TokenAnswer, Refusal> {
    let TokenRequest { core, client, .. } = request;
    if client.is_public() {
        return Err(Refusal::Denied(
            ErrorCode::UnauthorizedClient,
            "a client without a secret cannot act on its own behalf",
        ));
    }
    let resources = request.resources(&[])?;
    let subject = Subject::Client(client.id.clone());
    let scope = permitted(request, &subject, resources).await?;

    let now = core.now();
    let grant_id = random::id()?;
    let approved = Approved {
        subject: &subject,
        authentication: None,
        scope: &scope,
        resources,
    };
    let grant = approved.grant(request, GrantType::ClientCredentials, scope.clone());
    let issue = Issue::make(request, &Order::first(&grant_id, &grant, resources))?;
    let batch = record::put_new(Batch::new(), &grant_id, &grant, grant.exp, now)?;
    if !issue.commit(core, batch).await? {
        return Err(Refusal::Trouble(Trouble::Record {
            message: "a fresh random name was taken".into(),
        }));
    }
    audit!(
        "client_granted",
        client = client.id,
        scope = grant.scope,
        grant = grant_id,
        token_ref = issue.token_ref(),
    );
    Ok(issue.answer(core.now()))
}

/// What is requested, allowed to the client, and permitted.
async fn permitted(
    request: TokenRequest<'_>,
    subject: &Subject,
    resources: &[String],
) -> Result<Scope, Refusal> {
    let TokenRequest { core, client, .. } = request;
    let requested = request.scope()?.unwrap_or_else(|| client.scope.clone());
    let allowed = requested
        .intersection(&client.scope)
        .filter(|token| !OF_PEOPLE.contains(&token));
    let from = (core, request.registry);
    let known = facts::gather(from, client, subject, None, allowed).await?;
    let Known { facts, .. } = known.ok_or_else(nothing_granted)?;
    let question = ScopeQuestion {
        facts: &facts,
        grant_type: GrantType::ClientCredentials,
        moment: Moment::Issue,
        resources,
    };
    let scope = scopes::permitted(&*core.decisions, &question).await?;
    if scope.is_empty() {
        audit!("grant_refused", client = client.id, reason = "scope denied");
        return Err(nothing_granted());
    }
    Ok(scope)
}
