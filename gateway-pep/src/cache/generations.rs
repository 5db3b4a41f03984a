//! A bounded map that forgets what has not been used for long: two generations, of which the
//! older is dropped whole. Constant time, no bookkeeping per hit.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Keys are hashes already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Identity(u64);

pub(crate) type HashedMap<V> = HashMap<u128, V, BuildHasherDefault<Identity>>;

/// At most `capacity` entries, the recently used ones first.
#[derive(Debug)]
pub(crate) struct Generations<V> {
    young: HashedMap<V>,
    old: HashedMap<V>,
    half: usize,
}

impl<V> Generations<V> {
    /// A capacity of zero keeps nothing.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            young: HashedMap::default(),
            old: HashedMap::default(),
            half: capacity.div_ceil(2),
        }
    }

    /// Finding an entry makes it young again.
    pub(crate) fn find(&mut self, key: u128) -> Option<&V> {
        if !self.young.contains_key(&key) {
            let value = self.old.remove(&key)?;
            self.insert(key, value);
        }
        self.young.get(&key)
    }

    pub(crate) fn insert(&mut self, key: u128, value: V) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: u128) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        self.young.retain(|_, value| keep(value));
        self.old.retain(|_, value| keep(value));
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = u64::try_from(key & u128::from(u64::MAX)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_bounded_and_keeps_what_is_used() {
        let mut map = Generations::new(10);
        map.insert(0, "kept");
        for key in 1..1000 {
            map.insert(key, "flood");
            assert_eq!(map.find(0), Some(&"kept"), "after {key}");
            assert!(map.len() <= 10);
        }
        assert_eq!(map.find(1), None);
        map.remove(0);
        assert_eq!(map.find(0), None);
        let mut none = Generations::new(0);
        none.insert(1, "x");
        assert_eq!(none.find(1), None);
    }
}
