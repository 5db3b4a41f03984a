//! Token exchange (RFC 8693): a client gets a token for one that it was sent, to go on with.
//!
//! What is issued hangs on what it was exchanged from: it ends with it and dies with it, has no more
//! scope, and says who acts. A client may exchange what its configuration names, and nothing else.

mod acting;
mod presented;
mod replaced;
mod transaction;
mod wanted;

use oauth::{Scope, SubjectFacts};
use service_kit::random;
use store::Batch;

use super::client_credentials::OF_PEOPLE;
use super::family::{Issue, Order};
use super::{TokenAnswer, TokenRequest, nothing_granted};
use crate::audit::audit;
use crate::config::GrantType;
use crate::phantom::{self, Resolved};
use crate::record::{self, Exchanged, Grant, GrantState};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::Exchange;
use crate::scopes::{self, Moment, ScopeQuestion};
use acting::Acting;
use presented::Presented;
use wanted::{TokenType, Wanted};

/// A request and what its client may exchange.
#[derive(Clone, Copy)]
struct Exchanging<'a> {
    request: TokenRequest<'a>,
    rule: &'a Exchange,
}

pub(super) async fn exchange(request: TokenRequest<'_>) -> Result<TokenAnswer, Refusal> {
    let rule = request.client.exchange.as_ref().ok_or(Refusal::Denied(
        ErrorCode::UnauthorizedClient,
        "the client may not exchange tokens",
    ))?;
    let exchanging = Exchanging { request, rule };
    let kind = TokenType::wanted(request)?;
    if kind == TokenType::Transaction {
        return transaction::exchange(exchanging).await;
    }
    let wanted = Wanted::read(exchanging, kind)?;
    let subject = Presented::subject(exchanging).await?;
    let actor = Presented::actor(exchanging).await?;
    let acting = Acting::of(exchanging, &subject, actor.as_ref())?;
    let requested = request.scope()?.unwrap_or_else(|| subject.scope.clone());
    let facts = SubjectFacts {
        // Nothing that no target knows.
        scope: allowed(request, &requested, &subject.scope)?.intersection(&wanted.scope),
        client_id: request.client.id.clone(),
        act: acting.act.clone(),
        ..subject.live.facts.clone()
    };
    let scope = permitted(request, &facts, &wanted.targets).await?;

    let grant = grant_of(exchanging, &wanted, scope, &subject, actor.as_ref(), acting)?;
    let grant_id = random::id()?;
    let order = Order::first(&grant_id, &grant, &wanted.targets);
    let issue = Issue::make(request, &order)?;
    let now = request.core.now();
    let batch = record::put_new(Batch::new(), &grant_id, &grant, grant.exp, now)?;
    let origins = [Some(&*subject.live), actor.as_ref().map(|it| &*it.live)];
    let origins = origins.into_iter().flatten();
    let batch = phantom::while_they_stand(batch, origins, now);
    if !issue.commit(request.core, batch).await? {
        return Err(refused(request, "revoked while it was exchanged"));
    }
    audited(&grant, &grant_id, &issue, &subject);
    answered(exchanging, &wanted, issue).await
}

/// The grant that the new token is of.
fn grant_of(
    Exchanging { request, .. }: Exchanging<'_>,
    wanted: &Wanted,
    scope: Scope,
    subject: &Presented,
    actor: Option<&Presented>,
    acting: Acting,
) -> Result<Grant, Refusal> {
    let mut origins: Vec<String> = Vec::new();
    let mut exp = request.core.now().plus(request.core.ttl.access_token);
    for presented in [Some(subject), actor].into_iter().flatten() {
        exp = exp.min(presented.exp).min(presented.live.grant.exp);
        for handle in presented.origins() {
            if !origins.contains(&handle) {
                origins.push(handle);
            }
        }
    }
    if origins.len() > MOST_ORIGINS {
        return Err(refused(request, "it was exchanged too often"));
    }
    let was = &subject.live.grant;
    Ok(Grant {
        state: GrantState::Live,
        subject: was.subject.clone(),
        client_id: request.client.id.clone(),
        grant_type: GrantType::TokenExchange,
        scope,
        resources: wanted.targets.clone(),
        created: request.core.now(),
        exp,
        authentication: was.authentication.clone(),
        exchanged: Some(Exchanged {
            act: acting.act,
            subject_client: subject.live.token.client_id.clone(),
            party: acting.party,
            origins,
        }),
        api_key: None,
    })
}

/// What may be asked for: all of it must be in the subject token; what the client may not have is taken
/// away.
fn allowed(
    request: TokenRequest<'_>,
    requested: &Scope,
    of_subject: &Scope,
) -> Result<Scope, Refusal> {
    if !requested.is_subset(of_subject) {
        audited_refusal(request, "more scope than the subject token has");
        return Err(Refusal::Denied(
            ErrorCode::InvalidScope,
            "the scope is more than the subject token has",
        ));
    }
    let allowed = requested.intersection(&request.client.scope);
    Ok(allowed.filter(|token| !OF_PEOPLE.contains(&token)))
}

/// What of the scope is permitted for the subject.
async fn permitted(
    request: TokenRequest<'_>,
    facts: &SubjectFacts,
    resources: &[String],
) -> Result<Scope, Refusal> {
    let question = ScopeQuestion {
        facts,
        grant_type: GrantType::TokenExchange,
        moment: Moment::Issue,
        resources,
    };
    let scope = scopes::permitted(&*request.core.decisions, &question).await?;
    if scope.is_empty() {
        audited_refusal(request, "scope denied");
        return Err(nothing_granted());
    }
    Ok(scope)
}

/// The opaque token, or the JWT that introspection would give for it now.
async fn answered(
    Exchanging { request, .. }: Exchanging<'_>,
    wanted: &Wanted,
    issue: Issue,
) -> Result<TokenAnswer, Refusal> {
    let TokenRequest { core, registry, .. } = request;
    let jwt = match wanted.jwt_for(registry) {
        None => None,
        Some(resource) => {
            let text = issue.access_token();
            let Resolved::Live(live) = phantom::resolve(core, registry, text, resource).await?
            else {
                audited_refusal(request, "nothing that the JWT could say is permitted");
                return Err(nothing_granted());
            };
            Some(phantom::swap(core, &live, resource)?)
        }
    };
    let mut answer = issue.answer(core.now());
    answer.issued_token_type = Some(wanted.token_type.as_str());
    if let Some(swapped) = jwt {
        swapped.jwt.reveal().clone_into(&mut answer.access_token);
        answer.expires_in = swapped.exp.saturating_sub(core.now().as_secs());
        answer.scope = swapped.facts.scope;
    }
    Ok(answer)
}

fn audited(grant: &Grant, grant_id: &str, issue: &Issue, subject: &Presented) {
    let exchanged = grant.exchanged.as_ref();
    let acting = exchanged.and_then(|exchanged| exchanged.act.as_ref());
    audit!(
        "token_exchanged",
        client = grant.client_id,
        sub = grant.subject.id(),
        actor = acting.map_or("", |actor| actor.sub.as_str()),
        scope = grant.scope,
        grant = grant_id,
        token_ref = issue.token_ref(),
        subject_token_ref = subject.live.token.token_ref,
    );
}

/// The one answer to every subject or actor token that is not good here, whatever the cause.
fn refused(request: TokenRequest<'_>, reason: &str) -> Refusal {
    audited_refusal(request, reason);
    Refusal::Denied(
        ErrorCode::InvalidRequest,
        "the subject or actor token is not valid, or not for this client",
    )
}

fn audited_refusal(request: TokenRequest<'_>, reason: &str) {
    audit!(
        "exchange_refused",
        client = request.client.id,
        reason = reason
    );
}

/// Each use of a token looks at all that it hangs on.
const MOST_ORIGINS: usize = 10;
