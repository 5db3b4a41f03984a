//! JSON Web Signatures and keys (RFC 7515, RFC 7517) as strangers send them: read strictly, verified
//! with a key that was known before, and with the algorithms that this key is for.

mod embedded;
mod jwk;
mod jws;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use embedded::Embedded;
pub use jwk::{Algorithm, KeySet, thumbprint};
pub use jws::{Accepted, Fault, Unverified, claimed_issuer, is_like_one};

/// SHA-256 in base64url, which these formats name keys and tokens by.
pub fn sha256_base64url(text: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text))
}
