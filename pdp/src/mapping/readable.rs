//! Which attributes policies can read of a question, so that of the others nothing is made.

use super::contract::{KindTerms, Matter, When};
use crate::reads::Reads;

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

    /// Those that matter where this is read.
    fn of(members: &[Matter], reads: Reads) -> Self {
        let matters = |member: &Matter| match member.when {
            When::Attribute(name) => !name.within(reads.attributes).is_empty(),
            When::Context(_) | When::Always => true,
        };
        let places = members.iter().zip(0..u64::BITS);
        let places = places.filter(|(member, _)| matters(member));
        Self(places.fold(0, |places, (_, at)| places | 1 << at))
    }

    /// Those that have no bit are in every set.
    pub(super) fn has(self, at: usize) -> bool {
        at >= u64::BITS as usize || self.0 >> at & 1 == 1
    }

    pub(super) fn joined(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl KindTerms {
    /// What policies can read that read this.
    pub(crate) fn readable(&self, reads: Reads) -> Readable {
        Readable {
            subject: Places::of(&self.subject_members, reads),
            resource: Places::of(&self.resource_members, reads),
        }
    }
}
