//! Kinds of questions in AuthZEN's words, and what each can have in it that matters to an answer.

use cedar_policy_core::ast::{EntityType, EntityUID};
use serde::Serialize;
use smol_str::SmolStr;

use super::readable::{Places, Readable};
use super::shape::{Members, Shape};
use super::vocabulary::{ActionTerm, Kind, Number, Parameters, Vocabulary};
use crate::config::RequestProperties;
use crate::reads::{NameSet, Names, Reads};

/// A kind of question, and what it can have in it that matters.
#[derive(Debug, Serialize)]
pub(crate) struct QuestionKind {
    pub(crate) subject_type: String,
    pub(crate) action: String,
    pub(crate) resource_type: String,
    #[serde(skip)]
    pub(crate) numbers: KindNumbers,
    #[serde(skip)]
    pub(crate) terms: KindTerms,
}

/// Those of the subject's type, of the action and of the resource's type.
pub(crate) type KindNumbers = [Number; 3];

/// The same in Cedar's words.
#[derive(Debug)]
pub(crate) struct KindTerms {
    pub(crate) principal: EntityType,
    pub(crate) action: EntityUID,
    pub(crate) resource: EntityType,
    pub(crate) subject_members: Vec<Matter>,
    pub(crate) action_members: Vec<Matter>,
    pub(crate) resource_members: Vec<Matter>,
    pub(crate) context_members: Vec<Matter>,
    /// In Cedar's words, where the action's parameters are one member of the context.
    pub(crate) native_members: Vec<Matter>,
}

/// When a member of a question matters.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matter {
    pub(crate) name: String,
    pub(crate) when: When,
}

/// See [`Matter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum When {
    /// Where an attribute of its name is read.
    Attribute(NameSet),
    /// Where a member of the context of this name is read.
    Context(NameSet),
    /// Always: it matters by being there.
    Always,
}

impl Vocabulary {
    /// Every triple of types and action that can be asked about, in order.
    pub(crate) fn question_kinds(&self) -> Vec<QuestionKind> {
        let mut kinds = Vec::new();
        for (action, term) in &self.actions {
            for (subject_type, subject) in &self.types {
                for (resource_type, resource) in &self.types {
                    if !term.takes_subject(subject) || !term.takes_resource(resource) {
                        continue;
                    }
                    kinds.push(QuestionKind {
                        subject_type: subject_type.clone(),
                        action: action.clone(),
                        resource_type: resource_type.clone(),
                        numbers: [subject.number, term.number, resource.number],
                        terms: self.kind_terms(subject, term, resource),
                    });
                }
            }
        }
        kinds.sort_by_cached_key(|kind| {
            let names = (&kind.subject_type, &kind.action, &kind.resource_type);
            (names.0.clone(), names.1.clone(), names.2.clone())
        });
        kinds
    }

    fn kind_terms(&self, subject: &Kind, term: &ActionTerm, resource: &Kind) -> KindTerms {
        let names = &self.names;
        KindTerms {
            principal: (*subject.entity_type).clone(),
            action: (*term.uid).clone(),
            resource: (*resource.entity_type).clone(),
            subject_members: properties(subject, names),
            action_members: parameters(term, names),
            resource_members: properties(resource, names),
            context_members: context(term, names),
            native_members: whole_context(term, names),
        }
    }
}

impl KindTerms {
    /// What policies can read of such a question that read this.
    pub(crate) fn readable(&self, reads: Reads) -> Readable {
        let of = |members: &[Matter]| {
            // None of them matters in a question: what is stored is read, whatever policies read of it.
            if members.is_empty() {
                return Places::ALL;
            }
            Places::of(members.iter().map(|member| match member.when {
                When::Attribute(name) => !name.within(reads.attributes).is_empty(),
                When::Context(_) | When::Always => true,
            }))
        };
        Readable {
            subject: of(&self.subject_members),
            resource: of(&self.resource_members),
        }
    }
}

/// Numbers every name that can be read of a question.
pub(super) fn names<'v>(
    kinds: impl Iterator<Item = &'v Kind>,
    actions: impl Iterator<Item = &'v ActionTerm>,
    clock: Option<&'v str>,
) -> Names {
    fn sorted<'v>(names: impl Iterator<Item = &'v SmolStr>) -> Vec<&'v str> {
        let mut names: Vec<&str> = names.map(SmolStr::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
    let attributes = sorted(kinds.flat_map(|kind| kind.members.names().iter()));
    let context = sorted(actions.flat_map(|term| term.context.names().iter()));
    Names::new(
        attributes,
        ["action"].into_iter().chain(clock).chain(context),
    )
}

fn properties(kind: &Kind, names: &Names) -> Vec<Matter> {
    if kind.request_properties == RequestProperties::Ignore {
        return Vec::new();
    }
    let matters = kind.members.iter().map(|(name, member)| Matter {
        name: name.to_string(),
        when: if holds_required(&member.shape) {
            When::Always
        } else {
            When::Attribute(names.name(name).as_attribute())
        },
    });
    matters.collect()
}

fn parameters(term: &ActionTerm, names: &Names) -> Vec<Matter> {
    let Some(parameters) = &term.parameters else {
        return Vec::new();
    };
    let when = when_needed(parameters, names);
    let members = parameters.members.names();
    members
        .iter()
        .map(|name| Matter {
            name: name.to_string(),
            when,
        })
        .collect()
}

fn when_needed(parameters: &Parameters, names: &Names) -> When {
    if parameters.required || any_needed(&parameters.members) {
        When::Always
    } else {
        When::Context(names.name(&PARAMETERS).in_context())
    }
}

/// The context with the action's parameters in it.
fn whole_context(term: &ActionTerm, names: &Names) -> Vec<Matter> {
    let parameters = term.parameters.iter().map(|parameters| Matter {
        name: PARAMETERS.to_string(),
        when: when_needed(parameters, names),
    });
    parameters.chain(context(term, names)).collect()
}

/// The member of the context that takes them.
const PARAMETERS: SmolStr = SmolStr::new_static("action");

/// A member that the schema requires matters by being there: without it nothing is decided.
fn context(term: &ActionTerm, names: &Names) -> Vec<Matter> {
    let matters = term.context.iter().map(|(name, member)| Matter {
        name: name.to_string(),
        when: if member.required || holds_required(&member.shape) {
            When::Always
        } else {
            When::Context(names.name(name).in_context())
        },
    });
    matters.collect()
}

/// Whether a value can be incomplete, which decides, too.
fn holds_required(shape: &Shape) -> bool {
    match shape {
        Shape::Record(members) => any_needed(members),
        Shape::Set(items) => holds_required(items),
        Shape::Bool
        | Shape::Long
        | Shape::String
        | Shape::Entity(_)
        | Shape::Extension(_)
        | Shape::Impossible => false,
    }
}

fn any_needed(members: &Members) -> bool {
    let mut members = members.iter();
    members.any(|(_, member)| member.required || holds_required(&member.shape))
}
