//! The store of entities: shared immutable rows in persistent maps, and the small slice that one
//! question needs.
//!
//! A clone costs nothing and shares everything, so that whoever decides keeps one unchanging view
//! while changes make the next. What an entity is in is found by walking up its parents when it
//! is asked for, and kept for groups until a group is moved (see `closures`): moving a group with a
//! million members changes one row. `cedar_policy::Entities` is used to read and validate, and to hold
//! one slice, never as the store: changing it costs as much as all that it holds.

mod closures;
pub(crate) mod fit;
mod ids;
mod overlays;
mod place;
mod row;
mod uid;
mod view;
mod weight;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::ops::Bound;
use std::sync::Arc;

use cedar_policy_core::ast::{Eid, Entity, EntityType, EntityUID};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use foldhash::fast::RandomState;
use immutable_chunkmap::set::Set;
use rpds::HashTrieMapSync;
use smol_str::SmolStr;

use closures::{Closure, Closures};
pub(crate) use ids::Ids;
pub(crate) use overlays::Overlays;
pub(crate) use place::{Place, place_of};
pub(crate) use row::{Kept, Origin, Row, WALKED};
pub(crate) use uid::{Hashed, HashedType, Named, Uid};
use uid::{Key, Types};
pub(crate) use view::{Ancestry, View};

type Map<K, V, S = Hashed> = HashTrieMapSync<K, V, S>;

/// A change copies a node of the trie on each level: more levels of smaller nodes copy less.
const DEGREE: u8 = 16;

/// Few enough that copying a part of the set for a change costs little.
type Ordered = Set<ById, 32>;

/// Every entity of a snapshot, actions and their groups included.
#[derive(Debug, Clone)]
pub(crate) struct EntityStore {
    rows: Map<Uid, Arc<Row>>,
    /// Their types, and maybe others.
    types: Types,
    /// Searches walk them page by page.
    by_type: HashMap<EntityType, Ordered>,
    /// The entities whose attributes or tags name this one.
    referrers: Map<Uid, Ordered>,
    /// The entities that have this one as a parent.
    children: Map<Uid, Ordered>,
    /// Every list of attribute names in use.
    shapes: Map<Arc<[SmolStr]>, (), RandomState>,
    closures: Arc<Closures>,
    /// Bytes, about.
    weight: usize,
}

/// An entity's name in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ById(Uid);

/// An entity would be in itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entity}` would be in itself, by way of its parent `{parent}`")]
pub(crate) struct Circle {
    pub(crate) entity: Uid,
    pub(crate) parent: Uid,
}

/// Why a slice cannot be made. Cannot happen with rows that are unique.
#[derive(Debug, thiserror::Error)]
#[error("the entities of the question cannot be put together: {0}")]
pub(crate) struct SliceError(String);

impl Default for EntityStore {
    fn default() -> Self {
        fn empty<K: Eq + Hash, V, S: BuildHasher + Clone + Default>() -> Map<K, V, S> {
            Map::new_with_hasher_and_degree_and_ptr_kind(S::default(), DEGREE)
        }
        Self {
            rows: empty(),
            types: Types::default(),
            by_type: HashMap::new(),
            referrers: empty(),
            children: empty(),
            shapes: empty(),
            closures: Arc::default(),
            weight: 0,
        }
    }
}

impl EntityStore {
    /// A store of these rows. A later row of the same name takes the place of an earlier one.
    pub(crate) fn of_rows(rows: impl IntoIterator<Item = Row>) -> Result<Self, Circle> {
        let mut store = Self::default();
        for row in rows {
            store.upsert(row)?;
        }
        Ok(store)
    }

    /// A store of what Cedar has read.
    #[cfg(test)]
    pub(crate) fn of(entities: &Entities) -> Self {
        let rows = entities
            .iter()
            .map(|entity| Row::new(entity, Origin::Folder));
        Self::of_rows(rows).unwrap()
    }

    /// Writes one entity in the place of what it was. Refuses one that would be in itself.
    pub(crate) fn upsert(&mut self, mut row: Row) -> Result<(), Circle> {
        self.refuse_circle(&row)?;
        let old = self.rows.get(row.uid()).cloned();
        row.share(
            |uid| {
                let stored = self.rows.get_key_value(uid).map(|(kept, _)| kept);
                let kept = stored
                    .or_else(|| Some(self.children.get_key_value(uid)?.0))
                    .or_else(|| Some(self.referrers.get_key_value(uid)?.0));
                if let Some(kept) = kept {
                    *uid = kept.clone();
                }
            },
            |names| match self.shapes.get_key_value(&**names) {
                Some((kept, ())) => *names = Arc::clone(kept),
                None => self.shapes.insert_mut(Arc::clone(names), ()),
            },
        );
        self.relink(old.as_deref(), Some(&row));
        self.weigh(old.as_deref(), Some(&row));
        let uid = row.uid().clone();
        if old.is_none() {
            self.types.add(uid.entity_type());
            self.by_type
                .entry(uid.entity_type().clone())
                .or_default()
                .insert_cow(ById(uid.clone()));
        }
        self.rows.insert_mut(uid, Arc::new(row));
        Ok(())
    }

    /// Forgets one entity; what names it goes on naming it. False where there is none.
    pub(crate) fn remove(&mut self, uid: &EntityUID) -> bool {
        let Some(old) = self.rows.get(&Named::of(uid) as &dyn Key).cloned() else {
            return false;
        };
        self.relink(Some(&old), None);
        self.weigh(Some(&old), None);
        if let Some(uids) = self.by_type.get_mut(uid.entity_type()) {
            uids.remove_cow(&ById(old.uid().clone()));
        }
        self.rows.remove_mut(old.uid())
    }

    /// Keeps how much there is, for one row that changes.
    fn weigh(&mut self, old: Option<&Row>, new: Option<&Row>) {
        let (old, new) = (old.map_or(0, Row::weight), new.map_or(0, Row::weight));
        self.weight = (self.weight + new).saturating_sub(old);
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.weight
    }

    fn refuse_circle(&self, row: &Row) -> Result<(), Circle> {
        let nothing = Overlays::default();
        let view = self.view(&nothing);
        for parent in row.parents() {
            if view.is_walked_within(parent.named(), row.uid().named()) {
                return Err(Circle {
                    entity: row.uid().clone(),
                    parent: parent.clone(),
                });
            }
        }
        Ok(())
    }

    /// Forgets what groups are in where this change makes or unmakes a group, or moves one.
    fn forget_closures(&mut self, old: Option<&Row>, new: Option<&Row>) {
        let parents = |row: Option<&Row>| row.map_or_else(Vec::new, |row| row.parents().to_vec());
        let (before, after) = (parents(old), parents(new));
        if before == after {
            return;
        }
        let is_group = |uid: &Uid| self.children.contains_key(uid);
        let is_moved = new.or(old).is_some_and(|row| is_group(row.uid()));
        let made = after.iter().any(|parent| !is_group(parent));
        let lone = |parent: &Uid| self.children.get(parent).is_none_or(|all| all.len() == 1);
        let unmade = before
            .iter()
            .any(|parent| !after.contains(parent) && lone(parent));
        if is_moved || made || unmade {
            self.closures = Arc::default();
        }
    }

    /// Keeps who refers to whom and what is in what, for one row that changes.
    fn relink(&mut self, old: Option<&Row>, new: Option<&Row>) {
        type Targets = fn(&Row) -> Vec<Uid>;
        let parents: Targets = |row| row.parents().to_vec();
        let named: Targets = |row| row.references().into_iter().map(Uid::from).collect();
        self.forget_closures(old, new);
        let Some(uid) = new.or(old).map(|row| ById(row.uid().clone())) else {
            return;
        };
        for (links, targets) in [(&mut self.children, parents), (&mut self.referrers, named)] {
            let before = old.map(targets).unwrap_or_default();
            let after = new.map(targets).unwrap_or_default();
            for gone in before.iter().filter(|one| !after.contains(one)) {
                unlink(links, gone, &uid);
            }
            for come in after.iter().filter(|one| !before.contains(one)) {
                link(links, come, &uid);
            }
        }
    }

    pub(crate) fn view<'a>(&'a self, overlays: &'a Overlays) -> View<'a> {
        View::new(self, overlays)
    }

    pub(crate) fn row(&self, uid: &EntityUID) -> Option<&Row> {
        self.row_of(Named::of(uid))
    }

    pub(crate) fn row_of(&self, name: Named<'_>) -> Option<&Row> {
        self.rows.get(&name as &dyn Key).map(AsRef::as_ref)
    }

    /// The same of an entity whose type is known to be this one.
    pub(crate) fn row_of_type(&self, kind: &HashedType, name: Named<'_>) -> Option<&Row> {
        if self.types.has(kind) {
            self.row_of(name)
        } else {
            None
        }
    }

    /// What a group is in, where that is kept. Whoever has no members is none.
    fn closure(&self, group: &Uid) -> Option<&Closure> {
        self.closures.of(group, self.children.size(), || {
            let nothing = Overlays::default();
            self.children.get(group)?;
            let above = self.row_of(group.named()).map(|row| {
                let above = self.view(&nothing).kept_above(row);
                above.cloned().collect()
            });
            Some(above.unwrap_or_default())
        })
    }

    /// Whether a row that a question brings along puts a group elsewhere than it is.
    fn moves_group(&self, row: &Row) -> bool {
        self.children.contains_key(row.uid()) && {
            let stored = self.row_of(row.uid().named());
            row.parents() != stored.map_or(&[][..], Row::parents)
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.size()
    }

    /// The entities of a type whose ids come after `after`, in the order of their ids.
    pub(crate) fn of_type<'a>(
        &'a self,
        kind: &EntityType,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a EntityUID> + use<'a> {
        let from = match after {
            Some(after) => {
                let after = EntityUID::from_components(kind.clone(), Eid::new(after), None);
                Bound::Excluded(ById(after.into()))
            }
            None => Bound::Unbounded,
        };
        self.by_type
            .get(kind)
            .into_iter()
            .flat_map(move |uids| uids.range((from.clone(), Bound::Unbounded)))
            .map(|uid: &ById| &*uid.0)
    }

    /// The entities whose attributes or tags name this one.
    pub(crate) fn referrers(&self, uid: &EntityUID) -> impl Iterator<Item = &EntityUID> {
        members(&self.referrers, uid)
    }

    /// The entities directly in this one.
    pub(crate) fn children(&self, uid: &EntityUID) -> impl Iterator<Item = &EntityUID> {
        members(&self.children, uid)
    }

    /// The entities that a question can reach: `roots`, and whatever `depth` steps over
    /// attributes lead to. `overlays` stand in for rows of the same name.
    pub(crate) fn slice<'a>(
        &'a self,
        roots: impl Iterator<Item = &'a EntityUID>,
        overlays: &'a Overlays,
        depth: usize,
    ) -> Result<Entities, SliceError> {
        let view = self.view(overlays);
        let mut seen: HashSet<EntityUID> = HashSet::new();
        let mut picked: Vec<Arc<Entity>> = Vec::new();
        let mut frontier: Vec<EntityUID> = roots.cloned().collect();
        for step in 0..=depth {
            let mut next = Vec::new();
            for uid in frontier {
                let Some(row) = view.row(&uid) else {
                    continue;
                };
                if !seen.insert(uid) {
                    continue;
                }
                let ancestors = view.above(row).into_iter().cloned();
                picked.push(Arc::new(row.to_entity(ancestors)));
                if step < depth {
                    next.extend(row.references());
                }
            }
            if next.is_empty() {
                break;
            }
            frontier = next;
        }
        Entities::new()
            .add_entities(
                picked,
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .map_err(|error| SliceError(error.to_string()))
    }
}

fn link(links: &mut Map<Uid, Ordered>, target: &Uid, uid: &ById) {
    if let Some(known) = links.get_mut(target) {
        known.insert_cow(uid.clone());
    } else {
        let mut first = Ordered::new();
        first.insert_cow(uid.clone());
        links.insert_mut(target.clone(), first);
    }
}

fn unlink(links: &mut Map<Uid, Ordered>, target: &Uid, uid: &ById) {
    let Some(known) = links.get_mut(target) else {
        return;
    };
    known.remove_cow(uid);
    if known.len() == 0 {
        links.remove_mut(target);
    }
}

fn members<'a>(
    links: &'a Map<Uid, Ordered>,
    uid: &EntityUID,
) -> impl Iterator<Item = &'a EntityUID> + use<'a> {
    links
        .get(&Named::of(uid) as &dyn Key)
        .into_iter()
        .flat_map(|uids| uids.into_iter().map(|uid| &*uid.0))
}

/// An entity's id as it sorts.
pub(crate) fn id(uid: &EntityUID) -> &str {
    uid.eid().as_ref()
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        id(&self.0)
            .cmp(id(&other.0))
            .then_with(|| self.0.entity_type().cmp(other.0.entity_type()))
    }
}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
