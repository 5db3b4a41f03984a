//! JSON Web Signatures and keys (RFC 7515, RFC 7517) as strangers send them: read strictly, verified
//! with a key that was known before, and with the algorithms that this key is for.

mod embedded;
mod jwk;
mod jws;

/// SHA-256, which these formats name keys and tokens by.
pub fn sha256(text: &[u8]) -> impl AsRef<[u8]> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text)
}

pub use embedded::Embedded;
pub use jwk::{Algorithm, KeySet, thumbprint};
pub use jws::{Accepted, Fault, Unverified, is_like_one};
