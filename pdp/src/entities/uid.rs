//! Names of entities with their hash: a name of three strings is hashed once, however often it is
//! looked up.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use cedar_policy_core::ast::{Eid, EntityType, EntityUID, InternalName, Name};
use foldhash::fast::RandomState;
use smol_str::SmolStr;

/// An entity's name, shared by whatever refers to it.
#[derive(Clone)]
pub(crate) struct Uid {
    name: Arc<EntityUID>,
    hash: u64,
}

/// An entity's name and its hash, for as long as somebody else keeps them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) uid: &'a EntityUID,
    pub(crate) hash: u64,
}

/// An entity type with its hash: what is of it is then hashed by its id alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HashedType {
    name: EntityType,
    hash: u64,
}

/// Types by some bits of their hashes: one that is not among them is known for that without a search.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Types(u64);

impl Types {
    pub(super) fn add(&mut self, kind: &EntityType) {
        self.0 |= bit(SEEDS.hash_one(kind));
    }

    /// True of some that are not.
    pub(super) fn has(self, kind: &HashedType) -> bool {
        self.0 & bit(kind.hash) != 0
    }
}

fn bit(hash: u64) -> u64 {
    1 << (hash % 64)
}

/// Everyone's, so that a hash is good for every map. Not the same in two processes.
static SEEDS: LazyLock<RandomState> = LazyLock::new(RandomState::default);

impl<'a> Named<'a> {
    pub(crate) fn of(uid: &'a EntityUID) -> Self {
        let hash = hash_within(SEEDS.hash_one(uid.entity_type()), uid.eid().as_ref());
        Self { uid, hash }
    }
}

fn hash_within(kind: u64, id: &str) -> u64 {
    let mut hasher = SEEDS.build_hasher();
    hasher.write_u64(kind);
    hasher.write(id.as_bytes());
    hasher.finish()
}

impl HashedType {
    /// The name of an entity of this type.
    pub(crate) fn uid(&self, id: &str) -> Uid {
        Uid {
            name: Arc::new(self.name_of(id.into())),
            hash: hash_within(self.hash, id),
        }
    }

    /// The same without its hash.
    pub(crate) fn name_of(&self, id: SmolStr) -> EntityUID {
        EntityUID::from_components(self.name.clone(), Eid::new(id), None)
    }
}

impl From<EntityType> for HashedType {
    fn from(name: EntityType) -> Self {
        let hash = SEEDS.hash_one(&name);
        Self {
            name: placeless(name),
            hash,
        }
    }
}

/// The same type without its place in a source, which every name of an entity would have a share in.
fn placeless(kind: EntityType) -> EntityType {
    let name: &InternalName = kind.as_ref().as_ref();
    let namespace = name.namespace_components().cloned();
    let name = InternalName::new(name.basename().clone(), namespace, None);
    Name::try_from(name).map_or(kind, EntityType::from)
}

impl Deref for HashedType {
    type Target = EntityType;

    fn deref(&self) -> &EntityType {
        &self.name
    }
}

impl PartialEq for Named<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.uid, other.uid) || self.hash == other.hash && self.uid == other.uid
    }
}

impl Eq for Named<'_> {}

impl Uid {
    pub(crate) fn named(&self) -> Named<'_> {
        Named {
            uid: &self.name,
            hash: self.hash,
        }
    }

    pub(crate) fn shared(&self) -> Arc<EntityUID> {
        Arc::clone(&self.name)
    }
}

impl From<EntityUID> for Uid {
    fn from(uid: EntityUID) -> Self {
        Self::from(Arc::new(uid))
    }
}

impl From<Arc<EntityUID>> for Uid {
    fn from(name: Arc<EntityUID>) -> Self {
        let hash = Named::of(&name).hash;
        Self { name, hash }
    }
}

impl Deref for Uid {
    type Target = EntityUID;

    fn deref(&self) -> &EntityUID {
        &self.name
    }
}

impl PartialEq for Uid {
    fn eq(&self, other: &Self) -> bool {
        self.named() == other.named()
    }
}

impl Eq for Uid {}

impl Ord for Uid {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

impl PartialOrd for Uid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(formatter)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(formatter)
    }
}

/// What a name is looked up by, kept or not.
pub(crate) trait Key {
    fn key(&self) -> Named<'_>;
}

impl Key for Uid {
    fn key(&self) -> Named<'_> {
        self.named()
    }
}

impl Key for Named<'_> {
    fn key(&self) -> Named<'_> {
        *self
    }
}

impl<'a> Borrow<dyn Key + 'a> for Uid {
    fn borrow(&self) -> &(dyn Key + 'a) {
        self
    }
}

impl Hash for Uid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for dyn Key + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.key().hash);
    }
}

impl PartialEq for dyn Key + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn Key + '_ {}

/// For maps of what knows its hash.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hashed;

/// Gives the hash that it is told.
#[derive(Debug, Default)]
pub(crate) struct Told(u64);

impl BuildHasher for Hashed {
    type Hasher = Told;

    fn build_hasher(&self) -> Told {
        Told::default()
    }
}

impl Hasher for Told {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Not for what knows its hash, yet not wrong either.
    fn write(&mut self, bytes: &[u8]) {
        self.0 = SEEDS.hash_one((self.0, bytes));
    }
}
