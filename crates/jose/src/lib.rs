//! JSON Web Signatures and keys (RFC 7515, RFC 7517) as strangers send them: read strictly, verified
//! with a key that was known before, and with the algorithms that this key is for.

mod jwk;
mod jws;

pub use jwk::{Algorithm, KeySet};
pub use jws::{Accepted, Fault, Unverified, is_like_one};
