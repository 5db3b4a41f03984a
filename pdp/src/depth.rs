//! How deep expressions are, and a stack with room for them.
//!
//! SECURITY: where Cedar's partial evaluation has no more stack, what is left of a policy says that it
//! fails, as if it did for every question. That must not happen: deeper policies are not given to it.

use cedar_policy_core::ast::{Expr, ExprKind};

/// Deeper expressions are not evaluated partially.
const DEEPEST: usize = 400;
/// Each level takes some thirty kilobytes where nothing is optimized, and far less where it is. What
/// is not used costs nothing.
const STACK: usize = 64 * 1024 * 1024;

/// Runs on a stack that has room for what is not too deep.
pub(crate) fn with_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK / 2, STACK, run)
}

/// Whether there might be no room for an expression.
pub(crate) fn is_too_deep(expr: &Expr) -> bool {
    let mut level = vec![expr];
    for _ in 0..DEEPEST {
        level = level.into_iter().flat_map(parts).collect();
        if level.is_empty() {
            return false;
        }
    }
    true
}

fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::If {
            test_expr,
            then_expr,
            else_expr,
        } => vec![test_expr, then_expr, else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![left, right],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        ExprKind::UnaryApp { arg: expr, .. }
        | ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::Set(items) => items.iter().collect(),
        ExprKind::Record(members) => members.values().collect(),
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => {
            Vec::new()
        }
    }
}
