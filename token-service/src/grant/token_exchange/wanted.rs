//! What is asked for: a kind of token, for targets that the client may have it for (RFC 8693 section
//! 2.1, RFC 8707).

use std::collections::BTreeSet;

use oauth::Scope;

use super::{Exchanging, TokenRequest, audited_refusal};
use crate::refusal::{ErrorCode, Refusal};
use crate::registry::{Registry, Resource};

/// A request that the configuration allows.
pub(super) struct Wanted {
    pub(super) token_type: TokenType,
    /// Resources, at least one; exactly one where a JWT is wanted.
    pub(super) targets: Vec<String>,
    /// What means something at one of them.
    pub(super) scope: Scope,
}

/// RFC 8693 section 3, as far as it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    AccessToken,
    Jwt,
    /// draft-ietf-oauth-transaction-tokens
    Transaction,
}

impl TokenType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::Transaction => "urn:ietf:params:oauth:token-type:txn_token",
        }
    }

    /// Refresh tokens, ID tokens and SAML assertions are nothing that is exchanged here.
    pub(super) fn read(word: &str) -> Result<Self, Refusal> {
        [Self::AccessToken, Self::Jwt, Self::Transaction]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or(Refusal::Denied(
                ErrorCode::InvalidRequest,
                "the token type is not supported",
            ))
    }

    /// What is asked for.
    pub(super) fn wanted(request: TokenRequest<'_>) -> Result<Self, Refusal> {
        match request.params.get("requested_token_type") {
            None => Ok(Self::AccessToken),
            Some(word) => Self::read(word),
        }
    }
}

impl Wanted {
    pub(super) fn read(exchanging: Exchanging<'_>, token_type: TokenType) -> Result<Self, Refusal> {
        let Exchanging { request, rule } = exchanging;
        if token_type == TokenType::Jwt && !rule.jwts {
            audited_refusal(request, "no JWTs for this client");
            return Err(Refusal::Denied(
                ErrorCode::InvalidRequest,
                "the client may not ask for tokens of this type",
            ));
        }
        let targets = targets(exchanging)?;
        if token_type == TokenType::Jwt && targets.len() > 1 {
            return Err(Refusal::Denied(
                ErrorCode::InvalidTarget,
                "a JWT is for one resource",
            ));
        }
        let scope = targets
            .iter()
            .filter_map(|id| request.registry.resource(id))
            .fold(Scope::empty(), |all, resource| all.union(&resource.scope));
        Ok(Self {
            token_type,
            targets,
            scope,
        })
    }

    /// The resource that a JWT is wanted for, where one is wanted.
    pub(super) fn jwt_for<'r>(&self, registry: &'r Registry) -> Option<&'r Resource> {
        match (self.token_type, self.targets.as_slice()) {
            (TokenType::Jwt, [id]) => registry.resource(id),
            _ => None,
        }
    }
}

/// Every `resource` and `audience`; where none is named, the only one that the client may have.
fn targets(Exchanging { request, rule }: Exchanging<'_>) -> Result<Vec<String>, Refusal> {
    let mut targets: BTreeSet<&String> = request.params.resources().iter().collect();
    for name in request.params.audiences() {
        // The name of a resource server stands for all that it fronts.
        match request.registry.resource_server(name) {
            Some(server) => targets.extend(&server.resources),
            None => {
                targets.insert(name);
            }
        }
    }
    if targets.is_empty() && rule.audiences.len() == 1 {
        targets.extend(&rule.audiences);
    }
    if targets.is_empty() || !targets.iter().all(|id| rule.audiences.contains(*id)) {
        audited_refusal(
            request,
            "no target, or one that is not in `exchange.audiences`",
        );
        return Err(Refusal::Denied(
            ErrorCode::InvalidTarget,
            "no target is named, or the client may not exchange for one of them",
        ));
    }
    Ok(targets.into_iter().cloned().collect())
}
