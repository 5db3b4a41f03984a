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

    /// Of two numbers and a text; no two such triples have the same bytes.
    pub(crate) fn of_triple(&self, numbers: (usize, usize), bytes: &[u8]) -> u128 {
        let mut hasher = self.0;
        hasher.write(&numbers.0.to_le_bytes());
        hasher.write(&numbers.1.to_le_bytes());
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }

    /// Of a number and a text; no two such pairs have the same bytes.
    pub(crate) fn of_pair(&self, number: usize, bytes: &[u8]) -> u128 {
        let mut hasher = self.0;
        hasher.write(&number.to_le_bytes());
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }
}
