//! Cedar's own evaluator and authorizer: asked about what our evaluation cannot do, and about a
//! sample of what it did.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{
    BinaryOp, Context, EntityUID, EntityUIDEntry, Expr, ExprKind, Literal, Policy, PolicySet,
    Request, Value, ValueKind,
};
use cedar_policy_core::authorizer::{AuthorizationError, Authorizer, Decision};
use cedar_policy_core::evaluator::{EvaluationError, Evaluator};
use cedar_policy_core::extensions::Extensions;

use super::{Outcome, Question, Rules};
use crate::entities::{EntityStore, SliceError};

/// The plain authorizer over every policy of a snapshot.
#[derive(Debug)]
pub(crate) struct Oracle {
    policies: PolicySet,
    literals: Vec<EntityUID>,
    depth: usize,
}

/// What both ways of deciding are compared by: the decision as Cedar has it, the determining
/// policies, and those that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) permitted: bool,
    pub(crate) determining: BTreeSet<String>,
    pub(crate) failing: BTreeSet<String>,
}

impl Oracle {
    /// Shares the policies' text and expressions with the rules.
    pub(crate) fn new(rules: &Rules) -> Self {
        let mut policies = PolicySet::new();
        let mut literals = BTreeSet::new();
        let mut depth = 0;
        for rule in rules.iter() {
            // Ids are unique: the loader has seen to it.
            let _ = policies.add(rule.policy.clone());
            let (own, deepest) = reach(&rule.policy);
            literals.extend(own);
            depth = depth.max(deepest);
        }
        Self {
            policies,
            literals: literals.into_iter().collect(),
            depth,
        }
    }

    /// Decides as Cedar does. Costs as much as there are policies.
    pub(crate) fn decide(
        &self,
        question: &Question,
        store: &EntityStore,
    ) -> Result<Verdict, SliceError> {
        let roots = question.roots();
        let roots = roots.iter().chain(&self.literals);
        let entities = store.slice(roots, &question.overlays, self.depth)?;
        let response =
            Authorizer::new().is_authorized(request(question), &self.policies, &entities);
        Ok(Verdict {
            permitted: response.decision == Decision::Allow,
            determining: response
                .diagnostics
                .reason
                .iter()
                .map(ToString::to_string)
                .collect(),
            failing: response
                .diagnostics
                .errors
                .iter()
                .map(|error| match error {
                    AuthorizationError::PolicyEvaluationError { id, .. } => id.to_string(),
                })
                .collect(),
        })
    }
}

impl Verdict {
    /// What the rules said, without the rule that a failing `forbid` denies.
    pub(crate) fn of(outcome: &Outcome<'_>) -> Self {
        Self {
            permitted: outcome.permitted || outcome.denied_by_failure,
            determining: outcome
                .determining
                .iter()
                .map(|rule| rule.policy.id().to_string())
                .collect(),
            failing: outcome
                .failures
                .iter()
                .map(|(rule, _)| rule.policy.id().to_string())
                .collect(),
        }
    }

    /// Whether Cedar says the same. Where a failing forbid denies, ours names no permit that
    /// Cedar would have let through.
    pub(crate) fn agrees_with(&self, cedar: &Self) -> bool {
        let reasons_matter = !self.determining.is_empty() || !cedar.permitted;
        self.permitted == cedar.permitted
            && self.failing == cedar.failing
            && (!reasons_matter || self.determining == cedar.determining)
    }
}

impl Question {
    fn roots(&self) -> Vec<EntityUID> {
        let parts = [&self.principal, &self.action, &self.resource];
        let mut roots: Vec<EntityUID> = parts.map(|part| (**part).clone()).to_vec();
        if let Context::Value(members) = &self.context {
            roots.extend(members.values().flat_map(Value::all_literal_uids));
        }
        roots
    }
}

/// Evaluates one policy as Cedar does: whether it holds, or why it cannot be evaluated.
pub(super) fn evaluate(
    policy: &Policy,
    question: &Question,
    store: &EntityStore,
) -> Result<Result<bool, String>, SliceError> {
    let (literals, depth) = reach(policy);
    let roots = question.roots();
    let entities = store.slice(roots.iter().chain(&literals), &question.overlays, depth)?;
    let evaluator = Evaluator::new(request(question), &entities, Extensions::all_available());
    let value = evaluator.interpret(&policy.condition(), policy.env());
    Ok(match value.as_ref().map(Value::value_kind) {
        Ok(ValueKind::Lit(Literal::Bool(holds))) => Ok(*holds),
        Ok(_) => Err("it is neither true nor false".into()),
        Err(error) => Err(discreet(error)),
    })
}

/// Says what is wrong without the values that were computed with.
///
/// SECURITY: these may be attributes that only the store knows, or that a log masks; and who asks
/// picks what they are combined with.
fn discreet(error: &EvaluationError) -> String {
    match error {
        EvaluationError::IntegerOverflow(_) => "integer overflow".into(),
        EvaluationError::FailedExtensionFunctionExecution(_) => {
            "an extension function cannot use its argument".into()
        }
        EvaluationError::NonValue(_) => "it is not known whole".into(),
        // These say names and types.
        other => other.to_string(),
    }
}

/// Evaluates expressions of a policy, each by itself, as Cedar does.
pub(crate) fn interpret(
    policy: &Policy,
    expressions: &[&Expr],
    question: &Question,
    store: &EntityStore,
) -> Result<Vec<Result<Value, String>>, SliceError> {
    let (literals, depth) = reach(policy);
    let roots = question.roots();
    let entities = store.slice(roots.iter().chain(&literals), &question.overlays, depth)?;
    let evaluator = Evaluator::new(request(question), &entities, Extensions::all_available());
    let value = |expression: &&Expr| {
        let value = evaluator.interpret(expression, policy.env());
        value.map_err(|error| error.to_string())
    };
    Ok(expressions.iter().map(value).collect())
}

fn request(question: &Question) -> Request {
    Request::new_unchecked(
        EntityUIDEntry::known((*question.principal).clone(), None),
        EntityUIDEntry::known((*question.action).clone(), None),
        EntityUIDEntry::known((*question.resource).clone(), None),
        Some(question.context.clone()),
    )
}

/// The entities that a policy's clauses name, which may be looked into, too; and the longest
/// chain of lookups that they can make.
fn reach(policy: &Policy) -> (Vec<EntityUID>, usize) {
    let mut literals = Vec::new();
    let depth = policy.non_scope_constraints().map_or(0, |clauses| {
        collect_literals(clauses, &mut literals);
        lookups(clauses)
    });
    (literals, depth)
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
pub(crate) fn lookups(expr: &Expr) -> usize {
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
