//! The deciding core: a question in Cedar's words against a snapshot's rules.
//!
//! Agrees with Cedar's own authorizer on decision, determining policies and errors; then adds
//! one rule of ours: a `forbid` that cannot be evaluated denies, because Cedar would skip it.

mod condition;
mod oracle;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use authzen::{Obligation, Reason};
use cedar_policy_core::ast::{Context, Effect, EntityType, EntityUID, Policy, Var};

use crate::attributes::{Access, accesses};
use crate::entities::{EntityStore, Row, SliceError, View};
use crate::index::{Index, Seen, Sought};
use crate::source;
use condition::{Code, Scene};
pub(crate) use oracle::{Oracle, Verdict, interpret, lookups};
use value::Failed;

/// A policy, made ready.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) reason: Reason,
    pub(crate) obligations: Vec<Obligation>,
    pub(crate) advice: Vec<serde_json::Value>,
    /// The file that it is written in, where it is.
    pub(crate) file: Option<Arc<Path>>,
    policy: Policy,
    clauses: Clauses,
    /// Found when they are first asked for.
    accesses: OnceLock<Box<[Access]>>,
}

/// What is left to evaluate where the scope matches.
#[derive(Debug)]
enum Clauses {
    /// Nothing.
    None,
    Compiled(Code),
    /// What only Cedar evaluates.
    Cedar,
}

/// All rules of a snapshot and their index.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    index: Index,
}

/// A question in Cedar's words.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) principal: EntityUID,
    pub(crate) action: EntityUID,
    pub(crate) resource: EntityUID,
    pub(crate) context: Context,
    /// Entities as the question describes them, for this question only.
    pub(crate) overlays: HashMap<EntityUID, Row>,
}

/// What the rules say.
#[derive(Debug, Default)]
pub(crate) struct Outcome<'a> {
    pub(crate) permitted: bool,
    /// The satisfied forbids, or else the satisfied permits.
    pub(crate) determining: Vec<&'a Rule>,
    /// Policies that could not be evaluated, and why.
    pub(crate) failures: Vec<(&'a Rule, String)>,
    /// Set where nothing but a failing `forbid` stands against a permit.
    pub(crate) denied_by_failure: bool,
}

impl Rule {
    pub(crate) fn new(
        policy: Policy,
        reason: Reason,
        obligations: Vec<Obligation>,
        advice: Vec<serde_json::Value>,
    ) -> Self {
        let clauses = match policy.non_scope_constraints() {
            None => Clauses::None,
            Some(clauses) => Code::new(clauses).map_or(Clauses::Cedar, Clauses::Compiled),
        };
        Self {
            reason,
            obligations,
            advice,
            file: None,
            policy,
            clauses,
            accesses: OnceLock::new(),
        }
    }

    /// The attributes that it reads.
    pub(crate) fn accesses(&self) -> &[Access] {
        self.accesses.get_or_init(|| accesses(&self.policy))
    }

    pub(crate) fn is_forbid(&self) -> bool {
        self.policy.effect() == Effect::Forbid
    }

    /// File, line and column, where it is in a file.
    pub(crate) fn place(&self) -> Option<String> {
        let (file, loc) = (self.file.as_ref()?, self.policy.loc()?);
        let (line, column) = source::line_and_column(&loc.src, loc.start());
        Some(format!("{}:{line}:{column}", file.display()))
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let mut index = Index::default();
        for (position, rule) in rules.iter().enumerate() {
            index.add(position, &rule.policy);
        }
        Self { rules, index }
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    pub(crate) fn get(&self, position: usize) -> Option<&Rule> {
        self.rules.get(position)
    }

    /// Decides. An error is not a decision.
    pub(crate) fn decide(
        &self,
        question: &Question,
        store: &EntityStore,
    ) -> Result<Outcome<'_>, SliceError> {
        let seen = Surroundings::of(question, store);
        self.weigh(&self.candidates(question, &seen), question, &seen)
    }

    /// Decides where every rule is certainly false that is not among these ascending positions.
    pub(crate) fn decide_among(
        &self,
        positions: &[usize],
        question: &Question,
        store: &EntityStore,
    ) -> Result<Outcome<'_>, SliceError> {
        let seen = Surroundings::of(question, store);
        let mut candidates = self.candidates(question, &seen);
        candidates.retain(|position| positions.binary_search(position).is_ok());
        self.weigh(&candidates, question, &seen)
    }

    /// Evaluates the clauses of rules whose scope matches.
    fn weigh(
        &self,
        positions: &[usize],
        question: &Question,
        seen: &Surroundings<'_>,
    ) -> Result<Outcome<'_>, SliceError> {
        let nothing = BTreeMap::new();
        let scene = Scene {
            question,
            context: match &question.context {
                Context::Value(members) => members,
                Context::RestrictedResidual(_) => &nothing,
            },
            seen,
        };
        let mut tally = Tally::default();
        for rule in positions.iter().filter_map(|at| self.rules.get(*at)) {
            let holds = match &rule.clauses {
                Clauses::None => Ok(true),
                Clauses::Compiled(code) => code.holds(&scene),
                Clauses::Cedar => Err(Failed),
            };
            // Cedar itself decides what failed here, and says why.
            let holds = match holds {
                Ok(holds) => Ok(holds),
                Err(Failed) => oracle::evaluate(&rule.policy, question, seen.view.store)?,
            };
            match holds {
                Ok(false) => {}
                Ok(true) if rule.is_forbid() => tally.forbids.push(rule),
                Ok(true) => tally.permits.push(rule),
                Err(message) => tally.failures.push((rule, message)),
            }
        }
        Ok(tally.outcome())
    }

    fn candidates(&self, question: &Question, seen: &Surroundings<'_>) -> Vec<usize> {
        let (principal, action, resource) = seen.sides(question);
        self.index
            .candidates(&Sought::One(principal), action, &Sought::One(resource))
    }

    /// The rules whose scope matches.
    pub(crate) fn matching(&self, question: &Question, store: &EntityStore) -> Vec<&Rule> {
        let seen = Surroundings::of(question, store);
        let positions = self.candidates(question, &seen);
        positions
            .iter()
            .filter_map(|at| self.rules.get(*at))
            .collect()
    }

    /// The rules that may apply where one side of the question is any entity of a type.
    pub(crate) fn candidates_for_any(
        &self,
        question: &Question,
        store: &EntityStore,
        kind: &EntityType,
        sought: Var,
    ) -> Vec<usize> {
        let seen = Surroundings::of(question, store);
        let (principal, action, resource) = seen.sides(question);
        let any = Sought::AnyOf(kind);
        if sought == Var::Principal {
            self.index.candidates(&any, action, &Sought::One(resource))
        } else {
            self.index.candidates(&Sought::One(principal), action, &any)
        }
    }

    /// The rules that may apply to some question of these types.
    pub(crate) fn of_kind(
        &self,
        principal: &EntityType,
        action: &EntityUID,
        resource: &EntityType,
        store: &EntityStore,
    ) -> impl Iterator<Item = &Rule> {
        let nothing = HashMap::new();
        let above = store.view(&nothing).ancestors(action);
        let action = Seen {
            uid: action,
            above: &above,
        };
        let (principal, resource) = (Sought::AnyOf(principal), Sought::AnyOf(resource));
        let positions = self.index.candidates(&principal, action, &resource);
        positions.into_iter().filter_map(|at| self.rules.get(at))
    }
}

/// What the parts of a question are in: looked up once, for scopes and clauses alike.
#[derive(Debug)]
struct Surroundings<'a> {
    view: View<'a>,
    principal: Vec<&'a EntityUID>,
    action: Vec<&'a EntityUID>,
    resource: Vec<&'a EntityUID>,
}

impl<'a> Surroundings<'a> {
    fn of(question: &'a Question, store: &'a EntityStore) -> Self {
        let view = store.view(&question.overlays);
        Self {
            view,
            principal: view.ancestors(&question.principal),
            action: view.ancestors(&question.action),
            resource: view.ancestors(&question.resource),
        }
    }

    fn sides(&'a self, question: &'a Question) -> (Seen<'a>, Seen<'a>, Seen<'a>) {
        let side = |uid, above| Seen { uid, above };
        (
            side(&question.principal, self.principal.as_slice()),
            side(&question.action, self.action.as_slice()),
            side(&question.resource, self.resource.as_slice()),
        )
    }

    fn is_within(&self, question: &Question, uid: &EntityUID, above: &EntityUID) -> bool {
        let known = if *uid == question.principal {
            &self.principal
        } else if *uid == question.resource {
            &self.resource
        } else {
            return self.view.is_within(uid, above);
        };
        uid == above || known.contains(&above)
    }
}

#[derive(Default)]
struct Tally<'a> {
    permits: Vec<&'a Rule>,
    forbids: Vec<&'a Rule>,
    failures: Vec<(&'a Rule, String)>,
}

impl<'a> Tally<'a> {
    fn outcome(self) -> Outcome<'a> {
        // SECURITY: a forbid that failed might have forbidden.
        let broken_forbid = self.failures.iter().any(|(rule, _)| rule.is_forbid());
        if !self.forbids.is_empty() {
            Outcome {
                permitted: false,
                determining: self.forbids,
                failures: self.failures,
                denied_by_failure: false,
            }
        } else if broken_forbid {
            Outcome {
                permitted: false,
                determining: Vec::new(),
                failures: self.failures,
                denied_by_failure: !self.permits.is_empty(),
            }
        } else {
            Outcome {
                permitted: !self.permits.is_empty(),
                determining: self.permits,
                failures: self.failures,
                denied_by_failure: false,
            }
        }
    }
}

#[cfg(test)]
mod growth;
#[cfg(test)]
pub(crate) mod tests;
