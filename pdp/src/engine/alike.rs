//! Clauses that many policies have alike: those of a template's links, and what is written for one
//! type as it is for the next. They are one thing in memory: what a decision about one type has
//! brought into the cache, one about another finds there.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy_core::ast::{
    EntityReference, EntityType, Expr, Policy, PrincipalOrResourceConstraint,
};
use foldhash::fast::RandomState;
use smol_str::SmolStr;

use super::condition::Code;

/// Compiled clauses while they are gone through.
#[derive(Debug, Default)]
pub(super) struct Alike(HashMap<Key, Arc<Code>, RandomState>);

/// What they are, and what the types have that the scope names: compiled clauses learn in which place
/// an attribute stands, which must hold for all who share them.
type Key = (Expr, [Option<Attributes>; 2]);

/// The names of a type's attributes.
pub(super) type Attributes = Arc<[SmolStr]>;

impl Alike {
    /// Those of a policy, or equal ones of another policy before it.
    pub(super) fn shared(
        &mut self,
        code: &Arc<Code>,
        policy: &Policy,
        attributes: impl Fn(&EntityType) -> Option<Attributes>,
    ) -> Arc<Code> {
        let Some(clauses) = policy.non_scope_constraints() else {
            return Arc::clone(code);
        };
        let of = |constraint: &PrincipalOrResourceConstraint| attributes(kind(constraint)?);
        let sides = [
            of(policy.principal_constraint().as_inner()),
            of(policy.resource_constraint().as_inner()),
        ];
        let known = self.0.entry((clauses.clone(), sides));
        Arc::clone(known.or_insert_with(|| Arc::clone(code)))
    }
}

/// The type that a scope names.
fn kind(constraint: &PrincipalOrResourceConstraint) -> Option<&EntityType> {
    use PrincipalOrResourceConstraint as Constraint;
    match constraint {
        Constraint::Is(kind) | Constraint::IsIn(kind, _) => Some(kind),
        Constraint::Eq(EntityReference::EUID(uid)) => Some(uid.entity_type()),
        Constraint::Any | Constraint::In(_) | Constraint::Eq(EntityReference::Slot(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::PolicySet;

    use super::super::rule::Clauses;
    use super::super::tests::unshared;
    use super::*;
    use crate::reads::Names;

    #[test]
    fn policies_share_clauses_where_their_types_have_the_same_attributes() {
        let policies: PolicySet = "
            permit (principal, action, resource is A) when { resource.x == principal };
            permit (principal, action, resource is B) when { resource.x == principal };
            permit (principal, action, resource is C) when { resource.x == principal };
            forbid (principal, action, resource is A) when { resource.x == principal };
            permit (principal, action, resource is A) unless { resource.x == principal };"
            .parse()
            .unwrap();
        let mut rules = unshared(&policies, &Names::default());
        rules.share(|kind| {
            let names: &[&str] = if kind.to_string() == "C" {
                &["w", "x"]
            } else {
                &["x"]
            };
            Some(names.iter().map(SmolStr::new).collect())
        });
        let code = |id: &str| {
            let mut all = rules.iter();
            match &all.find(|rule| rule.reason.policy == id).unwrap().clauses {
                Clauses::Compiled(code) => Arc::as_ptr(code),
                clauses => panic!("{clauses:?}"),
            }
        };
        assert_eq!(code("policy0"), code("policy1"));
        assert_eq!(code("policy0"), code("policy3"));
        assert_ne!(code("policy0"), code("policy2"));
        assert_ne!(code("policy0"), code("policy4"));
    }
}
