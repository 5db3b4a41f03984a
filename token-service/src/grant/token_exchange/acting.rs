//! Who acts in what is issued: `act` (RFC 8693 section 4.1), and whether they may (section 4.4).

use oauth::Actor;

use super::presented::Presented;
use super::{Exchanging, refused};
use crate::config::Semantics;
use crate::refusal::Refusal;

/// Who acts, and who had to be allowed to.
pub(super) struct Acting {
    pub(super) act: Option<Actor>,
    pub(super) party: String,
}

/// Longer chains are nobody's design.
const MOST_ACTORS: usize = 5;

impl Acting {
    /// Whoever acted before is kept, nested; nothing takes an actor away.
    pub(super) fn of(
        Exchanging { request, rule }: Exchanging<'_>,
        subject: &Presented,
        actor: Option<&Presented>,
    ) -> Result<Self, Refusal> {
        let client = &request.client.id;
        let (party, through) = match actor {
            Some(actor) => (&actor.live.facts.sub, &actor.live.token.client_id),
            None => (client, client),
        };
        let subject = &subject.live;
        let whose = (&subject.grant.subject, subject.user.as_deref());
        if !request
            .registry
            .may_act(whose, &subject.token.client_id, party)
        {
            return Err(refused(request, "`may_act` names others"));
        }
        let before = subject.facts.act.clone();
        let is_named = actor.is_some() || rule.without_actor_token == Semantics::Delegation;
        let act = if is_named {
            Some(Actor {
                sub: party.clone(),
                client_id: through.clone(),
                act: before.map(Box::new),
            })
        } else {
            before
        };
        if act.as_ref().is_some_and(|act| act.count() > MOST_ACTORS) {
            return Err(refused(request, "too many act for one another"));
        }
        Ok(Self {
            act,
            party: party.clone(),
        })
    }
}
