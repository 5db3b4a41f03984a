//! Policies of one scope, filed by what their clauses compare first.
//!
//! Thousands of policies can have the same scope and begin with `principal.role == "…"`, each with
//! a role of its own. The role is then looked at once, and only the policies that name it are
//! evaluated: the others are false by the very condition that they would have tried first. Where it
//! cannot be read, all of them are evaluated, because each fails by itself.
//!
//! A policy that names several roles is filed under each. Of a set, or of what an entity is in,
//! each is looked up that the question has.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::plain::{Plain, Word};
use crate::reads::Name;

/// A condition that a policy's clauses begin with: they are false where its subject is, or has, none
/// of these. There is one at least, and none twice.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) subject: Subject,
    pub(crate) values: SmallVec<[Word; 1]>,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    pub(crate) of: Of,
    /// None: the entity itself.
    pub(crate) name: Option<Name>,
    pub(crate) look: Look,
}

/// Whose attribute or member it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Of {
    Principal,
    Resource,
    Context,
}

/// How it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Look {
    /// It is compared.
    Value,
    /// It is a condition itself, and fails where it is no truth.
    Truth,
    /// Whether it is there.
    Presence,
    /// It is a set, and has elements.
    Elements,
    /// It is an entity, and is in others, or is one of them.
    Within,
}

/// What a question says of a subject.
#[derive(Debug)]
pub(crate) enum Answer<'v> {
    Value(Plain<'v>),
    /// Something that equals no word.
    Other,
    /// It has, or is in, each of these; some may be named twice.
    Each(Values<'v>),
    /// It cannot be read, or is not asked about: no policy is left out.
    Unknown,
}

/// Few, nearly always.
pub(crate) type Values<'v> = SmallVec<[Plain<'v>; 8]>;

/// Answers what a question says of subjects. Of one that has more than so many values it need not
/// say anything.
pub(crate) type Ask<'ask, 'v> = dyn FnMut(&Subject, usize) -> Answer<'v> + 'ask;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    len: usize,
    /// Those that are evaluated in any case: what has no guard, and what is in small branches.
    here: SmallVec<[usize; 4]>,
    by_subject: BTreeMap<Subject, Arc<Branch>>,
    /// So many branches are not small.
    large: usize,
}

/// Policies whose next condition looks at the same subject.
#[derive(Debug, Clone, Default)]
struct Branch {
    len: usize,
    by_value: HashMap<Word, Arc<Bucket>, RandomState>,
}

/// So many are sooner evaluated than chosen from.
const FEW: usize = 2;
/// Evaluating a policy costs as much as looking up so many values.
const MANY: usize = 4;

impl Bucket {
    pub(super) fn add(&mut self, position: usize, guards: &[Guard]) {
        self.len += 1;
        let Some((guard, rest)) = guards.split_first() else {
            return self.here.push(position);
        };
        let branch = self.by_subject.entry(guard.subject.clone()).or_default();
        let branch = Arc::make_mut(branch);
        if branch.is_small() {
            self.here.push(position);
        }
        branch.len += 1;
        for value in &guard.values {
            let bucket = branch.by_value.entry(value.clone()).or_default();
            Arc::make_mut(bucket).add(position, rest);
        }
        if branch.len == FEW + 1 {
            let listed = branch.positions();
            self.here.retain(|filed| !listed.contains(filed));
            self.large += 1;
        }
    }

    /// Takes a policy out that was added with these guards. True where none is left.
    pub(super) fn remove(&mut self, position: usize, guards: &[Guard]) -> bool {
        self.len -= 1;
        self.here.retain(|filed| *filed != position);
        let Some((guard, rest)) = guards.split_first() else {
            return self.len == 0;
        };
        if let Some(branch) = self.by_subject.get_mut(&guard.subject) {
            let branch = Arc::make_mut(branch);
            let was_large = !branch.is_small();
            branch.len -= 1;
            for value in &guard.values {
                if let Some(bucket) = branch.by_value.get_mut(value)
                    && Arc::make_mut(bucket).remove(position, rest)
                {
                    branch.by_value.remove(value);
                }
            }
            if was_large && branch.is_small() {
                self.here.extend(branch.positions());
                self.large -= 1;
            }
            if branch.len == 0 {
                self.by_subject.remove(&guard.subject);
            }
        }
        self.len == 0
    }

    /// Visits the policies that are not certainly false; some more than once.
    pub(super) fn visit(&self, ask: &mut Ask<'_, '_>, visitor: &mut impl FnMut(&[usize])) {
        visitor(&self.here);
        // Nearly always there are no others.
        if self.has_choices() {
            self.visit_chosen(ask, visitor);
        }
    }

    /// Those that are evaluated in any case.
    pub(super) fn here(&self) -> &[usize] {
        &self.here
    }

    /// Whether there are others.
    pub(super) fn has_choices(&self) -> bool {
        self.large > 0
    }

    /// Visits the others that are not certainly false; some more than once.
    pub(super) fn visit_chosen(&self, ask: &mut Ask<'_, '_>, visitor: &mut impl FnMut(&[usize])) {
        for (subject, branch) in self.large() {
            match ask(subject, branch.len * MANY) {
                Answer::Value(value) => {
                    if let Some(bucket) = branch.by_value.get(&value) {
                        bucket.visit(ask, visitor);
                    }
                }
                Answer::Each(values) => {
                    for bucket in values.iter().filter_map(|value| branch.by_value.get(value)) {
                        bucket.visit(ask, visitor);
                    }
                }
                Answer::Other => {}
                Answer::Unknown => branch.visit_all(visitor),
            }
        }
    }

    fn visit_all(&self, visitor: &mut impl FnMut(&[usize])) {
        visitor(&self.here);
        self.large()
            .for_each(|(_, branch)| branch.visit_all(visitor));
    }

    /// The branches whose policies are not listed here.
    fn large(&self) -> impl Iterator<Item = (&Subject, &Branch)> {
        // Nearly always there is none, and nothing is looked at.
        let all = self.has_choices().then_some(&self.by_subject);
        let branches = all.into_iter().flatten();
        branches
            .map(|(subject, branch)| (subject, &**branch))
            .filter(|(_, branch)| !branch.is_small())
    }
}

impl Branch {
    fn is_small(&self) -> bool {
        self.len <= FEW
    }

    /// Each policy once.
    fn positions(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.visit_all(&mut |positions| found.extend_from_slice(positions));
        found.sort_unstable();
        found.dedup();
        found
    }

    fn visit_all(&self, visitor: &mut impl FnMut(&[usize])) {
        for bucket in self.by_value.values() {
            bucket.visit_all(visitor);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reads::Names;

    /// Looks at `n0` to `n2` of the principal, which is to be one of these.
    type Wanted = Vec<(u8, Vec<i64>)>;

    fn guards(wanted: &Wanted) -> Vec<Guard> {
        let names = Names::new([], []);
        let guard = |(name, values): &(u8, Vec<i64>)| Guard {
            subject: Subject {
                of: Of::Principal,
                name: Some(names.name(&format!("n{name}").into())),
                look: Look::Value,
            },
            values: values.iter().map(|value| Word::from(*value)).collect(),
        };
        wanted.iter().map(guard).collect()
    }

    /// Where each name has this value, and none where it is negative.
    fn found(bucket: &Bucket, values: &[i64; 3]) -> Vec<usize> {
        let mut ask = |subject: &Subject, _: usize| {
            let name = subject.name.as_ref().map(|name| name.text.as_str());
            let at = ["n0", "n1", "n2"].iter().position(|own| Some(*own) == name);
            match values[at.unwrap()] {
                value if value >= 0 => Answer::Value(Plain::Long(value)),
                -1 => Answer::Other,
                _ => Answer::Unknown,
            }
        };
        let mut all = Vec::new();
        bucket.visit(&mut ask, &mut |positions| all.extend_from_slice(positions));
        all.sort_unstable();
        all.dedup();
        all
    }

    fn wanted() -> impl Strategy<Value = Wanted> {
        let values = prop::collection::btree_set(0..4_i64, 1..3);
        let values = values.prop_map(|values| values.into_iter().collect());
        prop::collection::vec((0..3_u8, values), 0..3)
    }

    proptest! {
        #[test]
        fn what_may_hold_is_found_whatever_came_and_went(
            policies in prop::collection::vec((wanted(), any::<bool>()), 0..24),
            values in prop::array::uniform3(-2..4_i64),
        ) {
            let mut edited = Bucket::default();
            let mut stays = Bucket::default();
            for (at, (wanted, _)) in policies.iter().enumerate() {
                edited.add(at, &guards(wanted));
            }
            for (at, (wanted, goes)) in policies.iter().enumerate() {
                if *goes {
                    edited.remove(at, &guards(wanted));
                } else {
                    stays.add(at, &guards(wanted));
                }
            }
            let left = policies.iter().enumerate().filter(|(_, (_, goes))| !goes);
            let may_hold = |wanted: &Wanted| wanted.iter().all(|(name, among)| {
                let value = values[usize::from(*name)];
                value == -2 || among.contains(&value)
            });
            let found = [found(&edited, &values), found(&stays, &values)];
            for (at, (wanted, _)) in left.clone() {
                if may_hold(wanted) {
                    prop_assert!(found.iter().all(|found| found.contains(&at)), "{}", at);
                }
            }
            // As many stay where nothing ever was: what goes leaves no trace.
            prop_assert_eq!(&found[0], &found[1]);
            prop_assert!(found[0].iter().all(|at| left.clone().any(|(own, _)| own == *at)));
            // Of many that look at one thing first, only those that name it are found.
            let alike = left.filter(|(_, (wanted, _))| wanted.first().is_some_and(|one| one.0 == 0));
            if alike.clone().count() > FEW && values[0] >= 0 {
                for (at, (wanted, _)) in alike {
                    prop_assert!(wanted[0].1.contains(&values[0]) || !found[0].contains(&at));
                }
            }
            prop_assert_eq!(edited.len, policies.iter().filter(|(_, goes)| !goes).count());
        }
    }
}
