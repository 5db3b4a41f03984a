//! Who gives out the tokens that are taken here, and what each says of one.

use std::sync::Arc;

use oauth::{ActiveToken, Introspection, OpaqueToken, ResourceId, TokenIntrospector};
use service_kit::{Secret, UnixTime};
use tokio::time::Instant;

use super::answer::Answer;
use super::certificate::CertificateRules;
use super::fault::Unknown;
use super::introspection::Introspector;
use super::jwt::JwtRules;
use super::mapping::Namespace;

/// One of them.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// As configuration, logs and metrics call it.
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
}

/// By what its tokens are known.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Opaque tokens, swapped for JWTs of the upstream's own.
    TokenService(TokenService),
    Jwt(Box<JwtRules>),
    Introspection(Box<Introspector>),
    /// No tokens: whoever has a certificate is known by it.
    Certificate(CertificateRules),
}

/// The token service, which names its subjects without a name space.
#[derive(Debug)]
pub(crate) struct TokenService {
    /// None: nobody is there to be asked. No route then accepts it.
    pub(crate) introspector: Option<Arc<dyn TokenIntrospector>>,
    pub(crate) namespace: Namespace,
}

impl Issuer {
    /// Its issuer identifier, where configuration says it.
    pub(crate) fn url(&self) -> Option<&str> {
        match &self.kind {
            Kind::TokenService(_) | Kind::Certificate(_) => None,
            Kind::Jwt(rules) => Some(&rules.issuer),
            Kind::Introspection(introspector) => introspector.issuer.as_deref(),
        }
    }

    /// Whether a token looks like one of it: else asking would be in vain.
    pub(crate) fn can_have_made(&self, token: &str) -> bool {
        match self.kind {
            // A JWT from outside, say: no token of ours looks like it.
            Kind::TokenService(_) => OpaqueToken::parse(token).is_ok(),
            Kind::Jwt(_) | Kind::Introspection(_) => true,
            Kind::Certificate(_) => false,
        }
    }

    /// What the decision point hears of it beside the subject. Of the token service: nothing.
    pub(crate) fn told(&self) -> Option<&str> {
        match self.kind {
            Kind::TokenService(_) => None,
            Kind::Jwt(_) | Kind::Introspection(_) | Kind::Certificate(_) => Some(&self.name),
        }
    }

    /// What it says of a token, at one resource.
    pub(crate) async fn ask(
        &self,
        token: &Secret,
        resource: &ResourceId,
        now: UnixTime,
    ) -> Result<Answer, Unknown> {
        match &self.kind {
            Kind::TokenService(service) => service.ask(token, resource).await,
            Kind::Jwt(rules) => {
                rules
                    .verify(token.reveal(), (&self.name, resource), now)
                    .await
            }
            Kind::Introspection(introspector) => {
                let place = (&*self.name, resource);
                introspector.ask(token.reveal(), place, now).await
            }
            Kind::Certificate(_) => Ok(Answer::Inactive),
        }
    }

    /// Changes with whatever voids answers that are remembered. None: none of them counts now.
    pub(crate) fn version(&self, now: Instant) -> Option<u64> {
        match &self.kind {
            Kind::TokenService(_) | Kind::Introspection(_) | Kind::Certificate(_) => Some(0),
            Kind::Jwt(rules) => rules.keys.version(now),
        }
    }

    /// Whether a refusal is remembered: it is, where asking again would cost somebody something.
    pub(crate) fn remembers_refusals(&self) -> bool {
        !matches!(self.kind, Kind::Jwt(_))
    }
}

impl TokenService {
    async fn ask(&self, token: &Secret, resource: &ResourceId) -> Result<Answer, Unknown> {
        let Ok(token) = OpaqueToken::parse(token.reveal()) else {
            return Ok(Answer::Inactive);
        };
        let Some(introspector) = &self.introspector else {
            return Ok(Answer::Inactive);
        };
        let answer = introspector.introspect(&token, resource).await;
        match answer.map_err(Unknown::TokenService)? {
            Introspection::Active(token) if self.owns(&token) => Ok(Answer::Swapped(token)),
            Introspection::Active(_) => {
                tracing::warn!("a subject of the token service is named like another issuer's");
                Ok(Answer::Inactive)
            }
            Introspection::Inactive => Ok(Answer::Inactive),
        }
    }

    fn owns(&self, token: &ActiveToken) -> bool {
        let facts = &token.facts;
        self.namespace.admits(&facts.sub) && self.namespace.admits(&facts.client_id)
    }
}
