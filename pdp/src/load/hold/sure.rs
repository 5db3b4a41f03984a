//! Tells policies of which the validator would say nothing. It asks each policy about every kind of
//! question that the schema knows; nearly always a policy's scope leaves a few of them. The typechecker
//! is the same: what it says of these few is what counts.

use std::iter;

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityType, PrincipalOrResourceConstraint, Template,
};
use cedar_policy_core::validator::typecheck::{PolicyCheck, Typechecker};
use cedar_policy_core::validator::types::RequestEnv;
use cedar_policy_core::validator::{ValidationMode, Validator, ValidatorActionId, ValidatorSchema};

/// What policies are held against.
pub(super) struct Sure<'s> {
    schema: &'s ValidatorSchema,
    typechecker: Typechecker<'s>,
}

/// The types that a scope leaves for its principal or its resource.
enum Types<'p> {
    One(&'p EntityType),
    /// Nothing is known of it here.
    Any,
}

impl<'s> Sure<'s> {
    pub(super) fn new(schema: &'s ValidatorSchema) -> Self {
        Self {
            schema,
            typechecker: Typechecker::new(schema, ValidationMode::Strict),
        }
    }

    /// Whether the validator has nothing to say of a policy, but for texts that look like others. False:
    /// it is to be asked.
    pub(super) fn is_of(&self, policy: &Template) -> bool {
        // A slot can be filled with any type.
        if policy.slots().next().is_some() {
            return false;
        }
        let mut words = Validator::validate_entity_types_and_literals(self.schema, policy);
        if words.next().is_some() {
            return false;
        }
        let principal = Types::of(policy.principal_constraint().as_inner());
        let resource = Types::of(policy.resource_constraint().as_inner());
        let mut can_apply = false;
        for action in self.actions(policy.action_constraint()) {
            let Some(context) = action.context() else {
                return false;
            };
            let resources: Vec<_> = resource.among(action, Side::Resource).collect();
            for principal in principal.among(action, Side::Principal) {
                for resource in &resources {
                    let kind = RequestEnv::DeclaredAction {
                        principal,
                        action: action.name(),
                        resource,
                        context,
                        principal_slot: None,
                        resource_slot: None,
                    };
                    let said = self
                        .typechecker
                        .typecheck_by_single_request_env(policy, &kind);
                    match said {
                        PolicyCheck::Success(_) => can_apply = true,
                        PolicyCheck::Irrelevant(errors, _) if errors.is_empty() => {}
                        PolicyCheck::Irrelevant(..) | PolicyCheck::Fail(_) => return false,
                    }
                }
            }
        }
        can_apply
    }

    /// The actions that a scope leaves. One that is named twice comes twice.
    fn actions<'p>(
        &self,
        scope: &'p ActionConstraint,
    ) -> Box<dyn Iterator<Item = &'s ValidatorActionId> + 'p>
    where
        's: 'p,
    {
        let schema = self.schema;
        match scope {
            ActionConstraint::Any => Box::new(schema.action_ids()),
            ActionConstraint::Eq(action) => Box::new(schema.get_action_id(action).into_iter()),
            ActionConstraint::In(groups) => {
                let groups = groups
                    .iter()
                    .filter_map(|group| schema.get_action_id(group));
                Box::new(groups.flat_map(|group| {
                    let members = group.descendants();
                    let members = members.filter_map(|member| schema.get_action_id(member));
                    iter::once(group).chain(members)
                }))
            }
        }
    }
}

/// Which part of a kind of questions a type is.
#[derive(Clone, Copy)]
enum Side {
    Principal,
    Resource,
}

impl<'p> Types<'p> {
    fn of(scope: &'p PrincipalOrResourceConstraint) -> Self {
        match scope {
            PrincipalOrResourceConstraint::Is(kind)
            | PrincipalOrResourceConstraint::IsIn(kind, _) => Self::One(kind),
            PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid)) => {
                Self::One(uid.entity_type())
            }
            PrincipalOrResourceConstraint::Eq(EntityReference::Slot(_))
            | PrincipalOrResourceConstraint::In(_)
            | PrincipalOrResourceConstraint::Any => Self::Any,
        }
    }

    /// Those of them that an action can be asked about.
    fn among<'a>(
        &self,
        action: &'a ValidatorActionId,
        side: Side,
    ) -> Box<dyn Iterator<Item = &'a EntityType> + 'a>
    where
        'p: 'a,
    {
        match (self, side) {
            (Self::Any, Side::Principal) => Box::new(action.principals()),
            (Self::Any, Side::Resource) => Box::new(action.resources()),
            (Self::One(kind), side) => {
                let is_applicable = match side {
                    Side::Principal => action.is_applicable_principal_type(kind),
                    Side::Resource => action.is_applicable_resource_type(kind),
                };
                Box::new(is_applicable.then_some(*kind).into_iter())
            }
        }
    }
}

#[cfg(test)]
mod tests;
