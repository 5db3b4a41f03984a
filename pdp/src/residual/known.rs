//! Questions that leave a side open: which of what providers have is of the known sides, to be
//! fetched once, and which is of the open side, to be fetched for one candidate after the other.

use std::collections::HashMap;

use cedar_policy_core::ast::{BinaryOp, EntityType, EntityUID, Expr, ExprKind, Var};
use cedar_policy_core::tpe::residual::{Residual, ResidualKind};
use cedar_policy_core::validator::types::{EntityKind, Type};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::Residuals;
use crate::engine::{Access, Rules};

/// A residual reads what only a provider knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "policy `{policy}` reads `{attribute}`, which is fetched from an attribute provider for one \
     question at a time: what leaves a side of the question open cannot be answered"
)]
pub(crate) struct ReadElsewhere {
    policy: String,
    attribute: SmolStr,
}

/// The side of a question that is left open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) kind: &'a EntityType,
    /// Principal or resource.
    pub(crate) sought: Var,
    /// Else the question's context means nothing.
    pub(crate) context_is_known: bool,
}

/// What providers have said of the known sides, and what only they know of the rest.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) taken: Taken,
    /// What policies read and providers have, by type and attribute.
    elsewhere: HashMap<EntityType, HashMap<SmolStr, Elsewhere>>,
    /// Policies may read it of the open side.
    is_read_of_open: bool,
    /// So many candidates can be asked about at once: no provider on their way takes fewer.
    pub(crate) at_once: usize,
}

#[derive(Debug, Clone, Copy)]
struct Elsewhere {
    provider: usize,
    /// It may be an attribute of an entity that partial evaluation knows. Else it is one of what
    /// the open side leads to.
    may_be_known: bool,
}

/// Which providers have been asked about which entities.
#[derive(Debug, Default)]
pub(crate) struct Taken(HashMap<EntityUID, SmallVec<[usize; 2]>>);

impl Side<'_> {
    fn is_open(&self, var: Var) -> bool {
        var == self.sought || (var == Var::Context && !self.context_is_known)
    }

    /// Whether an expression can be evaluated without the open side.
    pub(crate) fn knows(&self, expr: &Expr) -> bool {
        let is_open =
            |part: &Expr| matches!(part.expr_kind(), ExprKind::Var(var) if self.is_open(*var));
        !expr.subexpressions().any(is_open)
    }

    /// Whether an expression is nothing but attributes and tags of the open side.
    fn leads_from_open(&self, expr: &Expr) -> bool {
        match expr.expr_kind() {
            ExprKind::Var(var) => self.is_open(*var),
            ExprKind::GetAttr { expr, .. } => self.leads_from_open(expr),
            ExprKind::BinaryApp {
                op: BinaryOp::GetTag,
                arg1,
                ..
            } => self.leads_from_open(arg1),
            _ => false,
        }
    }
}

impl Taken {
    pub(crate) fn has(&self, provider: usize, uid: &EntityUID) -> bool {
        self.0
            .get(uid)
            .is_some_and(|taken| taken.contains(&provider))
    }

    pub(crate) fn add(&mut self, provider: usize, uid: EntityUID) {
        self.0.entry(uid).or_default().push(provider);
    }
}

impl Known {
    /// Of what providers have, nothing has been fetched yet.
    pub(crate) fn nothing() -> Self {
        Self {
            at_once: usize::MAX,
            ..Self::default()
        }
    }

    /// A policy reads an attribute that a provider has of entities of a type, in so many requests
    /// at once.
    pub(crate) fn reads(
        &mut self,
        access: &Access,
        side: Side<'_>,
        kind: &EntityType,
        provider: usize,
        at_once: usize,
    ) {
        if !side.knows(&access.of) {
            self.is_read_of_open = true;
            self.at_once = self.at_once.min(at_once);
        }
        let may_be_known = !side.leads_from_open(&access.of);
        let names = self.elsewhere.entry(kind.clone()).or_default();
        let entry = names.entry(access.name.clone()).or_insert(Elsewhere {
            provider,
            may_be_known,
        });
        entry.may_be_known = entry.may_be_known || may_be_known;
    }

    /// Whether nothing is to be fetched for one candidate or the other.
    pub(crate) fn is_enough(&self) -> bool {
        !self.is_read_of_open
    }

    /// The entities that providers have been asked about.
    pub(crate) fn entities(&self) -> impl Iterator<Item = &EntityUID> {
        self.taken.0.keys()
    }

    /// Whether an entity's attributes are all as they are to be believed, as far as policies can
    /// read them where partial evaluation knows the entity.
    pub(crate) fn is_whole(&self, uid: &EntityUID) -> bool {
        let names = self.elsewhere.get(uid.entity_type());
        names.into_iter().flat_map(HashMap::values).all(|one| {
            let Elsewhere {
                provider,
                may_be_known,
            } = *one;
            !may_be_known || self.taken.has(provider, uid)
        })
    }

    /// Whether an attribute, of what has this type, is a provider's. May say so too often.
    pub(crate) fn is_elsewhere(&self, of: &Type, name: &str) -> bool {
        let has = |names: &HashMap<SmolStr, Elsewhere>| names.contains_key(name);
        match of {
            Type::Record { .. } => false,
            Type::Entity(EntityKind::Entity(kinds)) => match kinds.get_single_entity() {
                Some(kind) => self.elsewhere.get(kind).is_some_and(has),
                None => self.is_anywhere(name),
            },
            _ => self.is_anywhere(name),
        }
    }

    fn is_anywhere(&self, name: &str) -> bool {
        let mut all = self.elsewhere.values();
        all.any(|names| names.contains_key(name))
    }

    /// Refuses a question whose residuals read what a provider has: nobody who is handed them
    /// could find it where they look.
    pub(crate) fn refuse_left(
        &self,
        rules: &Rules,
        candidates: &[usize],
        residuals: &Residuals,
    ) -> Result<(), ReadElsewhere> {
        if self.elsewhere.is_empty() {
            return Ok(());
        }
        for at in candidates {
            let Some(rule) = rules.get(*at) else {
                continue;
            };
            let left = if let Some(residual) = residuals.get(at) {
                self.left_in(residual)
            } else {
                let mut names = rule.accesses().iter().map(|access| &access.name);
                names.find(|name| self.is_anywhere(name))
            };
            if let Some(attribute) = left {
                return Err(ReadElsewhere {
                    policy: rule.reason.policy.clone(),
                    attribute: attribute.clone(),
                });
            }
        }
        Ok(())
    }

    /// What a residual reads that a provider has.
    fn left_in<'r>(&self, residual: &'r Residual) -> Option<&'r SmolStr> {
        let Residual::Partial { kind, .. } = residual else {
            return None;
        };
        match kind {
            ResidualKind::Var(_) => None,
            ResidualKind::GetAttr { expr, attr } | ResidualKind::HasAttr { expr, attr } => self
                .is_elsewhere(expr.ty(), attr)
                .then_some(attr)
                .or_else(|| self.left_in(expr)),
            ResidualKind::ExtHasAttr { expr, attrs } => attrs
                .iter()
                .find(|attr| self.is_anywhere(attr))
                .or_else(|| self.left_in(expr)),
            ResidualKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => self
                .left_in(test_expr)
                .or_else(|| self.left_in(then_expr))
                .or_else(|| self.left_in(else_expr)),
            ResidualKind::And { left, right } | ResidualKind::Or { left, right } => {
                self.left_in(left).or_else(|| self.left_in(right))
            }
            ResidualKind::BinaryApp { arg1, arg2, .. } => {
                self.left_in(arg1).or_else(|| self.left_in(arg2))
            }
            ResidualKind::UnaryApp { arg: expr, .. }
            | ResidualKind::Like { expr, .. }
            | ResidualKind::Is { expr, .. } => self.left_in(expr),
            ResidualKind::ExtensionFunctionApp { args: items, .. } | ResidualKind::Set(items) => {
                items.iter().find_map(|item| self.left_in(item))
            }
            ResidualKind::Record(members) => {
                members.values().find_map(|member| self.left_in(member))
            }
        }
    }
}
