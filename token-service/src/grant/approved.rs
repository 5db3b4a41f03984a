//! What was approved, when it is used: the grant that it becomes, and what of it is still permitted.

use oauth::Scope;

use super::TokenRequest;
use crate::audit::audit;
use crate::config::GrantType;
use crate::error::Trouble;
use crate::facts::{self, Known};
use crate::record::{Authentication, Grant, GrantState, Subject};
use crate::refusal::Refusal;
use crate::scopes::{self, Moment, ScopeQuestion};

/// What was approved, by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Approved<'a> {
    pub(super) subject: &'a Subject,
    pub(super) authentication: Option<&'a Authentication>,
    pub(super) scope: &'a Scope,
    /// Empty: not restricted.
    pub(super) resources: &'a [String],
}

/// What is left of it.
pub(super) enum Left {
    Permitted(Scope),
    UserGone,
    Nothing,
}

impl Left {
    /// The scope that is permitted, or a refusal for each way in which there is none.
    pub(super) fn or(
        self,
        gone: impl FnOnce() -> Refusal,
        nothing: impl FnOnce() -> Refusal,
    ) -> Result<Scope, Refusal> {
        match self {
            Self::Permitted(scope) => Ok(scope),
            Self::UserGone => Err(gone()),
            Self::Nothing => Err(nothing()),
        }
    }
}

impl Approved<'_> {
    /// The user must still be there, and the decision point must still permit. `resources`: what is
    /// asked for now; empty: all.
    pub(super) async fn left(
        self,
        request: TokenRequest<'_>,
        (grant_type, moment): (GrantType, Moment),
        resources: &[String],
    ) -> Result<Left, Trouble> {
        let scope = self.scope.intersection(&request.client.scope);
        let from = (request.core, request.registry);
        let client = request.client;
        let known = facts::gather(from, client, self.subject, self.authentication, scope);
        let Some(Known { facts, .. }) = known.await? else {
            return Ok(Left::UserGone);
        };
        let question = ScopeQuestion {
            facts: &facts,
            grant_type,
            moment,
            resources: if resources.is_empty() {
                self.resources
            } else {
                resources
            },
        };
        let scope = scopes::permitted(&*request.core.decisions, &question).await?;
        if scope.is_empty() {
            audit!(
                "grant_refused",
                client = client.id,
                sub = self.subject.id(),
                reason = "scope denied"
            );
            return Ok(Left::Nothing);
        }
        Ok(Left::Permitted(scope))
    }

    /// The grant that it becomes, with what is left of its scope.
    pub(super) fn grant(
        self,
        request: TokenRequest<'_>,
        grant_type: GrantType,
        scope: Scope,
    ) -> Grant {
        let ttl = &request.core.ttl;
        let now = request.core.now();
        let life = if grant_type.is_renewable() {
            ttl.refresh_token.max(ttl.access_token)
        } else {
            ttl.access_token
        };
        Grant {
            state: GrantState::Live,
            subject: self.subject.clone(),
            client_id: request.client.id.clone(),
            grant_type,
            scope,
            resources: self.resources.to_vec(),
            created: now,
            exp: now.plus(life),
            authentication: self.authentication.cloned(),
            exchanged: None,
            api_key: None,
        }
    }
}
