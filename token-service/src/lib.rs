//! The token service: an OAuth 2.1 authorization server and OpenID provider whose access tokens
//! are opaque outside and JWTs cut for one resource inside (phantom tokens).
//!
//! Decides who may hold which token; never decides what a token may do at a resource. Asks a
//! [`authzen::DecisionPoint`] which scopes may be granted, keeps everything in a
//! [`store::Store`], and reads time from a [`service_kit::Clock`] alone.

mod api_keys;
mod assertion;
mod audit;
mod backchannel;
mod claims;
mod client_metadata;
mod clients;
mod config;
mod core;
mod documents;
mod error;
mod facts;
mod farewells;
mod federation;
mod grant;
mod http;
mod introspector;
mod jws;
mod keys;
mod listeners;
mod meter;
mod minted;
mod network;
mod params;
mod password;
mod phantom;
mod provider;
mod public_web;
mod push;
mod record;
mod refusal;
mod registration;
mod registry;
mod revocation;
mod scopes;
mod secrets;
mod service;
mod sessions;
mod signals;
mod token;
mod users;
mod web_document;

#[cfg(test)]
mod tests;

pub use config::{
    ApiKeysConfig, AssertionIssuerConfig, AuthMethod, ClaimMapping, ClientConfig,
    ClientDocumentsConfig, ConsentMode, EventReceiverConfig, ExchangeConfig, GrantType,
    IdentityProviderConfig, InitialAccessTokenConfig, KeysConfig, LimitsConfig, LinkRule,
    LoginConfig, MtlsConfig, OpenRegistrationConfig, RegistrationBoundsConfig, RegistrationConfig,
    ResourceConfig, ResourceServerConfig, SelfSignedTlsClientAuthConfig, Semantics, SubjectFormat,
    SubjectIs, TlsClientAuthConfig, TokenServiceConfig, TransactionTokensConfig, TtlConfig,
    UserConfig,
};
pub use error::TokenServiceError;
pub use password::hash_password;
pub use registry::{new_client_secret, secret_hash};
pub use service::{FIXED_KEYS, TokenService, TokenServiceParts};
