//! Entities as one question describes them: one or two, nearly always.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy_core::ast::EntityUID;
use smallvec::SmallVec;

use super::{Named, Row};

/// Rows that stand in for the store's of the same name. Clones share the rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlays {
    rows: SmallVec<[Arc<Row>; 2]>,
    /// Where each is, once they are many. Whoever asks names them, so that the hash is a slow one.
    #[expect(
        clippy::box_collection,
        reason = "nearly no question has it, and all are moved about with room for it"
    )]
    places: Option<Box<HashMap<EntityUID, usize>>>,
    /// One of them may be in something else than the store's of its name is.
    may_move: bool,
}

/// So many are looked through one by one.
const FEW: usize = 8;

impl Overlays {
    pub(crate) fn get(&self, uid: &EntityUID) -> Option<&Row> {
        self.named(Named::of(uid))
    }

    pub(super) fn named(&self, name: Named<'_>) -> Option<&Row> {
        self.rows.get(self.place(name)?).map(|row| &**row)
    }

    pub(super) fn may_move(&self) -> bool {
        self.may_move
    }

    /// Takes in what a question says of an entity's attributes: it is in what the store says.
    pub(crate) fn describe(&mut self, row: Arc<Row>) {
        self.put(row);
    }

    /// Takes a row in, in the place of one of the same name. Says whether there was one.
    pub(crate) fn insert(&mut self, row: Arc<Row>) -> bool {
        self.may_move = true;
        self.put(row)
    }

    fn put(&mut self, row: Arc<Row>) -> bool {
        if let Some(place) = self.place(row.uid().named())
            && let Some(known) = self.rows.get_mut(place)
        {
            *known = row;
            return true;
        }
        self.rows.push(row);
        if self.rows.len() > FEW {
            let places = self.places.get_or_insert_default();
            for (at, row) in self.rows.iter().enumerate().skip(places.len()) {
                places.insert((**row.uid()).clone(), at);
            }
        }
        false
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().map(|row| &**row)
    }

    fn place(&self, name: Named<'_>) -> Option<usize> {
        match &self.places {
            None => self.rows.iter().position(|row| row.uid().named() == name),
            Some(places) => places.get(name.uid).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy_core::ast::Entity;

    use super::*;
    use crate::entities::Origin;

    fn row(n: usize) -> Arc<Row> {
        let uid: EntityUID = format!("User::\"{n}\"").parse().unwrap();
        Arc::new(Row::new(&Entity::with_uid(uid), Origin::Written))
    }

    #[test]
    fn many_are_found_as_few_are() {
        let mut overlays = Overlays::default();
        for n in 0..FEW * 4 {
            assert!(!overlays.insert(row(n)));
            let known = |n: usize| overlays.get(row(n).uid()).is_some();
            assert!((0..=n).all(known) && !known(n + 1));
        }
        let again = row(3);
        assert!(overlays.insert(Arc::clone(&again)));
        assert!(Arc::ptr_eq(&overlays.rows[3], &again));
        assert_eq!(overlays.rows().count(), FEW * 4);
    }
}
