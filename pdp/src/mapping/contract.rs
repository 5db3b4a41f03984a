//! Contracts in AuthZEN's words: what policies read, as names of the members that a question can
//! send.

use std::collections::BTreeSet;
use std::sync::Arc;

use authzen::{CacheAdvice, Vary};
use cedar_policy_core::ast::{EntityType, EntityUID};

use super::Vocabulary;
use super::shape::{Member, Members, Shape};
use super::vocabulary::{ActionTerm, Kind};
use crate::RequestProperties;
use crate::contract::{Contract, Reads};

impl Vocabulary {
    /// A contract for every triple of types and action, in order. `reads` says what the policies
    /// for such a triple read.
    pub(crate) fn contracts(
        &self,
        reads: impl Fn(&EntityType, &EntityUID, &EntityType) -> Reads,
    ) -> Vec<Contract> {
        let mut contracts = Vec::new();
        for (action, term) in &self.actions {
            for (subject_type, subject) in &self.types {
                for (resource_type, resource) in &self.types {
                    if !term.subjects.contains(subject) || !term.resources.contains(resource) {
                        continue;
                    }
                    let reads = reads(subject, &term.uid, resource);
                    contracts.push(Contract {
                        subject_type: subject_type.clone(),
                        action: action.clone(),
                        resource_type: resource_type.clone(),
                        advice: CacheAdvice {
                            vary: Some(Arc::new(Vary {
                                subject: properties(self.kinds.get(subject), &reads),
                                action: parameters(term, &reads),
                                resource: properties(self.kinds.get(resource), &reads),
                                context: context(term, &reads),
                            })),
                            max_age: None,
                        },
                    });
                }
            }
        }
        contracts.sort_by(|one, other| one.kind().cmp(&other.kind()));
        contracts
    }
}

fn properties(kind: Option<&Kind>, reads: &Reads) -> Vec<String> {
    match kind {
        Some(kind) if kind.request_properties != RequestProperties::Ignore => {
            named(&kind.members, |name, member| {
                reads.attributes.contains(name) || holds_required(&member.shape)
            })
        }
        _ => Vec::new(),
    }
}

fn parameters(term: &ActionTerm, reads: &Reads) -> Vec<String> {
    match &term.parameters {
        Some(parameters) => {
            let is_read = reads.whole_context || reads.context.contains("action");
            let is_needed = parameters.required
                || parameters
                    .members
                    .values()
                    .any(|member| member.required || holds_required(&member.shape));
            named(&parameters.members, |_, _| is_read || is_needed)
        }
        None => Vec::new(),
    }
}

/// A member that the schema requires matters by being there: without it nothing is decided.
fn context(term: &ActionTerm, reads: &Reads) -> Vec<String> {
    named(&term.context, |name, member| {
        member.required
            || holds_required(&member.shape)
            || reads.whole_context
            || reads.context.contains(name)
    })
}

fn named(members: &Members, is_named: impl Fn(&str, &Member) -> bool) -> Vec<String> {
    let names: BTreeSet<&String> = members
        .iter()
        .filter(|(name, member)| is_named(name, member))
        .map(|(name, _)| name)
        .collect();
    names.into_iter().cloned().collect()
}

/// Whether a value can be incomplete, which decides, too.
fn holds_required(shape: &Shape) -> bool {
    match shape {
        Shape::Record(members) => members
            .values()
            .any(|member| member.required || holds_required(&member.shape)),
        Shape::Set(items) => holds_required(items),
        Shape::Bool
        | Shape::Long
        | Shape::String
        | Shape::Entity(_)
        | Shape::Extension(_)
        | Shape::Impossible => false,
    }
}
