//! All rules of a snapshot and the index that finds them. A change of a few policies makes the
//! next ones from those before: it costs no more than copying a pointer for each rule.

use std::sync::Arc;

use cedar_policy_core::ast::{EntityType, Var};

use super::alike::{Alike, Attributes};
use super::plans::{KindPlace, MOST, Planned, Plans};
use super::rule::{Home, Rule};
use super::{Question, Surroundings};
use crate::entities::EntityStore;
use crate::index::guards::{Answer, Ask, Subject};
use crate::index::{Index, Positions, Sought};
use crate::shards::Shards;

/// Rules by position. A position that is free is used again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    slots: Vec<Option<Rule>>,
    free: Vec<usize>,
    index: Index,
    ids: Shards<Arc<str>, usize>,
    plans: Plans,
    /// Positions may not be in the order of the files any more.
    pub(super) is_edited: bool,
}

impl Rules {
    #[cfg(test)]
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let mut made = Self::default();
        for rule in rules {
            made.insert(rule);
        }
        made
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.slots.iter().flatten()
    }

    pub(crate) fn get(&self, position: usize) -> Option<&Rule> {
        self.slots.get(position)?.as_ref()
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.ids.get(id).is_some()
    }

    /// Adds a rule and returns its position. Its id is not to be another's.
    pub(crate) fn insert(&mut self, rule: Rule) -> usize {
        self.plans = Plans::default();
        let position = self.free.pop().unwrap_or(self.slots.len());
        self.index.add(position, rule.policy(), &rule.guards());
        self.ids
            .insert(rule.reason.policy.as_str().into(), position);
        match self.slots.get_mut(position) {
            Some(slot) => *slot = Some(rule),
            None => self.slots.push(Some(rule)),
        }
        position
    }

    /// Has rules share the clauses that they have alike. `attributes` are those that a type declares.
    pub(crate) fn share(&mut self, attributes: impl Fn(&EntityType) -> Option<Attributes>) {
        let mut alike = Alike::default();
        for rule in self.slots.iter_mut().flatten() {
            rule.share(&mut alike, &attributes);
        }
    }

    /// The same rules, to be changed.
    pub(crate) fn to_edit(&self) -> Self {
        Self {
            is_edited: true,
            ..self.clone()
        }
    }

    /// Takes a rule out.
    pub(crate) fn remove(&mut self, position: usize) -> Option<Rule> {
        let rule = self.slots.get_mut(position)?.take()?;
        self.plans = Plans::default();
        self.free.push(position);
        self.index.remove(position, rule.policy(), &rule.guards());
        self.ids.remove(rule.reason.policy.as_str());
        Some(rule)
    }

    /// Says where a rule stands now.
    pub(crate) fn place(&mut self, position: usize, order: usize, home: Option<Home>) {
        self.plans = Plans::default();
        if let Some(Some(rule)) = self.slots.get_mut(position) {
            rule.order = u32::try_from(order).unwrap_or(u32::MAX);
            if home.is_some() {
                rule.home = home;
            }
        }
    }

    /// The positions of the rules whose scope matches, without what is certainly false by what
    /// `ask` answers.
    pub(super) fn candidates(&self, seen: &Surroundings<'_>, ask: &mut Ask<'_, '_>) -> Positions {
        let [principal, action, resource] = seen.sides(self.index.uses());
        let (principal, resource) = (Sought::One(principal), Sought::One(resource));
        self.index.candidates(&principal, action, &resource, ask)
    }

    /// What is evaluated for questions of a kind, of which `seen` is one.
    pub(super) fn planned(&self, kind: KindPlace, seen: &Surroundings<'_>) -> Option<&Planned> {
        self.plans.of(kind, || {
            let [principal, action, resource] = seen.sides(self.index.uses());
            let [principal, resource] =
                [principal, resource].map(|side| side.uid.uid.entity_type());
            let plan = self.index.plan(principal, action, resource);
            if plan.positions.len() > MOST {
                return None;
            }
            let rules = plan.positions.iter().filter_map(|at| self.get(*at));
            Some(Planned {
                rules: rules.cloned().collect(),
                plan,
            })
        })
    }

    /// The positions of the rules that a question adds to what is planned for its kind.
    pub(super) fn beyond(
        &self,
        planned: &Planned,
        seen: &Surroundings<'_>,
        ask: &mut Ask<'_, '_>,
    ) -> Positions {
        let sides = || seen.both(self.index.uses());
        self.index.beyond(&planned.plan, sides, ask)
    }

    /// The rules whose scope matches.
    pub(crate) fn matching(&self, question: &Question, store: &EntityStore) -> Vec<&Rule> {
        let seen = Surroundings::of(question, store);
        let positions = self.candidates(&seen, &mut unasked);
        positions.iter().filter_map(|at| self.get(*at)).collect()
    }

    /// Whether any of these may look at the time that a question is asked at.
    pub(crate) fn read_clock(&self, positions: &[usize]) -> bool {
        let mut rules = positions.iter().filter_map(|at| self.get(*at));
        rules.any(|rule| rule.reads_clock)
    }

    /// The positions of the rules that may apply where one side of the question is any entity of a
    /// type.
    pub(crate) fn candidates_for_any(
        &self,
        question: &Question,
        store: &EntityStore,
        kind: &EntityType,
        sought: Var,
    ) -> Positions {
        let seen = Surroundings::of(question, store);
        let [principal, action, resource] = seen.sides(self.index.uses());
        let any = Sought::AnyOf(kind);
        if sought == Var::Principal {
            let resource = Sought::One(resource);
            self.index.candidates(&any, action, &resource, &mut unasked)
        } else {
            let principal = Sought::One(principal);
            self.index
                .candidates(&principal, action, &any, &mut unasked)
        }
    }
}

/// Where scopes alone matter.
fn unasked(_: &Subject, _: usize) -> Answer<'static> {
    Answer::Unknown
}
