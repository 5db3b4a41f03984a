//! OAuth words: tokens, scopes, what an introspection answers, and the [`TokenIntrospector`]
//! boundary that every implementation (in process, over HTTP, cached) shares.
//!
//! Follows RFC 6749, 6750, 7662 and the phantom-token practice. Never signs, never stores.

mod actor;
mod challenge;
mod client;
mod dpop;
mod event;
mod introspection;
mod scope;
mod token;

pub use actor::{Actor, Origin};
pub use challenge::{BearerChallenge, BearerError, DpopChallenge, StepUp};
pub use client::{
    HttpTokenIntrospector, HttpTokenIntrospectorConfig, SwapAnswer, Swapped, basic_authorization,
};
pub use dpop::{DPOP, DPOP_NONCE, DpopFault, DpopNonces, DpopProof, DpopRequest, dpop_algorithms};
pub use event::TokenEvent;
pub use introspection::{
    ActiveToken, Confirmation, Introspection, IntrospectionError, PhantomJwt, SubjectFacts,
    SubjectKind, TokenIntrospector,
};
pub use scope::{Scope, ScopeError};
pub use token::{OpaqueToken, ResourceId, TokenSyntaxError};

/// Media type with which a gateway asks for facts and JWT in one answer (see
/// [`HttpTokenIntrospector`]).
pub const SWAP_MEDIA_TYPE: &str = "application/vnd.cedargate.swap+json";
