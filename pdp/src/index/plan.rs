//! What the index finds for every question of one kind, whichever entities it names: the policies whose
//! scopes say no more of the principal and the resource than their types. It is found once, and a
//! question looks up what its entities add to that: nothing at all, where no scope names any.

use std::sync::Arc;

use cedar_policy_core::ast::EntityType;

use super::guards::{Ask, Bucket};
use super::{
    ByPrincipal, Index, Keys, Listed, OF_ACTIONS, Positions, ScopeKey, Seen, Sought, visit,
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Policies that are evaluated in any case, ascending.
    pub(crate) positions: Box<[usize]>,
    /// Others of them are chosen by what a question says.
    choices: Box<[Arc<Bucket>]>,
    /// Where further policies are filed for its action, whose scopes name an entity, or what it is in.
    further: Box<[ByPrincipal]>,
    /// The numbers of the types, where any policy names them.
    kinds: [Option<u32>; 2],
}

impl Index {
    /// Of questions about this action, by a principal and about a resource of these types.
    pub(crate) fn plan(
        &self,
        principal: &EntityType,
        action: Seen<'_, '_>,
        resource: &EntityType,
    ) -> Plan {
        let mut listed = Listed::new();
        let actions = self.keys(&Sought::One(action), OF_ACTIONS, &mut listed);
        let kinds = [principal, resource].map(|kind| self.types.get(kind));
        let [principal, resource] = kinds;
        let [principals, resources] = [principal, resource].map(of_type);
        let (principals, resources) = (Keys::Listed(&principals), Keys::Listed(&resources));
        let (mut positions, mut choices) = (Positions::new(), Vec::new());
        let mut further = Vec::new();
        actions.visit(&self.buckets, |_, by_principal| {
            principals.visit(by_principal, |_, by_resource| {
                resources.visit(by_resource, |_, bucket| {
                    positions.extend_from_slice(bucket.here());
                    if bucket.has_choices() {
                        choices.push(Arc::clone(bucket));
                    }
                });
            });
            let entity_of = |key: &ScopeKey, kind| key.may_be_of(kind) && key.names_entity();
            let names_entities = by_principal.iter().any(|(key, by_resource)| {
                key.may_be_of(principal)
                    && (key.names_entity()
                        || by_resource.keys().any(|key| entity_of(key, resource)))
            });
            if names_entities {
                further.push(Arc::clone(by_principal));
            }
        });
        // A policy that names several actions may be found by more than one of them.
        positions.sort_unstable();
        positions.dedup();
        Plan {
            positions: positions.into_boxed_slice(),
            choices: choices.into(),
            further: further.into(),
            kinds,
        }
    }

    /// The policies that a question adds to its plan, ascending. `sides` are its principal and its
    /// resource.
    pub(crate) fn beyond<'q, 's: 'q>(
        &self,
        plan: &Plan,
        sides: impl FnOnce() -> [Seen<'q, 's>; 2],
        ask: &mut Ask<'_, '_>,
    ) -> Positions {
        let mut found = Positions::new();
        for bucket in &plan.choices {
            bucket.visit_chosen(ask, &mut |positions| found.extend_from_slice(positions));
        }
        if !plan.further.is_empty() {
            let ([principal, resource], kinds) = (sides(), plan.kinds);
            let mut listed = [Listed::new(), Listed::new()];
            let [for_principal, for_resource] = &mut listed;
            let principals = self.listed(principal, kinds[0], self.principals, for_principal);
            let resources = self.listed(resource, kinds[1], self.resources, for_resource);
            let is_beyond = |principal: ScopeKey, resource: ScopeKey| {
                principal.names_entity() || resource.names_entity()
            };
            for by_principal in &plan.further {
                let sides = (&principals, &resources);
                visit(by_principal, sides, is_beyond, ask, &mut found);
            }
        }
        if !found.is_empty() {
            found.sort_unstable();
            found.dedup();
            // By one action it may be evaluated in any case, and chosen by another.
            found.retain(|position| plan.positions.binary_search(position).is_err());
        }
        found
    }
}

/// The keys of scopes that match every entity of a type. Its number, where any policy names it.
fn of_type(kind: Option<u32>) -> Listed {
    let mut keys = Listed::from_iter([ScopeKey::ANY]);
    keys.extend(kind.map(ScopeKey::is));
    keys
}
