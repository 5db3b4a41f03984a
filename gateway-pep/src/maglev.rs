//! A table that leads a value to an endpoint: every gateway makes the same one, each endpoint has its share, and
//! one that comes or goes moves few values but its own (Maglev, NSDI 2016, section 3.4).

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Which candidate has each slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Maglev(Box<[u16]>);

/// Sizes: primes, so that every step of a permutation comes to every slot.
const SIZES: [usize; 3] = [2_039, 16_381, 65_537];

/// Slots that the average candidate should have: shares are even within a percent.
const SLOTS_EACH: usize = 100;

/// The slots that a candidate wants, the first first.
struct Permutation {
    next: usize,
    skip: usize,
    candidate: u16,
    share: f64,
    owed: f64,
}

impl Maglev {
    /// Of candidates by name and weight; those of weight 0 get nothing.
    pub(crate) fn new<'n>(candidates: impl Iterator<Item = (&'n str, u32)>) -> Self {
        let known: Vec<_> = candidates
            .enumerate()
            .filter(|(_, (_, weight))| *weight > 0)
            .filter_map(|(index, (name, weight))| Some((u16::try_from(index).ok()?, name, weight)))
            .collect();
        let Some(heaviest) = known.iter().map(|(_, _, weight)| *weight).max() else {
            return Self(Box::default());
        };
        let wanted = known.len() * SLOTS_EACH;
        let fits = SIZES.iter().find(|size| **size >= wanted);
        let size = fits.copied().unwrap_or(65_537);
        let mut permutations: Vec<_> = known
            .into_iter()
            .map(|(candidate, name, weight)| Permutation {
                next: place(name, 1) % size,
                skip: place(name, 2) % (size - 1) + 1,
                candidate,
                share: f64::from(weight) / f64::from(heaviest),
                owed: 0.0,
            })
            .collect();
        // Whatever order they are configured in, the table is the same.
        permutations.sort_by_key(|it| (it.next, it.skip));
        Self(fill(size, &mut permutations))
    }

    /// The candidates for a value, the first first; each slot's, until whoever asks has enough.
    pub(crate) fn candidates(&self, key: u64) -> impl Iterator<Item = usize> {
        let size = u64::try_from(self.0.len()).unwrap_or(u64::MAX).max(1);
        let first = usize::try_from(key % size).unwrap_or(0);
        let (before, after) = self.0.split_at_checked(first).unwrap_or_default();
        after.iter().chain(before).map(|slot| usize::from(*slot))
    }
}

/// What a value hashes to, everywhere. No secret: whoever chooses values can choose an endpoint, and no more.
pub(crate) fn hash(value: &[u8]) -> u64 {
    seeded(value, 0)
}

fn seeded(value: &[u8], seed: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x6365_6461_7267_6174, seed);
    hasher.write(value);
    hasher.finish()
}

fn place(name: &str, seed: u64) -> usize {
    // Half of it is enough, and fits everywhere.
    usize::try_from(seeded(name.as_bytes(), seed) >> 32).unwrap_or(0)
}

fn fill(size: usize, permutations: &mut [Permutation]) -> Box<[u16]> {
    const FREE: u16 = u16::MAX;
    let mut table = vec![FREE; size].into_boxed_slice();
    let mut left = size;
    while left > 0 {
        for permutation in &mut *permutations {
            permutation.owed += permutation.share;
            if permutation.owed < 1.0 {
                continue;
            }
            permutation.owed -= 1.0;
            // There is a free slot, and the permutation comes to each.
            for _ in 0..size {
                let slot = permutation.next;
                permutation.next = (slot + permutation.skip) % size;
                if let Some(owner) = table.get_mut(slot).filter(|owner| **owner == FREE) {
                    *owner = permutation.candidate;
                    left -= 1;
                    break;
                }
            }
            if left == 0 {
                break;
            }
        }
    }
    table
}

/// One of several, as often as its weight says, and the weight. None: all weights together are 0.
pub(crate) fn draw<T>(all: impl Iterator<Item = (T, u32)> + Clone) -> Option<(T, u32)> {
    let total: u32 = all.clone().map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    let mut left = fastrand::u32(..total);
    for (one, weight) in all {
        match left.checked_sub(weight) {
            Some(less) => left = less,
            None => return Some((one, weight)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(table: &Maglev, of: usize) -> Vec<usize> {
        let mut shares = vec![0; of];
        for owner in &table.0 {
            shares[usize::from(*owner)] += 1;
        }
        shares
    }

    #[test]
    fn each_has_its_share_whatever_the_order() {
        let names = ["a:1", "b:1", "c:1"];
        let table = Maglev::new(names.iter().map(|name| (*name, 1)));
        for share in shares(&table, 3) {
            assert!((670..=690).contains(&share), "{share}");
        }
        let turned = Maglev::new(names.iter().rev().map(|name| (*name, 1)));
        let is_same = table.0.iter().zip(&turned.0).all(|(a, b)| *a == 2 - *b);
        assert!(is_same, "the order of the configuration counts");
        let weighted = Maglev::new([("a:1", 3), ("b:1", 1), ("c:1", 0)].into_iter());
        let shares = shares(&weighted, 3);
        assert!((1_500..=1_560).contains(&shares[0]), "{shares:?}");
        assert_eq!(shares[2], 0);
    }

    #[test]
    fn one_that_goes_moves_little_but_its_own() {
        let all = Maglev::new((0..10).map(|n| (NAMES[n], 1)));
        let fewer = Maglev::new((0..10).map(|n| (NAMES[n], u32::from(n != 4))));
        let moved = all.0.iter().zip(&fewer.0);
        let moved = moved.filter(|(before, after)| **before != 4 && before != after);
        let moved = moved.count();
        assert!(moved < all.0.len() / 10, "{moved} of {}", all.0.len());
    }

    #[test]
    fn of_nobody_there_is_nobody() {
        let none = Maglev::new([("a:1", 0)].into_iter());
        assert_eq!(none.candidates(7).next(), None);
    }

    const NAMES: [&str; 10] = [
        "a:1", "b:1", "c:1", "d:1", "e:1", "f:1", "g:1", "h:1", "i:1", "j:1",
    ];
}
