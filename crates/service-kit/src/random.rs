//! Randomness from the operating system's generator, and ids made of it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Names one after the other: an [`id`] for all of them, then a count. For names that are wanted so
/// often that asking the system for each would cost more than what is named.
#[derive(Debug)]
pub struct Ids {
    start: String,
    next: AtomicU64,
}

impl Ids {
    pub fn new() -> Result<Self, RandomError> {
        Ok(Self {
            start: id()?,
            next: AtomicU64::new(0),
        })
    }

    /// One that nobody has had before, in the characters of an [`id`].
    pub fn next(&self) -> String {
        let (start, count) = self.next_parts();
        let digits = (u64::BITS - count.leading_zeros()).div_ceil(4).max(1);
        // To the byte: what it is made part of then takes it as it is.
        let mut id = String::with_capacity(start.len() + 1 + digits as usize);
        // A text takes whatever is written to it.
        let _ = write!(id, "{start}-{count:x}");
        id
    }

    /// The same, not yet put together.
    pub fn next_parts(&self) -> (&str, u64) {
        (&self.start, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// 16 unpredictable bytes as 22 characters of `[A-Za-z0-9_-]`: for names, not for secrets.
pub fn id() -> Result<String, RandomError> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<16>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_on_in_hexadecimal_and_take_no_more_room_than_they_need() {
        let ids = Ids::new().unwrap();
        for count in [0, 1, 9, 10, 15, 16, 255, 256, 0xabc_def0, u64::MAX] {
            ids.next.store(count, Ordering::Relaxed);
            let id = ids.next();
            assert_eq!(id, format!("{}-{count:x}", ids.start));
            assert_eq!(id.len(), id.capacity());
        }
    }
}
