//! Which attributes a policy reads, and what of.

use cedar_policy_core::ast::{Expr, ExprKind, Policy};
use smol_str::SmolStr;

use super::oracle::lookups;

/// An attribute that a policy reads or asks for.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) name: SmolStr,
    /// What it is an attribute of: an entity, or a record.
    pub(crate) of: Expr,
    /// How many lookups that takes at most. Whatever it is looked up by has fewer.
    pub(crate) depth: usize,
}

impl Access {
    fn new(name: &SmolStr, of: &Expr) -> Self {
        Self {
            name: name.clone(),
            depth: lookups(of),
            of: of.clone(),
        }
    }
}

/// Every access that a policy's clauses can make, inner ones first. Scopes make none.
pub(super) fn accesses(policy: &Policy) -> Box<[Access]> {
    let mut found = Vec::new();
    let clauses = policy.non_scope_constraints();
    for part in clauses.into_iter().flat_map(Expr::subexpressions) {
        match part.expr_kind() {
            ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
                found.push(Access::new(attr, expr));
            }
            // `e has a.b` looks for `a` of `e`, then for `b` of `e.a`.
            ExprKind::ExtHasAttr { expr, attrs } => {
                let mut of = (**expr).clone();
                for name in attrs {
                    found.push(Access::new(name, &of));
                    of = Expr::get_attr(of, name.clone());
                }
            }
            _ => {}
        }
    }
    found.sort_by_key(|access| access.depth);
    found.into()
}
