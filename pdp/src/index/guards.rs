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
    Each(Vec<Plain<'v>>),
    /// It cannot be read, or is not asked about: no policy is left out.
    Unknown,
}

/// Answers what a question says of subjects. Of one that has more than so many values it need not
/// say anything.
pub(crate) type Ask<'ask, 'v> = dyn FnMut(&Subject, usize) -> Answer<'v> + 'ask;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    len: usize,
    /// Those that are evaluated in any case.
    here: Vec<usize>,
    by_subject: BTreeMap<Subject, Arc<Branch>>,
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
        branch.len += 1;
        for value in &guard.values {
            let bucket = branch.by_value.entry(value.clone()).or_default();
            Arc::make_mut(bucket).add(position, rest);
        }
    }

    /// Takes a policy out that was added with these guards. True where none is left.
    pub(super) fn remove(&mut self, position: usize, guards: &[Guard]) -> bool {
        self.len -= 1;
        let Some((guard, rest)) = guards.split_first() else {
            self.here.retain(|filed| *filed != position);
            return self.len == 0;
        };
        if let Some(branch) = self.by_subject.get_mut(&guard.subject) {
            let branch = Arc::make_mut(branch);
            branch.len -= 1;
            for value in &guard.values {
                if let Some(bucket) = branch.by_value.get_mut(value)
                    && Arc::make_mut(bucket).remove(position, rest)
                {
                    branch.by_value.remove(value);
                }
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
        for (subject, branch) in &self.by_subject {
            let answer = if branch.len <= FEW {
                Answer::Unknown
            } else {
                ask(subject, branch.len * MANY)
            };
            match answer {
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

    pub(super) fn visit_all(&self, visitor: &mut impl FnMut(&[usize])) {
        visitor(&self.here);
        for branch in self.by_subject.values() {
            branch.visit_all(visitor);
        }
    }
}

impl Branch {
    fn visit_all(&self, visitor: &mut impl FnMut(&[usize])) {
        for bucket in self.by_value.values() {
            bucket.visit_all(visitor);
        }
    }
}
