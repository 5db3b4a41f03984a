//! The boundary: whoever can say what an opaque token stands for at one resource.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Actor, OpaqueToken, Origin, ResourceId, Scope};

/// Trades an opaque token for what the gateway must know and the JWT that the upstream gets.
/// Implemented by the token service in process, by [`crate::HttpTokenIntrospector`], and by
/// caches around either.
#[async_trait]
pub trait TokenIntrospector: Send + Sync + Debug {
    /// Unknown, expired, revoked, not for this resource: all are [`Introspection::Inactive`].
    async fn introspect(
        &self,
        token: &OpaqueToken,
        resource: &ResourceId,
    ) -> Result<Introspection, IntrospectionError>;
}

/// What a token is worth at a resource.
#[derive(Debug, Clone, PartialEq)]
pub enum Introspection {
    Active(Arc<ActiveToken>),
    Inactive,
}

/// A live token, swapped for one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveToken {
    pub facts: SubjectFacts,
    /// For the upstream; cut for its audience.
    pub jwt: PhantomJwt,
    /// When this answer ends: the earlier of the token's and the JWT's end. Unix seconds.
    pub exp: u64,
    /// Names the token in revocation events. Not the token, nor derived from it.
    pub token_ref: String,
    /// Names the grant (the family that is revoked together) in revocation events.
    pub grant: String,
    /// The tokens that it was exchanged from (RFC 8693): an event about one of them is about this
    /// one, too.
    pub origins: Vec<Origin>,
    /// What whoever presents the token has to prove beside it. None: a bearer token.
    pub confirmation: Option<Confirmation>,
}

/// What a token is bound to: the `cnf` claim (RFC 7800).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// A key that signs DPoP proofs, by its thumbprint (RFC 9449 section 6.1).
    #[serde(rename = "jkt")]
    DpopKey(String),
    /// The certificate of the connection, by its SHA-256 (RFC 8705 section 3.1).
    #[serde(rename = "x5t#S256")]
    Certificate(String),
}

/// Who calls, as attributes for the decision. Never more than the decision may need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectFacts {
    /// `User` or `Client`: the two name spaces of `sub` never mix.
    pub kind: SubjectKind,
    pub sub: String,
    pub client_id: String,
    pub scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Who acts for the subject; none where nobody does (RFC 8693 section 4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// The id of the API key that was shown; none where it was an access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Further attributes (`roles`, `groups`, …) for the subject's properties.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
}

/// Whether a resource owner or a client on its own behalf is acting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    User,
    Client,
}

/// The signed JWT, compact form. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PhantomJwt(Arc<str>);

/// Why nothing can be said about a token. Deliberately exhaustive.
#[derive(Debug, thiserror::Error)]
pub enum IntrospectionError {
    #[error("the token service is not available")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    #[error("the token service did not answer in time")]
    Timeout,
    /// Our own credential, or our right to ask about this resource, was refused.
    #[error("the token service refused us: {message}")]
    Rejected { message: String },
    #[error("the token service gave no usable answer: {message}")]
    Internal { message: String },
}

impl PhantomJwt {
    pub fn new(compact: impl Into<Arc<str>>) -> Self {
        Self(compact.into())
    }

    /// The compact form: for the upstream's `Authorization` header, never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Debug for PhantomJwt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PhantomJwt(…)")
    }
}

impl SubjectKind {
    /// The AuthZEN subject type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Client => "Client",
        }
    }
}
