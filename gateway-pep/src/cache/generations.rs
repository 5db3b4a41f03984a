//! A bounded map that forgets what has not been used for long: two generations, of which the
//! older is dropped whole. Constant time, no bookkeeping per hit.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Keys are hashes already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Identity(u64);

pub(crate) type HashedMap<V> = HashMap<u128, V, BuildHasherDefault<Identity>>;

/// At most `capacity` entries, the recently used ones first.
///
/// In parts, each with generations of its own: what is dropped whole, and moved when a map grows, holds up a request.
#[derive(Debug)]
pub(crate) struct Generations<V> {
    /// A power of two of them.
    parts: Box<[Part<V>]>,
}

#[derive(Debug)]
struct Part<V> {
    young: HashedMap<V>,
    old: HashedMap<V>,
    half: usize,
}

/// A part has about so many entries, or twice as many.
const PART: usize = 256;
const MOST_PARTS: usize = 4096;

impl<V> Generations<V> {
    /// A capacity of zero keeps nothing.
    pub(crate) fn new(capacity: usize) -> Self {
        let parts = (capacity / PART).clamp(1, MOST_PARTS);
        let parts = 1 << parts.ilog2();
        let part = || Part {
            young: HashedMap::default(),
            old: HashedMap::default(),
            half: match parts {
                1 => capacity.div_ceil(2),
                parts => capacity / parts / 2,
            },
        };
        Self {
            parts: std::iter::repeat_with(part).take(parts).collect(),
        }
    }

    /// By the half of the key that places in a map do not go by.
    fn part(&mut self, key: u128) -> Option<&mut Part<V>> {
        let at = usize::try_from((key >> 64) & u128::from(u16::MAX)).unwrap_or_default();
        let at = at & (self.parts.len() - 1);
        self.parts.get_mut(at)
    }

    /// Finding an entry makes it young again.
    pub(crate) fn find(&mut self, key: u128) -> Option<&V> {
        self.part(key)?.find(key)
    }

    pub(crate) fn insert(&mut self, key: u128, value: V) {
        if let Some(part) = self.part(key) {
            part.insert(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: u128) {
        if let Some(part) = self.part(key) {
            part.young.remove(&key);
            part.old.remove(&key);
        }
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        for part in &mut self.parts {
            part.young.retain(|_, value| keep(value));
            part.old.retain(|_, value| keep(value));
        }
    }

    pub(crate) fn len(&self) -> usize {
        let parts = self.parts.iter();
        parts.map(|part| part.young.len() + part.old.len()).sum()
    }
}

impl<V> Part<V> {
    fn find(&mut self, key: u128) -> Option<&V> {
        if !self.young.contains_key(&key) {
            let value = self.old.remove(&key)?;
            self.insert(key, value);
        }
        self.young.get(&key)
    }

    fn insert(&mut self, key: u128, value: V) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
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
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::cache::keyed::KeyedHash;

    /// Counts where it is dropped.
    struct Dropped(Rc<Cell<usize>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

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

    #[test]
    fn whatever_its_size_it_has_that_many_and_gives_them_up_little_by_little() {
        let hash = KeyedHash::random().unwrap();
        let key = |number: usize| hash.of_numbered([number], b"");
        for capacity in [1000, 2047, 2048, 20_000, 100_000] {
            let mut map = Generations::new(capacity);
            let dropped = Rc::<Cell<usize>>::default();
            let (kept, mut most) = (key(0), 0);
            map.insert(kept, Dropped(dropped.clone()));
            for number in 1..capacity * 2 {
                let before = dropped.get();
                map.insert(key(number), Dropped(dropped.clone()));
                most = most.max(dropped.get() - before);
                assert!(map.find(kept).is_some());
            }
            assert!(
                (capacity * 2 / 5..=capacity).contains(&map.len()),
                "{}",
                map.len()
            );
            assert!(most <= 2 * PART, "{most} at once of {capacity}");
            assert!(map.find(key(capacity * 2 - 1)).is_some());
            assert!(map.find(key(1)).is_none());
            map.retain(|_| false);
            assert_eq!(map.len(), 0);
        }
    }
}
