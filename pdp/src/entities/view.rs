//! Entities as one question sees them: what it says of them itself, then what the store knows.

use std::collections::HashMap;

use cedar_policy_core::ast::EntityUID;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::closures::Closure;
use super::uid::{Named, Uid};
use super::{EntityStore, Overlays, Row};

/// The store behind what a question says itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) store: &'a EntityStore,
    pub(crate) overlays: &'a Overlays,
    /// The question says itself what some group is in: what the store has found is not true of it.
    moves_groups: bool,
}

/// What an entity is in, each once. Few, nearly always.
pub(crate) type Above<'a> = SmallVec<[&'a EntityUID; 8]>;

/// What an entity is in: what a walk has found, and what groups on its way are known to be in.
#[derive(Debug, Default)]
pub(crate) struct Ancestry<'a> {
    walked: Walked<'a>,
    closures: SmallVec<[&'a Closure; 4]>,
}

/// Entities, each once.
#[derive(Debug, Default)]
struct Walked<'a> {
    list: SmallVec<[&'a Uid; 8]>,
    /// All of them where they are many: a table costs more than a few comparisons.
    table: HashTable<&'a Uid>,
}

/// Ancestors up to this many are compared one by one.
const FEW: usize = 16;

impl<'a> Walked<'a> {
    fn add(&mut self, uid: &'a Uid) {
        if self.has(uid.named()) {
            return;
        }
        self.list.push(uid);
        let hash = |uid: &&Uid| uid.named().hash;
        if self.list.len() == FEW {
            for uid in &self.list {
                self.table.insert_unique(hash(uid), *uid, hash);
            }
        } else if self.list.len() > FEW {
            self.table.insert_unique(hash(&uid), uid, hash);
        }
    }

    fn has(&self, uid: Named<'_>) -> bool {
        let is = |known: &&Uid| known.named() == uid;
        if self.table.is_empty() {
            self.list.iter().any(is)
        } else {
            self.table.find(uid.hash, is).is_some()
        }
    }
}

impl<'a> Ancestry<'a> {
    pub(crate) fn has(&self, uid: Named<'_>) -> bool {
        self.walked.has(uid) || self.closures.iter().any(|closure| closure.has(uid))
    }

    /// How many there are, some counted more than once.
    pub(crate) fn len(&self) -> usize {
        let closures = self.closures.iter().map(|closure| closure.list().len());
        self.walked.list.len() + closures.sum::<usize>()
    }

    /// Whether some may be named more than once.
    pub(crate) fn may_repeat(&self) -> bool {
        !self.closures.is_empty()
    }

    /// All of them; some more than once.
    pub(crate) fn each(&self, mut visitor: impl FnMut(&'a Uid)) {
        for uid in &self.walked.list {
            visitor(uid);
        }
        for closure in &self.closures {
            closure.list().iter().for_each(&mut visitor);
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn new(store: &'a EntityStore, overlays: &'a Overlays) -> Self {
        let moves = |row| store.moves_group(row);
        let moves_groups = overlays.may_move() && overlays.rows().any(moves);
        Self {
            store,
            overlays,
            moves_groups,
        }
    }

    pub(crate) fn row(self, uid: &EntityUID) -> Option<&'a Row> {
        self.row_of(Named::of(uid))
    }

    pub(crate) fn row_of(self, name: Named<'_>) -> Option<&'a Row> {
        self.overlays
            .named(name)
            .or_else(|| self.store.row_of(name))
    }

    /// Everything that an entity is in, itself left out, each once, nearest first. Hierarchies
    /// have no circles: the store refuses them, and a question's own are checked when it is read.
    pub(crate) fn ancestors(self, uid: &EntityUID) -> Above<'a> {
        match self.row(uid) {
            Some(row) => self.above(row),
            None => Above::new(),
        }
    }

    /// The ancestors of a row, found by walking all the way up.
    pub(crate) fn above(self, row: &'a Row) -> Above<'a> {
        self.kept_above(row).map(|uid| &**uid).collect()
    }

    /// The same, as they are kept.
    pub(super) fn kept_above(self, row: &'a Row) -> impl Iterator<Item = &'a Uid> {
        self.walk(row, |_| None).walked.list.into_iter()
    }

    /// The same, to be asked about: found as fast as can be.
    pub(crate) fn ancestry(self, row: &'a Row) -> Ancestry<'a> {
        if self.moves_groups {
            self.walk(row, |_| None)
        } else {
            self.walk(row, |group| self.store.closure(group))
        }
    }

    /// Walks up, and no further where something is known.
    fn walk(self, row: &'a Row, known: impl Fn(&'a Uid) -> Option<&'a Closure>) -> Ancestry<'a> {
        let mut found = Ancestry::default();
        let mut at = 0;
        let mut next = row.parents();
        loop {
            for parent in next {
                found.walked.add(parent);
            }
            let Some(uid) = found.walked.list.get(at).copied() else {
                return found;
            };
            at += 1;
            next = match known(uid) {
                Some(closure) => {
                    if !closure.list().is_empty() {
                        found.closures.push(closure);
                    }
                    &[]
                }
                None => self.row_of(uid.named()).map_or(&[], Row::parents),
            };
        }
    }

    /// An entity that would be in itself, by what a question says of the hierarchy. Each entity on
    /// the way up is looked at once, however many lead to it: the store has no circles of its own.
    pub(crate) fn circle(self) -> Option<&'a Uid> {
        // Whether everything above it has been looked at.
        let mut looked: HashMap<&EntityUID, bool> = HashMap::new();
        for row in self.overlays.rows() {
            if looked.contains_key(&**row.uid()) {
                continue;
            }
            looked.insert(row.uid(), false);
            let mut way = vec![(row.uid(), row.parents().iter())];
            while let Some((uid, parents)) = way.last_mut() {
                let Some(parent) = parents.next() else {
                    looked.insert(uid, true);
                    way.pop();
                    continue;
                };
                match looked.get(&**parent) {
                    Some(true) => {}
                    Some(false) => return Some(parent),
                    None => {
                        looked.insert(parent, false);
                        let above = self.row_of(parent.named()).map_or(&[][..], Row::parents);
                        way.push((parent, above.iter()));
                    }
                }
            }
        }
        None
    }

    /// Whether an entity is in another, or is it.
    pub(crate) fn is_within(self, uid: &EntityUID, above: &EntityUID) -> bool {
        self.is_named_within(Named::of(uid), Named::of(above))
    }

    /// The same, found by walking: while a hierarchy is made, nothing is worth keeping.
    pub(super) fn is_walked_within(self, uid: Named<'_>, above: Named<'_>) -> bool {
        uid == above
            || self
                .row_of(uid)
                .is_some_and(|row| self.walk(row, |_| None).has(above))
    }

    pub(crate) fn is_named_within(self, uid: Named<'_>, above: Named<'_>) -> bool {
        uid == above
            || self.row_of(uid).is_some_and(|row| {
                row.parents().iter().any(|parent| parent.named() == above)
                    || self.ancestry(row).has(above)
            })
    }
}
