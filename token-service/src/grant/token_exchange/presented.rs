//! Subject and actor tokens: looked up and judged. Every cause for no is one and the same refusal.

use oauth::Scope;
use service_kit::UnixTime;

use super::wanted::TokenType;
use super::{Exchanging, refused};
use crate::phantom::{self, Live, Resolved, Returned};
use crate::refusal::{ErrorCode, Refusal};

/// A live token of ours that this client may use here.
pub(super) struct Presented {
    pub(super) live: Box<Live>,
    /// The most that it can be exchanged for.
    pub(super) scope: Scope,
    pub(super) exp: UnixTime,
    /// Whom it was made out to.
    resources: Vec<String>,
}

impl Presented {
    /// Whose access is asked for.
    pub(super) async fn subject(exchanging: Exchanging<'_>) -> Result<Self, Refusal> {
        let Exchanging { request, rule } = exchanging;
        let text = request.required("subject_token", "`subject_token` is missing")?;
        let kind = request.required("subject_token_type", "`subject_token_type` is missing")?;
        let subject = find(exchanging, text, TokenType::read(kind)?).await?;
        let from = &subject.live.token.client_id;
        if !rule.takes_from(from) {
            return Err(refused(
                request,
                &format!(
                    "the subject token is of `{from}`, which is not in `exchange.subject_clients`"
                ),
            ));
        }
        // SECURITY: a token that was never meant for this client was taken from somebody.
        if *from != request.client.id && !rule.is_one_of(&subject.resources) {
            return Err(refused(
                request,
                "the subject token is for none of `exchange.subject_resources`",
            ));
        }
        Ok(subject)
    }

    /// Who acts; none where the client itself does.
    pub(super) async fn actor(exchanging: Exchanging<'_>) -> Result<Option<Self>, Refusal> {
        let request = exchanging.request;
        let text = request.params.get("actor_token");
        let kind = request.params.get("actor_token_type");
        let (text, kind) = match (text, kind) {
            (None, None) => return Ok(None),
            (Some(text), Some(kind)) => (text, TokenType::read(kind)?),
            _ => {
                return Err(Refusal::Denied(
                    ErrorCode::InvalidRequest,
                    "`actor_token` and `actor_token_type` go together",
                ));
            }
        };
        let actor = find(exchanging, text, kind).await?;
        // SECURITY: nobody can be made to act by a token that was sent to a third party.
        if actor.live.token.client_id != request.client.id {
            return Err(refused(request, "the actor token is of another client"));
        }
        if actor.live.facts.act.is_some() {
            return Err(refused(request, "somebody else acts for the actor"));
        }
        Ok(Some(actor))
    }

    /// Handles of everything that hangs on this token, the oldest first.
    pub(super) fn origins(&self) -> impl Iterator<Item = String> {
        let before = self.live.grant.exchanged.iter();
        before
            .flat_map(|exchanged| &exchanged.origins)
            .cloned()
            .chain([self.live.kept.handle.as_str().to_owned()])
    }
}

/// An access token is opaque, or a JWT that was cut from one; a `jwt` is only the latter.
async fn find(
    Exchanging { request, rule }: Exchanging<'_>,
    text: &str,
    kind: TokenType,
) -> Result<Presented, Refusal> {
    let (core, registry) = (request.core, request.registry);
    if kind == TokenType::Transaction {
        return Err(refused(request, "a transaction token is no access token"));
    }
    if kind == TokenType::AccessToken && !jose::is_like_one(text) {
        return match phantom::find(core, registry, text).await? {
            // SECURITY: whoever has the token without its key may have found it. A JWT that was cut
            // from it is another matter: it has come from whoever checked the proof.
            Resolved::Live(live)
                if live
                    .token
                    .is_bound_to_other(request.key, request.certificate) =>
            {
                Err(refused(
                    request,
                    "the token is bound to a key or certificate that is not shown",
                ))
            }
            Resolved::Live(live) => Ok(Presented {
                scope: live.facts.scope.clone(),
                exp: live.token.exp,
                resources: live.token.resources.clone(),
                live,
            }),
            Resolved::Inactive(reason) => Err(refused(request, &reason.to_string())),
        };
    }
    let returned = phantom::returned(core, registry, text).await?;
    let Returned {
        live,
        audience,
        scope,
        exp,
    } = returned.map_err(|reason| refused(request, &reason.to_string()))?;
    let whole = &live.facts.scope;
    Ok(Presented {
        scope: if rule.beyond_jwt_scope {
            whole.clone()
        } else {
            whole.intersection(&scope)
        },
        exp: exp.min(live.token.exp),
        resources: vec![audience],
        live,
    })
}
