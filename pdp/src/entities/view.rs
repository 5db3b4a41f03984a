//! Entities as one question sees them: what it says of them itself, then what the store knows.

use std::collections::HashSet;

use cedar_policy_core::ast::EntityUID;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{EntityStore, Overlays, Row};

/// The store behind what a question says itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) store: &'a EntityStore,
    pub(crate) overlays: &'a Overlays,
}

/// What an entity is in, each once. Few, nearly always.
pub(crate) type Above<'a> = SmallVec<[&'a EntityUID; 8]>;

/// The ancestors of an entity.
#[derive(Debug, Default)]
pub(crate) struct Ancestry<'a> {
    pub(crate) list: Above<'a>,
    /// All of them where they are many: a hash costs more than a few comparisons.
    set: HashSet<&'a EntityUID, RandomState>,
}

/// Ancestors up to this many are compared one by one.
const FEW: usize = 16;

impl Ancestry<'_> {
    pub(crate) fn has(&self, uid: &EntityUID) -> bool {
        if self.set.is_empty() {
            self.list.contains(&uid)
        } else {
            self.set.contains(uid)
        }
    }
}

impl<'a> View<'a> {
    pub(crate) fn row(self, uid: &EntityUID) -> Option<&'a Row> {
        let overlay = if self.overlays.is_empty() {
            None
        } else {
            self.overlays.get(uid)
        };
        overlay.or_else(|| self.store.row(uid))
    }

    /// Everything that an entity is in, itself left out, each once, nearest first. Hierarchies
    /// have no circles: the store refuses them, and a question's own are checked when it is read.
    pub(crate) fn ancestors(self, uid: &EntityUID) -> Above<'a> {
        match self.row(uid) {
            Some(row) => self.above(row),
            None => Above::new(),
        }
    }

    /// The ancestors of a row.
    pub(crate) fn above(self, row: &'a Row) -> Above<'a> {
        self.ancestry(row).list
    }

    /// The same, to be asked about.
    pub(crate) fn ancestry(self, row: &'a Row) -> Ancestry<'a> {
        let Ancestry {
            list: mut found,
            set: mut known,
        } = Ancestry::default();
        let mut at = 0;
        let mut next = row.parents();
        loop {
            for parent in next {
                let is_new = if found.len() < FEW {
                    !found.contains(&&**parent)
                } else {
                    if known.is_empty() {
                        known.extend(found.iter().copied());
                    }
                    known.insert(&**parent)
                };
                if is_new {
                    found.push(parent);
                }
            }
            let Some(uid) = found.get(at) else {
                return Ancestry {
                    list: found,
                    set: known,
                };
            };
            at += 1;
            next = self.row(uid).map_or(&[], Row::parents);
        }
    }

    /// Whether an entity is in another, or is it.
    pub(crate) fn is_within(self, uid: &EntityUID, above: &EntityUID) -> bool {
        uid == above
            || self.row(uid).is_some_and(|row| {
                row.parents().iter().any(|parent| **parent == *above)
                    || self.ancestry(row).has(above)
            })
    }
}
