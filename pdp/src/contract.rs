//! The cache contract: which parts of a question its answer can depend on, besides who, what and
//! on what. Two questions that agree on those get the same decision from the same snapshot, so a
//! cache may leave everything else out of its keys.
//!
//! Published for each kind of question from what the policies for it can read; said in each answer
//! from what was read to find it, which may be less.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use authzen::Vary;
use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityType, EntityUID, Policy, PrincipalOrResourceConstraint,
};
use serde::Serialize;

use crate::answer::{Advice, SaidVary};
use crate::engine::{KindPlace, Question, Rule};
use crate::entities::{EntityStore, Overlays};
use crate::load::Loaded;
use crate::mapping::{KindNumbers, KindTerms, Matter, QuestionKind, Readable, When};
use crate::reads::{NameSet, Reads};
use crate::spelled::Spelled;

/// The contracts of a snapshot, in the order of their kinds.
#[derive(Debug, Clone)]
pub(crate) struct Contracts {
    contracts: Vec<Contract>,
    /// Contracts by their action, and by every group that it is in.
    by_action: Arc<HashMap<EntityUID, Vec<usize>>>,
    /// Contracts by their kind: each answer looks its own up.
    by_kind: Arc<HashMap<KindNumbers, usize, foldhash::fast::RandomState>>,
    /// What is read where policies look at the time.
    clock: Reads,
}

/// For one kind of question.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Contract {
    #[serde(flatten)]
    kind: Arc<QuestionKind>,
    /// What answers to such a question can depend on. Those that depend on less say so.
    #[serde(flatten)]
    advice: Advice,
    /// What the policies for it can read.
    #[serde(skip)]
    reads: Reads,
    /// Of its attributes.
    #[serde(skip)]
    readable: Readable,
    #[serde(skip)]
    readers: Readers,
    /// What answers say that depend on less.
    #[serde(skip)]
    narrower: Arc<ArcSwap<Narrower>>,
    /// The same of questions in Cedar's words.
    #[serde(skip)]
    native: Arc<ArcSwap<Narrower>>,
}

/// How many policies read each name.
#[derive(Debug, Clone)]
struct Readers {
    attributes: Box<[u32; 128]>,
    context: Box<[u32; 128]>,
}

/// Looked through one by one: nearly always they are one or two.
type Narrower = Vec<(Reads, SaidVary)>;

/// What has been said so far of kinds that share narrower answers (by where these are), by what is read.
type Known = HashMap<(usize, Reads), SaidVary>;

/// So many narrower answers are kept ready for kinds that are alike.
const NARROWER: usize = 128;

impl Contracts {
    /// One for each kind of question that the schema knows.
    pub(crate) fn new(loaded: &Loaded, store: &EntityStore) -> Self {
        let nothing = Overlays::default();
        let view = store.view(&nothing);
        let mut by_action: HashMap<EntityUID, Vec<usize>> = HashMap::new();
        let mut contracts = Vec::new();
        for (at, kind) in loaded.vocabulary.question_kinds().into_iter().enumerate() {
            let action = &kind.terms.action;
            for reached in std::iter::once(action).chain(view.ancestors(action)) {
                by_action.entry(reached.clone()).or_default().push(at);
            }
            contracts.push(Contract::new(kind));
        }
        share(&mut contracts);
        let numbers = contracts
            .iter()
            .map(|contract: &Contract| contract.kind.numbers);
        let by_kind = numbers.zip(0..);
        let mut made = Self {
            by_kind: Arc::new(by_kind.collect()),
            contracts,
            by_action: Arc::new(by_action),
            clock: loaded.vocabulary.names.clock(),
        };
        made.count(loaded.rules.iter(), Readers::add);
        made.settle();
        made
    }

    /// The same for other policies.
    pub(crate) fn changed<'r>(
        &self,
        removed: impl IntoIterator<Item = &'r Rule>,
        added: impl IntoIterator<Item = &'r Rule>,
    ) -> Self {
        let mut changed = self.clone();
        changed.count(removed, Readers::remove);
        changed.count(added, Readers::add);
        changed.settle();
        changed
    }

    fn settle(&mut self) {
        // What kinds that are alike say alike is kept once.
        let mut known = Known::new();
        for contract in &mut self.contracts {
            contract.settle(self.clock, &mut known);
        }
    }

    fn count<'r>(
        &mut self,
        rules: impl IntoIterator<Item = &'r Rule>,
        count: fn(&mut Readers, Reads),
    ) {
        let by_action = Arc::clone(&self.by_action);
        let all = self.contracts.len();
        for rule in rules {
            let mut of = |at: usize| {
                if let Some(contract) = self.contracts.get_mut(at)
                    && contract.kind.terms.may_match(rule.policy())
                {
                    count(&mut contract.readers, rule.reads);
                }
            };
            match rule.policy().action_constraint() {
                ActionConstraint::Any => (0..all).for_each(of),
                ActionConstraint::Eq(action) => {
                    by_action
                        .get(&**action)
                        .into_iter()
                        .flatten()
                        .for_each(|at| of(*at));
                }
                ActionConstraint::In(actions) => {
                    let found = actions.iter().filter_map(|action| by_action.get(&**action));
                    let mut found: Vec<usize> = found.flatten().copied().collect();
                    found.sort_unstable();
                    found.dedup();
                    found.into_iter().for_each(of);
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Contract> {
        self.contracts.iter()
    }

    /// Which of all kinds this is.
    pub(crate) fn place(&self, kind: KindNumbers) -> Option<KindPlace> {
        let (at, of) = (*self.by_kind.get(&kind)?, self.contracts.len());
        Some(KindPlace { at, of })
    }

    /// What policies can read of a question of this kind.
    pub(crate) fn readable(&self, kind: Option<KindPlace>) -> Readable {
        let contract = kind.and_then(|kind| self.contracts.get(kind.at));
        contract.map_or(Readable::ALL, |contract| contract.readable)
    }

    /// What the answer to a question can depend on, which was found by these reads and stays so for
    /// so many milliseconds.
    pub(crate) fn advice(
        &self,
        kind: KindPlace,
        reads: Reads,
        lasts: Option<u64>,
    ) -> Option<Advice> {
        let contract = self.contracts.get(kind.at)?;
        Some(Advice {
            vary: Some(contract.vary_of(reads)),
            max_age: lasts.map(whole_seconds),
        })
    }

    /// The same of a question in Cedar's words. Of the principal and the resource it says nothing
    /// but by the entities that it brings along: one that brings any depends on all that it says.
    pub(crate) fn native_advice(
        &self,
        question: &Question,
        brings_entities: bool,
    ) -> impl FnOnce(Reads, Option<u64>) -> Advice + use<'_> {
        let of_action = self.by_action.get(&*question.action);
        let all = of_action.into_iter().flatten();
        let mut all = all.filter_map(|at| self.contracts.get(*at));
        let contract = all.find(|contract| contract.kind.terms.is_of(question));
        let contract = contract.filter(|_| !brings_entities);
        move |reads, lasts| Advice {
            vary: contract.map(|contract| contract.native_vary_of(reads)),
            max_age: lasts.map(whole_seconds),
        }
    }
}

/// Whole seconds, and never too many: an answer that turns in a second is not to be used after just that
/// second, which `max_age: 1` could be read to allow.
fn whole_seconds(millis: u64) -> u64 {
    millis.saturating_sub(1) / 1000
}

/// Kinds that have the same members say the same, often: each is kept once, and what an answer to one has brought into
/// the cache, an answer to another finds there.
fn share(contracts: &mut [Contract]) {
    let kinds = contracts.iter().map(|contract| Arc::clone(&contract.kind));
    let kinds: Vec<_> = kinds.collect();
    let mut alike = HashMap::new();
    for (contract, kind) in contracts.iter_mut().zip(&kinds) {
        let Contract {
            narrower, native, ..
        } = contract;
        let first = alike.entry(kind.terms.matters());
        let first = first.or_insert_with(|| (Arc::clone(narrower), Arc::clone(native)));
        (*narrower, *native) = first.clone();
    }
}

impl Contract {
    fn new(kind: QuestionKind) -> Self {
        Self {
            kind: Arc::new(kind),
            advice: Advice::default(),
            reads: Reads::default(),
            readable: Readable::default(),
            readers: Readers::none(),
            narrower: Arc::default(),
            native: Arc::default(),
        }
    }

    /// Sums up what has been counted.
    fn settle(&mut self, clock: Reads, known: &mut Known) {
        let reads = self.readers.reads();
        if self.advice.vary.is_none() || reads != self.reads {
            self.reads = reads;
            self.readable = self.kind.terms.readable(reads);
            self.advice = Advice {
                vary: Some(Arc::clone(
                    known
                        .entry((Arc::as_ptr(&self.narrower).addr(), reads))
                        .or_insert_with(|| said(self.kind.terms.vary(reads))),
                )),
                // For how long an answer holds, it says itself.
                max_age: reads.meets(clock).then_some(0),
            };
        }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> (&str, &str, &str) {
        let kind = &*self.kind;
        (&kind.subject_type, &kind.action, &kind.resource_type)
    }

    #[cfg(test)]
    pub(crate) fn vary(&self) -> &Vary {
        self.advice.vary.as_deref().unwrap()
    }

    fn vary_of(&self, reads: Reads) -> SaidVary {
        let reads = reads.within(self.reads);
        if let Some(vary) = self.advice.vary.as_ref().filter(|_| reads == self.reads) {
            return Arc::clone(vary);
        }
        remembered(&self.narrower, reads, || self.kind.terms.vary(reads))
    }

    fn native_vary_of(&self, reads: Reads) -> SaidVary {
        let reads = reads.within(self.reads);
        remembered(&self.native, reads, || self.kind.terms.native_vary(reads))
    }
}

/// What answers say that depend on these reads, made at the first of them.
fn remembered(known: &ArcSwap<Narrower>, reads: Reads, make: impl FnOnce() -> Vary) -> SaidVary {
    let all = known.load();
    if let Some((_, vary)) = all.iter().find(|(own, _)| *own == reads) {
        return Arc::clone(vary);
    }
    let vary = said(make());
    if all.len() < NARROWER {
        known.rcu(|known| {
            let mut more = Narrower::clone(known);
            // Another answer may have been faster.
            if more.iter().all(|(own, _)| *own != reads) {
                more.push((reads, Arc::clone(&vary)));
            }
            more
        });
    }
    vary
}

fn said(vary: Vary) -> SaidVary {
    Arc::new(Spelled::from(Arc::new(vary)))
}

impl KindTerms {
    fn is_of(&self, question: &Question) -> bool {
        self.action == *question.action
            && self.principal == *question.principal.entity_type()
            && self.resource == *question.resource.entity_type()
    }

    /// All members that can matter, by where they are.
    fn matters(&self) -> [&[Matter]; 5] {
        [
            &self.subject_members,
            &self.action_members,
            &self.resource_members,
            &self.context_members,
            &self.native_members,
        ]
    }

    /// The members of such a question that matter where this is read.
    fn vary(&self, reads: Reads) -> Vary {
        Vary {
            subject: named(&self.subject_members, reads),
            action: named(&self.action_members, reads),
            resource: named(&self.resource_members, reads),
            context: named(&self.context_members, reads),
        }
    }

    /// The same in Cedar's words, of which the context alone has members.
    fn native_vary(&self, reads: Reads) -> Vary {
        Vary {
            context: named(&self.native_members, reads),
            ..Vary::default()
        }
    }

    /// Whether a policy's scope can match such a question.
    fn may_match(&self, policy: &Policy) -> bool {
        use PrincipalOrResourceConstraint as Constraint;
        let side = |constraint: &Constraint, kind: &EntityType| match constraint {
            Constraint::Is(is) | Constraint::IsIn(is, _) => **is == *kind,
            Constraint::Eq(EntityReference::EUID(uid)) => uid.entity_type() == kind,
            Constraint::Any | Constraint::In(_) | Constraint::Eq(EntityReference::Slot(_)) => true,
        };
        let action = match policy.action_constraint() {
            ActionConstraint::Eq(action) => **action == self.action,
            ActionConstraint::Any | ActionConstraint::In(_) => true,
        };
        action
            && side(policy.principal_constraint().as_inner(), &self.principal)
            && side(policy.resource_constraint().as_inner(), &self.resource)
    }
}

/// The names of the members that matter where this is read.
fn named(matters: &[Matter], reads: Reads) -> Vec<String> {
    let matter = matters.iter().filter(|matter| matter.when.is_so(reads));
    matter.map(|matter| matter.name.clone()).collect()
}

impl When {
    fn is_so(self, reads: Reads) -> bool {
        match self {
            Self::Attribute(names) => !names.within(reads.attributes).is_empty(),
            Self::Context(names) => !names.within(reads.context).is_empty(),
            Self::Always => true,
        }
    }
}

impl Readers {
    fn none() -> Self {
        Self {
            attributes: Box::new([0; 128]),
            context: Box::new([0; 128]),
        }
    }

    fn add(&mut self, reads: Reads) {
        self.each(reads, |count| *count = count.saturating_add(1));
    }

    fn remove(&mut self, reads: Reads) {
        self.each(reads, |count| *count = count.saturating_sub(1));
    }

    fn each(&mut self, reads: Reads, change: impl Fn(&mut u32)) {
        for (counts, names) in [
            (&mut self.attributes, reads.attributes),
            (&mut self.context, reads.context),
        ] {
            for number in names.numbers() {
                counts.get_mut(number).map(&change);
            }
        }
    }

    fn reads(&self) -> Reads {
        let names = |counts: &[u32; 128]| {
            let read = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            NameSet::of_numbers(read.map(|(number, _)| number))
        };
        Reads {
            attributes: names(&self.attributes),
            context: names(&self.context),
        }
    }
}

#[cfg(test)]
mod tests;
