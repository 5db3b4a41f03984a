//! Which attributes policies can read of a question, so that of the others nothing is made.

/// Of the subject's and of the resource's declared attributes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readable {
    pub(crate) subject: Places,
    pub(crate) resource: Places,
}

/// Some of the declared attributes of a type, by their places in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Places(u64);

impl Readable {
    /// As if policies read all.
    pub(crate) const ALL: Self = Self {
        subject: Places::ALL,
        resource: Places::ALL,
    };
}

impl Places {
    pub(super) const ALL: Self = Self(u64::MAX);

    /// Those of which this is said, in their order.
    pub(super) fn of(is_in: impl Iterator<Item = bool>) -> Self {
        let bits = is_in.zip(0..u64::BITS);
        Self(bits.fold(0, |places, (is_in, at)| places | u64::from(is_in) << at))
    }

    /// Those that have no bit are in every set.
    pub(super) fn has(self, at: usize) -> bool {
        at >= u64::BITS as usize || self.0 >> at & 1 == 1
    }

    pub(super) fn joined(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_bit_is_in_every_set() {
        let some = Places::of((0..100).map(|at| at % 3 == 0));
        let all: Vec<usize> = (0..100).filter(|at| some.has(*at)).collect();
        let expected = (0..100).filter(|at| at % 3 == 0 || *at >= 64);
        assert_eq!(all, expected.collect::<Vec<_>>());
        assert!((0..100).all(|at| Places::ALL.has(at)));
        assert_eq!(Places::default().joined(some), some);
    }
}
