//! Hashes, as text and as a number.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut copy = [0; 32];
    for (to, from) in copy.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    copy
}

/// SHA-256 as 43 characters of base64url.
pub fn sha256_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

/// Whether a text has the form of [`sha256_base64url`].
pub fn is_sha256_base64url(text: &str) -> bool {
    let is_of_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() == 43 && text.bytes().all(is_of_alphabet)
}

/// A number that depends on every byte, and is as likely to be one as another.
pub fn spread(bytes: &[u8]) -> u32 {
    let digest = digest(&SHA256, bytes);
    let first = digest.as_ref().iter().take(4);
    first.fold(0, |number, byte| (number << 8) | u32::from(*byte))
}
