//! What clients are still to be told of logins that have ended (OpenID Connect Back-Channel Logout).

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::Record;

/// One list for all, because there are few at a time, and nothing is ever searched for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Farewells {
    /// The oldest first.
    pub(crate) all: Vec<Farewell>,
}

/// A client, and a login that it took part in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Farewell {
    pub(crate) client_id: String,
    pub(crate) sub: String,
    pub(crate) sid: String,
    /// When it is told next, unless it has heard by then.
    pub(crate) due: UnixTime,
    /// How often it was due before.
    pub(crate) tries: u32,
    /// Nobody tries any more after that.
    pub(crate) exp: UnixTime,
}

impl Farewell {
    /// Whether both say the same to the same client.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.client_id == other.client_id && self.sid == other.sid
    }
}

impl Record for Farewells {
    const AREA: &'static str = "farewells";
}
