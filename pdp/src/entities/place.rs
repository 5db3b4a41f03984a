//! Where a name stands among others: found by looking, or where it was before.

use std::sync::atomic::{AtomicU16, Ordering};

use smol_str::SmolStr;

/// So many names are compared one by one: most differ in length already.
const FEW: usize = 16;

/// Where a name stands among things in the order of their names.
pub(crate) fn place_of<T>(ordered: &[T], name: &str, own: impl Fn(&T) -> &str) -> Option<usize> {
    if ordered.len() <= FEW {
        ordered.iter().position(|one| own(one) == name)
    } else {
        ordered.binary_search_by(|one| own(one).cmp(name)).ok()
    }
}

/// Where a name was found before, which is looked at first: entities of one type have it in the same
/// place, and a client sends members in the same order, nearly always.
#[derive(Debug)]
pub(crate) struct Place(AtomicU16);

/// Learned so often, it stays as it is: where names move about, every processor would write here.
const SETTLED: u16 = 8;

const UNKNOWN: u16 = 0xff;

impl Place {
    /// Where a name stands among names in their order.
    #[inline]
    pub(crate) fn find<N>(&self, ordered: &[SmolStr], name: &N) -> Option<usize>
    where
        N: AsRef<str> + ?Sized,
        SmolStr: PartialEq<N>,
    {
        let at = usize::from(self.0.load(Ordering::Relaxed) & UNKNOWN);
        match ordered.get(at) {
            Some(own) if own == name => Some(at),
            _ => self.found(ordered, name.as_ref()),
        }
    }

    #[cold]
    fn found(&self, ordered: &[SmolStr], name: &str) -> Option<usize> {
        let at = place_of(ordered, name, SmolStr::as_str)?;
        let times = (self.0.load(Ordering::Relaxed) >> 8) + 1;
        if times <= SETTLED
            && let Ok(at) = u8::try_from(at)
        {
            self.0.store(times << 8 | u16::from(at), Ordering::Relaxed);
        }
        Some(at)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self(UNKNOWN.into())
    }
}

impl Clone for Place {
    fn clone(&self) -> Self {
        Self(self.0.load(Ordering::Relaxed).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_learned_finds_what_looking_finds(
            rows in prop::collection::vec(prop::collection::btree_set("[a-e]{0,2}", 0..24), 1..24),
            name in "[a-e]{0,2}",
        ) {
            let place = Place::default();
            for names in rows {
                let ordered: Vec<SmolStr> = names.iter().map(SmolStr::new).collect();
                let looked = names.iter().position(|own| *own == name);
                prop_assert_eq!(place.find(&ordered, name.as_str()), looked);
                prop_assert_eq!(place.find(&ordered, &SmolStr::new(&name)), looked);
            }
        }
    }

    #[test]
    fn names_that_move_about_are_not_followed_for_ever() {
        let here = ["a", "b"].map(SmolStr::new);
        let there = ["b", "c"].map(SmolStr::new);
        let place = Place::default();
        let mut seen = Vec::new();
        for _ in 0..100 {
            assert_eq!(place.find(&here, "b"), Some(1));
            assert_eq!(place.find(&there, "b"), Some(0));
            seen.push(place.0.load(Ordering::Relaxed));
        }
        seen.dedup();
        assert_eq!(seen.len(), usize::from(SETTLED) / 2);
    }
}
