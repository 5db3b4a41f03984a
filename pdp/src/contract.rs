//! The cache contract: which parts of a question its answer can depend on, besides who, what and
//! on what. Two questions that agree on those get the same decision from the same snapshot, so a
//! cache may leave everything else out of its keys.

use std::collections::BTreeSet;

use authzen::CacheAdvice;
use cedar_policy_core::ast::{Expr, ExprKind, Policy, Var};
use serde::Serialize;

use crate::entities::EntityStore;
use crate::load::Loaded;

/// For one kind of question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Contract {
    pub(crate) subject_type: String,
    pub(crate) action: String,
    pub(crate) resource_type: String,
    /// As every answer to such a question says it.
    #[serde(flatten)]
    pub(crate) advice: CacheAdvice,
}

/// What clauses can read of a question. May name too much, never too little.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reads {
    /// Attributes of any entity or record.
    pub(crate) attributes: BTreeSet<String>,
    /// Members of the context.
    pub(crate) context: BTreeSet<String>,
    /// The context is used as a value, so every member counts.
    pub(crate) whole_context: bool,
}

impl Reads {
    /// Adds what a policy reads. Scopes read nothing but identities, which every key has.
    pub(crate) fn add(&mut self, policy: &Policy) {
        if let Some(clauses) = policy.non_scope_constraints() {
            self.walk(clauses);
        }
    }

    fn walk(&mut self, expr: &Expr) {
        match expr.expr_kind() {
            ExprKind::Var(Var::Context) => self.whole_context = true,
            ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
                self.attribute(expr, attr);
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                self.attribute(expr, attrs.first());
                for attr in attrs.tail() {
                    self.attributes.insert(attr.to_string());
                }
            }
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => {
                for part in [test_expr, then_expr, else_expr] {
                    self.walk(part);
                }
            }
            ExprKind::And { left, right } | ExprKind::Or { left, right } => {
                self.walk(left);
                self.walk(right);
            }
            ExprKind::UnaryApp { arg: expr, .. }
            | ExprKind::Like { expr, .. }
            | ExprKind::Is { expr, .. } => self.walk(expr),
            ExprKind::BinaryApp { arg1, arg2, .. } => {
                self.walk(arg1);
                self.walk(arg2);
            }
            ExprKind::ExtensionFunctionApp { args, .. } => {
                args.iter().for_each(|arg| self.walk(arg));
            }
            ExprKind::Set(items) => items.iter().for_each(|item| self.walk(item)),
            ExprKind::Record(members) => members.values().for_each(|member| self.walk(member)),
            ExprKind::Lit(_)
            | ExprKind::Var(Var::Principal | Var::Action | Var::Resource)
            | ExprKind::Slot(_)
            | ExprKind::Unknown(_) => {}
        }
    }

    fn attribute(&mut self, of: &Expr, name: &str) {
        if matches!(of.expr_kind(), ExprKind::Var(Var::Context)) {
            self.context.insert(name.to_owned());
        } else {
            self.attributes.insert(name.to_owned());
            self.walk(of);
        }
    }
}

impl Contract {
    /// One for each kind of question that the schema knows, in order.
    pub(crate) fn all(loaded: &Loaded, store: &EntityStore) -> Vec<Self> {
        loaded.vocabulary.contracts(|principal, action, resource| {
            let mut reads = Reads::default();
            let rules = &loaded.rules;
            for rule in rules.of_kind(principal, action, resource, store) {
                reads.add(rule.policy());
            }
            reads
        })
    }

    /// By what contracts are in order.
    pub(crate) fn kind(&self) -> (&str, &str, &str) {
        (&self.subject_type, &self.action, &self.resource_type)
    }
}

#[cfg(test)]
mod tests;
