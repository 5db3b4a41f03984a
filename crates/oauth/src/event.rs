//! What the token service writes to the event log, and every gateway follows.

use serde::{Deserialize, Serialize};

/// One thing that must no longer be trusted from a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TokenEvent {
    /// One access token ([`crate::ActiveToken::token_ref`]).
    TokenRevoked { token_ref: String },
    /// A grant and every token of it ([`crate::ActiveToken::grant`]).
    GrantRevoked { grant: String },
    /// A client is gone for good, and with it every token of it.
    ClientEnded { client_id: String },
    /// Users, clients, resources or keys changed: every swapped token is void.
    RegistryChanged,
}
