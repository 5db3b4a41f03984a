//! 128-bit keyed hashes: cache keys that nobody outside can make collide.

use std::hash::Hasher as _;

use service_kit::random;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// A hash function of this process's own.
#[derive(Clone, Copy)]
pub(crate) struct KeyedHash(SipHasher13);

impl std::fmt::Debug for KeyedHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyedHash(…)")
    }
}

impl KeyedHash {
    pub(crate) fn random() -> Result<Self, random::RandomError> {
        Ok(Self(SipHasher13::new_with_key(&random::bytes::<16>()?)))
    }

    pub(crate) fn of(&self, bytes: &[u8]) -> u128 {
        let mut hasher = self.0;
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }

    /// Of so many numbers and a text; no two such rows have the same bytes.
    pub(crate) fn of_numbered<const N: usize>(&self, numbers: [usize; N], bytes: &[u8]) -> u128 {
        let mut hasher = self.0;
        for number in numbers {
            hasher.write(&number.to_le_bytes());
        }
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }
}
