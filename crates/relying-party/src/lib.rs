//! A client of one OpenID provider (OpenID Connect Core, "relying party"): what the provider says of itself,
//! the authorization code flow with its tokens verified whole, their renewal, and its logout tokens.
//!
//! Its HTTP is ours ([`Http`]). Knows no browser, no session and no store: whoever logs people in has those.

mod code;
mod discovery;
mod fault;
mod http;
mod logout;
mod party;
mod renewal;
mod tokens;

pub use code::{refused, seconds};
pub use discovery::{Further as FurtherMetadata, Metadata};
pub use fault::Fault;
pub use http::{Http, HttpError};
pub use logout::{Farewell, LOGOUT_TOKEN_LIFE};
pub use party::RelyingParty;
pub use renewal::Renewed;
pub use tokens::{Further, IdClaims, OidcClient, Tokens};

use std::time::Duration;

/// How far a provider's clock may be from ours.
pub const SKEW: Duration = Duration::from_secs(10);
