//! What groups are in, found once: in a large graph, walking up is most of what a question costs.
//!
//! SECURITY: a closure that is not what the parents say would be a wrong decision. Therefore all
//! versions of the store that share one of these have the same groups with the same parents; the
//! first change of either starts anew. Members that come and go change neither, but for the first and
//! the last one of a group.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;

use super::uid::{Named, Uid};

/// See the module. What two have found at once is the same; waited for is nothing but room for it,
/// once.
#[derive(Debug, Default)]
pub(super) struct Closures {
    slots: OnceLock<Box<[OnceLock<Closure>]>>,
    /// So many names are in all of them together.
    names: AtomicUsize,
}

/// What one group is in, at any distance.
#[derive(Debug)]
pub(crate) struct Closure {
    of: Uid,
    list: Box<[Uid]>,
    /// Places in the list, where it is long.
    places: Option<HashTable<u32>>,
}

/// A list up to this is walked.
const FEW: usize = 16;
/// A group has one of so many slots, by its hash.
const TRIED: usize = 4;
const MOST_SLOTS: usize = 1 << 17;
/// Names take 16 bytes each.
const MOST_NAMES: usize = 1 << 20;

impl Closures {
    /// What a group is in; `find` finds it where nobody has. None: there is no room for it.
    pub(super) fn of(
        &self,
        group: &Uid,
        groups: usize,
        find: impl FnOnce() -> Option<Vec<Uid>>,
    ) -> Option<&Closure> {
        let slots = self.slots.get_or_init(|| {
            let count = (groups * 2).next_power_of_two().clamp(64, MOST_SLOTS);
            (0..count).map(|_| OnceLock::new()).collect()
        });
        let first = usize::try_from(group.named().hash >> 20 & (MOST_SLOTS as u64 - 1)).ok()?;
        for step in 0..TRIED {
            let slot = slots.get((first + step) & (slots.len() - 1))?;
            match slot.get() {
                Some(closure) if closure.of == *group => return Some(closure),
                Some(_) => {}
                None if self.names.load(Ordering::Relaxed) >= MOST_NAMES => return None,
                None => {
                    let closure = self.closure(group, find()?)?;
                    // Somebody may have been faster: with this group, or with another.
                    let _ = slot.set(closure);
                    return slot.get().filter(|closure| closure.of == *group);
                }
            }
        }
        None
    }

    fn closure(&self, group: &Uid, list: Vec<Uid>) -> Option<Closure> {
        let before = self.names.fetch_add(list.len(), Ordering::Relaxed);
        if before + list.len() > MOST_NAMES {
            // It stays full: finding what cannot be kept would cost every question.
            return None;
        }
        Some(Closure {
            of: group.clone(),
            places: (list.len() > FEW).then(|| places(&list)),
            list: list.into(),
        })
    }
}

impl Closure {
    pub(crate) fn list(&self) -> &[Uid] {
        &self.list
    }

    pub(crate) fn has(&self, uid: Named<'_>) -> bool {
        let is = |kept: &Uid| kept.named() == uid;
        match &self.places {
            None => self.list.iter().any(is),
            Some(places) => {
                let at = |place: &u32| self.list.get(*place as usize);
                places
                    .find(uid.hash, |place| at(place).is_some_and(is))
                    .is_some()
            }
        }
    }
}

#[cfg(test)]
impl Closures {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.get().is_none()
    }
}

fn places(list: &[Uid]) -> HashTable<u32> {
    let hash = |place: &u32| list.get(*place as usize).map_or(0, |uid| uid.named().hash);
    let mut places = HashTable::with_capacity(list.len());
    for (place, uid) in (0..).zip(list) {
        places.insert_unique(uid.named().hash, place, hash);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(n: usize) -> Uid {
        let uid: cedar_policy_core::ast::EntityUID = format!("Team::\"{n}\"").parse().unwrap();
        uid.into()
    }

    #[test]
    fn what_is_kept_is_the_groups_own_and_what_has_no_room_is_not_kept() {
        let closures = Closures::default();
        let above = |n: usize| (0..n % 40).map(|up| group(1000 + up)).collect::<Vec<_>>();
        let (mut kept, mut full) = (0, 0);
        for round in 0..2 {
            for n in 0..400 {
                // More groups than there are slots for.
                let found = closures.of(&group(n), 1, || Some(above(n)));
                let Some(closure) = found else {
                    full += 1;
                    continue;
                };
                kept += 1;
                assert_eq!(closure.list(), above(n), "round {round}");
                for up in 0..40 {
                    assert_eq!(closure.has(group(1000 + up).named()), up < n % 40);
                }
            }
        }
        assert!(kept >= 2 * 48 && full > 0, "{kept} and {full}");
    }

    #[test]
    fn names_beyond_the_bound_are_not_kept_and_not_looked_for_again() {
        let closures = Closures::default();
        let many = vec![group(0); MOST_NAMES + 1];
        assert!(closures.of(&group(1), 9, || Some(many)).is_none());
        let again = closures.of(&group(2), 9, || panic!("looked for"));
        assert!(again.is_none());
    }
}
