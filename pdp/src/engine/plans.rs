//! The rules of each kind of question, side by side: what is evaluated for one question stands together,
//! and is found without a search.

use std::sync::OnceLock;

use super::rule::Rule;
use crate::index::Plan;

/// Which kind of question it is, among so many that the schema knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KindPlace {
    pub(crate) at: usize,
    pub(crate) of: usize,
}

/// Made at the first question of each kind. Rules that are changed are planned anew: a clone, which a
/// change begins with, has none.
#[derive(Debug, Default)]
pub(super) struct Plans(OnceLock<Box<[OnceLock<Option<Planned>>]>>);

/// For one kind of question.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// Those of the plan that are evaluated in any case.
    pub(super) rules: Box<[Rule]>,
}

/// Kinds that have more rules are not planned: each would hold all of them.
pub(super) const MOST: usize = 64;

impl Plans {
    /// None: this kind has too many rules.
    pub(super) fn of(
        &self,
        kind: KindPlace,
        make: impl FnOnce() -> Option<Planned>,
    ) -> Option<&Planned> {
        let all = || (0..kind.of).map(|_| OnceLock::new()).collect();
        let own = self.0.get_or_init(all).get(kind.at)?;
        own.get_or_init(make).as_ref()
    }
}

impl Clone for Plans {
    fn clone(&self) -> Self {
        Self::default()
    }
}
