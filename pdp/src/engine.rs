//! The deciding core: a question in Cedar's words against a snapshot's rules.
//!
//! Agrees with Cedar's own authorizer on decision, determining policies and errors; then adds
//! one rule of ours: a `forbid` that cannot be evaluated denies, because Cedar would skip it.

mod access;
mod alike;
mod attribute;
mod condition;
mod guard;
mod like;
mod oracle;
mod plans;
mod rule;
mod rules;
mod scene;
mod value;

use std::cell::OnceCell;

use cedar_policy_core::ast::Context;
use smallvec::SmallVec;

use crate::entities::{Ancestry, EntityStore, Named, Overlays, Row, SliceError, Uid, View};
use crate::index::guards::{Subject, Values};
use crate::index::{Seen, Uses};
use crate::plain::Plain;
use crate::reads::Reads;
pub(crate) use access::Access;
pub(crate) use oracle::{Oracle, Verdict, interpret};
pub(crate) use plans::KindPlace;
use rule::Clauses;
pub(crate) use rule::{Home, Rule};
pub(crate) use rules::Rules;
use scene::Scene;
use value::Failed;

/// A question in Cedar's words.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) principal: Uid,
    pub(crate) action: Uid,
    pub(crate) resource: Uid,
    pub(crate) context: Context,
    /// When it is asked, in milliseconds from 1970 on, where the context says so.
    pub(crate) now: Option<i64>,
    /// Entities as the question describes them, for this question only.
    pub(crate) overlays: Overlays,
}

/// The policies that an answer rests on. Few, nearly always.
pub(crate) type Determining<'a> = SmallVec<[&'a Rule; 4]>;

/// What the rules say.
#[derive(Debug, Default)]
pub(crate) struct Outcome<'a> {
    pub(crate) permitted: bool,
    /// The satisfied forbids, or else the satisfied permits.
    pub(crate) determining: Determining<'a>,
    /// Policies that could not be evaluated, and why.
    pub(crate) failures: Vec<(&'a Rule, String)>,
    /// Set where nothing but a failing `forbid` stands against a permit.
    pub(crate) denied_by_failure: bool,
    /// What was read to find it: a question that agrees on that has the same outcome.
    pub(crate) reads: Reads,
    /// For how many milliseconds it stays so by itself. None: time does not matter.
    pub(crate) lasts: Option<u64>,
}

impl Rules {
    /// Decides. An error is not a decision.
    pub(crate) fn decide(
        &self,
        question: &Question,
        store: &EntityStore,
    ) -> Result<Outcome<'_>, SliceError> {
        let seen = Surroundings::of(question, store);
        self.decide_found(&Scene::of(question, &seen))
    }

    /// The same, where it is known which kind of question it is: its action is in what the schema says.
    pub(crate) fn decide_of_kind(
        &self,
        kind: KindPlace,
        question: &Question,
        store: &EntityStore,
    ) -> Result<Outcome<'_>, SliceError> {
        let seen = Surroundings::of(question, store);
        let scene = Scene::of(question, &seen);
        let Some(planned) = self.planned(kind, &seen) else {
            return self.decide_found(&scene);
        };
        let beyond = self.beyond(planned, &seen, &mut |subject, most| {
            scene.answer(subject, most)
        });
        let rules = planned.rules.iter().chain(self.at(&beyond));
        weigh(rules, self.is_edited || !beyond.is_empty(), &scene)
    }

    /// Decides by what the index finds.
    fn decide_found(&self, scene: &Scene<'_, '_>) -> Result<Outcome<'_>, SliceError> {
        let mut ask = |subject: &Subject, most| scene.answer(subject, most);
        let candidates = self.candidates(scene.seen, &mut ask);
        weigh(self.at(&candidates), self.is_edited, scene)
    }

    /// Decides where every rule is certainly false that is not among these ascending positions.
    pub(crate) fn decide_among(
        &self,
        positions: &[usize],
        question: &Question,
        store: &EntityStore,
    ) -> Result<Outcome<'_>, SliceError> {
        let seen = Surroundings::of(question, store);
        let scene = Scene::of(question, &seen);
        let mut candidates =
            self.candidates(&seen, &mut |subject, most| scene.answer(subject, most));
        candidates.retain(|position| positions.binary_search(position).is_ok());
        weigh(self.at(&candidates), self.is_edited, &scene)
    }

    fn at(&self, positions: &[usize]) -> impl Iterator<Item = &Rule> {
        positions.iter().filter_map(|at| self.get(*at))
    }
}

/// Evaluates the clauses of rules that may hold. `is_mixed`: they may not come in the order of the files.
fn weigh<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    is_mixed: bool,
    scene: &Scene<'_, '_>,
) -> Result<Outcome<'a>, SliceError> {
    let mut tally = Tally::default();
    for rule in rules {
        let holds = match &rule.clauses {
            Clauses::None => Ok(true),
            Clauses::Compiled(code) => code.holds(scene),
            Clauses::Cedar => Err(Failed),
        };
        // Cedar itself decides what failed here, and says why.
        let holds = if let Ok(holds) = holds {
            Ok(holds)
        } else {
            scene.has_read(rule.reads);
            if rule.reads_clock {
                scene.lasts_for(0);
            }
            oracle::evaluate(&rule.policy, scene.question, scene.seen.view.store)?
        };
        match holds {
            Ok(false) => {}
            Ok(true) if rule.is_forbid() => tally.forbids.push(rule),
            Ok(true) => tally.permits.push(rule),
            Err(message) => tally.failures.push((rule, message)),
        }
    }
    if is_mixed {
        tally.sort();
    }
    Ok(Outcome {
        reads: scene.reads(),
        lasts: scene.lasts.get(),
        ..tally.outcome()
    })
}

/// The parts of a question as the store has them: looked up once, for scopes and clauses alike.
#[derive(Debug)]
struct Surroundings<'a> {
    view: View<'a>,
    principal: Side<'a>,
    resource: Side<'a>,
    action_uid: &'a Uid,
    /// Looked up where a scope wants it.
    action: OnceCell<Side<'a>>,
}

/// One part of a question.
#[derive(Debug)]
struct Side<'a> {
    uid: Named<'a>,
    row: Option<&'a Row>,
    view: View<'a>,
    /// Found where a scope or a clause wants it: in a large graph it is most of the work.
    ancestry: OnceCell<Ancestry<'a>>,
}

impl<'a> Surroundings<'a> {
    fn of(question: &'a Question, store: &'a EntityStore) -> Self {
        let view = store.view(&question.overlays);
        Self {
            view,
            principal: Side::of(&question.principal, view),
            resource: Side::of(&question.resource, view),
            action_uid: &question.action,
            action: OnceCell::new(),
        }
    }

    /// Principal, action and resource as scopes see them.
    fn sides(&self, uses: (Uses, Uses)) -> [Seen<'_, 'a>; 3] {
        let action = || Side::of(self.action_uid, self.view);
        let [principal, resource] = self.both(uses);
        [
            principal,
            self.action.get_or_init(action).seen(true),
            resource,
        ]
    }

    /// Those that differ from one question of a kind to the next.
    fn both(&self, (principals, resources): (Uses, Uses)) -> [Seen<'_, 'a>; 2] {
        [
            self.principal.seen(principals.look_above()),
            self.resource.seen(resources.look_above()),
        ]
    }

    /// The part that is this entity. Most of what is looked at is a part of the question itself.
    fn part(&self, uid: Named<'_>) -> Option<&Side<'a>> {
        let parts = [&self.principal, &self.resource];
        parts.into_iter().find(|part| part.uid == uid)
    }

    fn row(&self, uid: Named<'_>) -> Option<&'a Row> {
        match self.part(uid) {
            Some(part) => part.row,
            None => self.view.row_of(uid),
        }
    }

    /// An entity, and what it is in, where that is not more than so many.
    fn each_above<'v>(&self, uid: Named<'v>, most: usize) -> Option<Values<'v>>
    where
        'a: 'v,
    {
        let mut found = Values::new();
        let mut list = |ancestry: &Ancestry<'a>| {
            let is_few = ancestry.len() <= most;
            if is_few {
                ancestry.each(|above| found.push(Plain::Entity(above)));
            }
            is_few
        };
        let is_listed = match self.part(uid) {
            Some(part) => list(part.ancestry()),
            None => match self.view.row_of(uid) {
                Some(row) => list(&self.view.ancestry(row)),
                None => true,
            },
        };
        found.push(Plain::Entity(uid.uid));
        is_listed.then_some(found)
    }

    fn is_within(&self, uid: Named<'_>, above: Named<'_>) -> bool {
        match self.part(uid) {
            Some(part) => uid == above || part.ancestry().has(above),
            None => self.view.is_named_within(uid, above),
        }
    }
}

impl<'a> Side<'a> {
    fn of(uid: &'a Uid, view: View<'a>) -> Self {
        let uid = uid.named();
        Self {
            uid,
            row: view.row_of(uid),
            view,
            ancestry: OnceCell::new(),
        }
    }

    fn ancestry(&self) -> &Ancestry<'a> {
        self.ancestry.get_or_init(|| {
            self.row
                .map_or_else(Ancestry::default, |row| self.view.ancestry(row))
        })
    }

    fn seen(&self, with_above: bool) -> Seen<'_, 'a> {
        Seen {
            uid: self.uid,
            above: with_above.then(|| self.ancestry()),
        }
    }
}

#[derive(Default)]
struct Tally<'a> {
    permits: Determining<'a>,
    forbids: Determining<'a>,
    failures: Vec<(&'a Rule, String)>,
}

impl<'a> Tally<'a> {
    /// In the order of the files: whoever loads them anew says the same.
    fn sort(&mut self) {
        self.permits.sort_by_key(|rule| rule.order);
        self.forbids.sort_by_key(|rule| rule.order);
        self.failures.sort_by_key(|(rule, _)| rule.order);
    }

    fn outcome(self) -> Outcome<'a> {
        // SECURITY: a forbid that failed might have forbidden.
        let broken_forbid = self.failures.iter().any(|(rule, _)| rule.is_forbid());
        if !self.forbids.is_empty() {
            Outcome {
                permitted: false,
                determining: self.forbids,
                failures: self.failures,
                ..Outcome::default()
            }
        } else if broken_forbid {
            Outcome {
                permitted: false,
                determining: Determining::new(),
                failures: self.failures,
                denied_by_failure: !self.permits.is_empty(),
                ..Outcome::default()
            }
        } else {
            Outcome {
                permitted: !self.permits.is_empty(),
                determining: self.permits,
                failures: self.failures,
                ..Outcome::default()
            }
        }
    }
}

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod profile;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod workloads;
