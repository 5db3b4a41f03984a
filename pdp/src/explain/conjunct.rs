//! The conditions of a policy, taken apart at their top-level `&&`, and what each comes to.

use cedar_policy_core::ast::{Expr, ExprKind, Literal, Value, ValueKind};
use cedar_policy_core::parser::Loc;
use serde::Serialize;

use super::Place;
use crate::engine::{Question, Rule, interpret};
use crate::entities::{EntityStore, SliceError};
use crate::short::cut;

/// One condition of a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conjunct {
    /// As it is written.
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// None: it cannot be evaluated.
    pub holds: Option<bool>,
    /// Why it cannot be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What its parts come to, each as it is written.
    pub values: Vec<(String, String)>,
}

/// The most parts of a condition whose values are shown, and the longest value.
const VALUES: usize = 20;
const LONGEST: usize = 200;

/// Every condition, in order.
pub(super) fn all(
    rule: &Rule,
    question: &Question,
    store: &EntityStore,
) -> Result<Vec<Conjunct>, SliceError> {
    let policy = rule.policy();
    let Some(clauses) = policy.non_scope_constraints() else {
        return Ok(Vec::new());
    };
    let mut conditions = Vec::new();
    flatten(clauses, &mut conditions);
    let results = interpret(policy, &conditions, question, store)?;
    let mut found = Vec::with_capacity(conditions.len());
    for (condition, result) in conditions.into_iter().zip(results) {
        let mut parts = Vec::new();
        lookups(condition, &mut parts);
        parts.truncate(VALUES);
        let values = interpret(policy, &parts, question, store)?;
        let values = parts.iter().zip(values).map(|(part, value)| {
            let value =
                value.map_or_else(|error| format!("(none: {error})"), |value| shown(&value));
            // Where a member is called, Cedar's place for it is that of the whole call.
            (shortened(&part.to_string()), value)
        });
        let (holds, error) = match result.as_ref().map(Value::value_kind) {
            Ok(ValueKind::Lit(Literal::Bool(holds))) => (Some(*holds), None),
            Ok(_) => (None, Some("it is neither true nor false".to_owned())),
            Err(error) => (None, Some(error.clone())),
        };
        found.push(Conjunct {
            text: text(condition),
            place: place(rule, condition.source_loc()),
            holds,
            error,
            values: values.collect(),
        });
    }
    Ok(found)
}

/// Where something is written.
pub(super) fn place(rule: &Rule, loc: Option<&Loc>) -> Option<Place> {
    let (file, line, column) = rule.place_of(loc)?;
    Some(Place {
        file: file.path.display().to_string(),
        line,
        column,
    })
}

fn flatten<'e>(expression: &'e Expr, found: &mut Vec<&'e Expr>) {
    match expression.expr_kind() {
        ExprKind::And { left, right } => {
            flatten(left, found);
            flatten(right, found);
        }
        // What a clause that is left out leaves behind.
        ExprKind::Lit(Literal::Bool(true)) => {}
        _ => found.push(expression),
    }
}

/// What is looked up: chains of attributes, and variables that stand for themselves.
fn lookups<'e>(expression: &'e Expr, found: &mut Vec<&'e Expr>) {
    if is_lookup(expression) {
        if !found
            .iter()
            .any(|known| known.expr_kind() == expression.expr_kind())
        {
            found.push(expression);
        }
        return;
    }
    let mut each = |parts: &[&'e Expr]| parts.iter().for_each(|part| lookups(part, found));
    match expression.expr_kind() {
        ExprKind::And { left, right } | ExprKind::Or { left, right } => each(&[left, right]),
        ExprKind::BinaryApp { arg1, arg2, .. } => each(&[arg1, arg2]),
        ExprKind::UnaryApp { arg: expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. }
        | ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. } => each(&[expr]),
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => each(&[test_expr, then_expr, else_expr]),
        ExprKind::Set(items) => items.iter().for_each(|item| lookups(item, found)),
        ExprKind::Record(members) => members.values().for_each(|member| lookups(member, found)),
        ExprKind::ExtensionFunctionApp { args, .. } => {
            args.iter().for_each(|argument| lookups(argument, found));
        }
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => {}
    }
}

fn is_lookup(expression: &Expr) -> bool {
    match expression.expr_kind() {
        ExprKind::Var(_) => true,
        ExprKind::GetAttr { expr, .. } => is_lookup(expr),
        _ => false,
    }
}

/// An expression as it is written, or as Cedar writes it.
fn text(expression: &Expr) -> String {
    let written = expression.source_loc().and_then(Loc::snippet);
    match written {
        Some(text) => shortened(text),
        None => shortened(&expression.to_string()),
    }
}

fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&text, LONGEST).into_owned()
}
