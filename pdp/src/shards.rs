//! A map in shards that clones share until one is changed: a clone costs as much as there are
//! shards, a change as much as one shard holds.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// See the module.
#[derive(Clone)]
pub(crate) struct Shards<K, V, S = RandomState> {
    shards: Box<[Shard<K, V>]>,
    hasher: S,
}

type Shard<K, V> = Arc<HashTable<(K, V)>>;

const SHARDS: usize = 256;

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher> Shards<K, V, S> {
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        self.find(hash, |known| known.borrow() == key)
    }

    /// The same, where the hash is known.
    pub(crate) fn find(&self, hash: u64, is: impl Fn(&K) -> bool) -> Option<&V> {
        let shard = self.shards.get(shard(hash))?;
        let found = shard.find(hash, |(known, _)| is(known));
        found.map(|(_, value)| value)
    }

    /// Sets a value and returns what it was.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Self { shards, hasher } = self;
        let hash = hasher.hash_one(&key);
        let shard = Arc::make_mut(shards.get_mut(shard(hash))?);
        let rehash = |(known, _): &(K, V)| hasher.hash_one(known);
        match shard.entry(hash, |(known, _)| *known == key, rehash) {
            hashbrown::hash_table::Entry::Occupied(mut entry) => {
                Some(std::mem::replace(&mut entry.get_mut().1, value))
            }
            hashbrown::hash_table::Entry::Vacant(entry) => {
                entry.insert((key, value));
                None
            }
        }
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let Some(shard) = self.shards.get_mut(shard(hash)) else {
            return;
        };
        let shard = Arc::make_mut(shard);
        if let Ok(entry) = shard.find_entry(hash, |(known, _)| known.borrow() == key) {
            entry.remove();
        }
    }
}

/// By bits that a table itself does not go by.
fn shard(hash: u64) -> usize {
    usize::from(u8::try_from(hash >> 40 & 0xff).unwrap_or_default())
}

impl<K, V, S: Default> Default for Shards<K, V, S> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
            hasher: S::default(),
        }
    }
}

impl<K, V, S> fmt::Debug for Shards<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len: usize = self.shards.iter().map(|shard| shard.len()).sum();
        formatter
            .debug_struct("Shards")
            .field("len", &len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_stays_what_it_was() {
        let mut map = Shards::<String, u32>::default();
        for n in 0..10_000 {
            assert_eq!(map.insert(n.to_string(), n), None);
        }
        let before = map.clone();
        assert_eq!(map.insert("7".into(), 70), Some(7));
        map.remove("8");
        map.remove("nobody");
        assert_eq!(
            (map.get("7"), map.get("8"), map.get("9")),
            (Some(&70), None, Some(&9))
        );
        assert_eq!((before.get("7"), before.get("8")), (Some(&7), Some(&8)));
        assert!((0..10_000).all(|n| before.get(&*n.to_string()) == Some(&n)));
    }
}
