//! A DPoP proof that has been used (RFC 9449 section 11.1): its `jti` is good once.

use serde::{Deserialize, Serialize};
use service_kit::UnixTime;

use super::{Record, id_of};

/// Kept until the proof would be refused for its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofUse {
    pub(crate) exp: UnixTime,
}

impl ProofUse {
    /// The id of the record. Of one key: nobody can use up the proofs of another.
    pub(crate) fn id(thumbprint: &str, jti: &str) -> String {
        id_of(thumbprint, jti)
    }
}

impl Record for ProofUse {
    const AREA: &'static str = "dpop";
}
