//! From the public name of an access token to its record: how a phantom JWT, whose `jti` begins with
//! that name, is traced back to the token that it was cut from.

use serde::{Deserialize, Serialize};

use super::Record;

/// Lives and dies with the access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenReference {
    pub(crate) handle: String,
}

impl Record for TokenReference {
    const AREA: &'static str = "tr";
}
