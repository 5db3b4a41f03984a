//! Names by some bits, to see at once which are not there.

/// The bit of a name: names that are equal share it, and others may.
#[inline]
pub fn name_bit(name: &str) -> u64 {
    let first = name.as_bytes().first().copied().unwrap_or_default();
    1 << ((name.len() * 7 + usize::from(first)) % 64)
}
