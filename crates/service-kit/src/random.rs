//! Randomness from the operating system's generator, and ids made of it.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The generator failed; nothing secret may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct RandomError;

/// `N` unpredictable bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| RandomError)?;
    Ok(bytes)
}

/// 16 unpredictable bytes as 22 characters of `[A-Za-z0-9_-]`: for names, not for secrets.
pub fn id() -> Result<String, RandomError> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<16>()?))
}
