//! The deciding core: a question in Cedar's words against a snapshot's rules.
//!
//! Agrees with Cedar's own authorizer on decision, determining policies and errors; then adds
//! one rule of ours: a `forbid` that cannot be evaluated denies, because Cedar would skip it.

use std::collections::HashMap;

use authzen::{Obligation, Reason};
use cedar_policy_core::ast::{
    BinaryOp, Context, Effect, EntityType, EntityUID, EntityUIDEntry, Expr, ExprKind, Literal,
    Policy, Request, Value, ValueKind, Var,
};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;

use crate::entities::{EntityStore, Row, SliceError};
use crate::index::{Index, Seen, Sought};

/// A policy, made ready.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) reason: Reason,
    pub(crate) obligations: Vec<Obligation>,
    pub(crate) advice: Vec<serde_json::Value>,
    policy: Policy,
    /// Scope and clauses in one expression, built once.
    condition: Expr,
    /// Entities that the clauses name: they may be looked into, too.
    literals: Vec<EntityUID>,
    /// The longest chain of lookups that the clauses can make.
    depth: usize,
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
        let mut literals = Vec::new();
        let depth = policy.non_scope_constraints().map_or(0, |clauses| {
            collect_literals(clauses, &mut literals);
            lookups(clauses)
        });
        Self {
            condition: policy.condition(),
            reason,
            obligations,
            advice,
            policy,
            literals,
            depth,
        }
    }

    pub(crate) fn is_forbid(&self) -> bool {
        self.policy.effect() == Effect::Forbid
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

    pub(crate) fn get(&self, position: usize) -> Option<&Rule> {
        self.rules.get(position)
    }

    /// Decides. An error is not a decision.
    pub(crate) fn decide(
        &self,
        question: &Question,
        store: &EntityStore,
    ) -> Result<Outcome<'_>, SliceError> {
        self.decide_among(&self.candidates(question, store), question, store)
    }

    /// Decides by the rules at these ascending positions. Right where every other rule is
    /// certainly false for the question.
    pub(crate) fn decide_among(
        &self,
        positions: &[usize],
        question: &Question,
        store: &EntityStore,
    ) -> Result<Outcome<'_>, SliceError> {
        let candidates: Vec<&Rule> = positions
            .iter()
            .filter_map(|position| self.rules.get(*position))
            .collect();
        let depth = candidates.iter().map(|rule| rule.depth).max().unwrap_or(0);
        let named = context_references(&question.context);
        let roots = [&question.principal, &question.action, &question.resource]
            .into_iter()
            .chain(&named)
            .chain(candidates.iter().flat_map(|rule| &rule.literals));
        let entities = store.slice(roots, &question.overlays, depth)?;
        let request = Request::new_unchecked(
            EntityUIDEntry::known(question.principal.clone(), None),
            EntityUIDEntry::known(question.action.clone(), None),
            EntityUIDEntry::known(question.resource.clone(), None),
            Some(question.context.clone()),
        );
        let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
        let mut tally = Tally::default();
        for rule in candidates {
            let value = evaluator.interpret(&rule.condition, rule.policy.env());
            match value.as_ref().map(Value::value_kind) {
                Ok(ValueKind::Lit(Literal::Bool(false))) => {}
                Ok(ValueKind::Lit(Literal::Bool(true))) if rule.is_forbid() => {
                    tally.forbids.push(rule);
                }
                Ok(ValueKind::Lit(Literal::Bool(true))) => tally.permits.push(rule),
                Ok(_) => tally
                    .failures
                    .push((rule, "it is neither true nor false".into())),
                Err(error) => tally.failures.push((rule, error.to_string())),
            }
        }
        Ok(tally.outcome())
    }

    fn candidates(&self, question: &Question, store: &EntityStore) -> Vec<usize> {
        self.index.candidates(
            &Sought::One(question.seen(&question.principal, store)),
            question.seen(&question.action, store),
            &Sought::One(question.seen(&question.resource, store)),
        )
    }

    /// The rules that may apply where one side of the question is any entity of a type.
    pub(crate) fn candidates_for_any(
        &self,
        question: &Question,
        store: &EntityStore,
        kind: &EntityType,
        sought: Var,
    ) -> Vec<usize> {
        let action = question.seen(&question.action, store);
        let any = Sought::AnyOf(kind);
        if sought == Var::Principal {
            let resource = Sought::One(question.seen(&question.resource, store));
            self.index.candidates(&any, action, &resource)
        } else {
            let principal = Sought::One(question.seen(&question.principal, store));
            self.index.candidates(&principal, action, &any)
        }
    }
}

impl Question {
    fn seen<'a>(&'a self, uid: &'a EntityUID, store: &'a EntityStore) -> Seen<'a> {
        let row = self.overlays.get(uid).or_else(|| store.row(uid));
        Seen {
            uid,
            entity: row.map(|row| row.entity.as_ref()),
        }
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

fn context_references(context: &Context) -> Vec<EntityUID> {
    match context {
        Context::Value(members) => members.values().flat_map(Value::all_literal_uids).collect(),
        Context::RestrictedResidual(_) => Vec::new(),
    }
}

fn collect_literals(expr: &Expr, found: &mut Vec<EntityUID>) {
    for part in expr.subexpressions() {
        if let ExprKind::Lit(Literal::EntityUID(uid)) = part.expr_kind() {
            found.push((**uid).clone());
        }
    }
}

/// An upper bound on the lookups that lie on one path of an expression. There are no
/// variables to bind, so a value that took n lookups has n of them nested in its expression.
fn lookups(expr: &Expr) -> usize {
    fn deepest<'a>(parts: impl IntoIterator<Item = &'a Expr>) -> usize {
        parts.into_iter().map(lookups).max().unwrap_or(0)
    }
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, .. } | ExprKind::HasAttr { expr, .. } => 1 + lookups(expr),
        ExprKind::ExtHasAttr { expr, attrs } => attrs.len() + lookups(expr),
        ExprKind::BinaryApp { op, arg1, arg2 } => {
            let own = matches!(op, BinaryOp::In | BinaryOp::GetTag | BinaryOp::HasTag);
            usize::from(own) + deepest([&**arg1, &**arg2])
        }
        ExprKind::UnaryApp { arg: expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => lookups(expr),
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            deepest([&**left, &**right])
        }
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => deepest([&**test_expr, &**then_expr, &**else_expr]),
        ExprKind::Set(items) => deepest(items.iter()),
        ExprKind::Record(members) => deepest(members.values()),
        ExprKind::ExtensionFunctionApp { args, .. } => deepest(args.iter()),
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests;
