//! The one place that knows both AuthZEN's words and Cedar's: questions in, answers out.
//!
//! What the schema does not know is left out and counted, since no validated policy can read it.
//! An unknown type, action or entity is a question with the answer no. A known attribute of the
//! wrong type is no question at all.

mod contract;
mod provided;
mod search;
mod shape;
mod vocabulary;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use authzen::{
    Action, CacheAdvice, Decision, DecisionContext, Evaluation, EvaluationRequest, Properties,
    SnapshotVersion,
};
use cedar_policy_core::ast::{Context, Eid, EntityUID, Value};
use serde_json::json;
use service_kit::UnixTime;
use smol_str::SmolStr;

pub(crate) use search::Sought;
pub(crate) use shape::{Member, Members, Shape};
pub(crate) use vocabulary::Vocabulary;

use crate::RequestProperties;
use crate::attributes::Unavailable;
use crate::engine::{Outcome, Question};
use crate::entities::{EntityStore, Row};
use crate::now::datetime;
use shape::{Misfit, Reader};
use vocabulary::{ActionTerm, Kind};

/// Why a question is not decided by policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotAsked {
    /// The answer is no, and this is why.
    Deny { status: u16, message: String },
    /// A 400: the named field is of the wrong type.
    Unusable { field: String, message: String },
}

/// A question in Cedar's words, and how much of it nobody could have read.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) question: Question,
    pub(crate) unknown_attributes: u64,
}

/// Which part of the question an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Subject,
    Resource,
}

impl Vocabulary {
    /// Puts a question into Cedar's words.
    pub(crate) fn question(
        &self,
        request: &EvaluationRequest,
        store: &EntityStore,
    ) -> Result<Mapped, NotAsked> {
        let mut reader = Reader {
            types: &self.types,
            unknown: 0,
        };
        let (subject, resource) = (&request.subject, &request.resource);
        let action = self
            .actions
            .get(&request.action.name)
            .ok_or_else(|| unknown(format!("the action `{}` is not known", request.action.name)))?;
        let (principal, subject_kind) = self.entity(Part::Subject, &subject.kind, &subject.id)?;
        let (object, resource_kind) = self.entity(Part::Resource, &resource.kind, &resource.id)?;
        action.applies_to(request, &principal, &object)?;

        let mut overlays = HashMap::new();
        for (part, uid, kind, properties) in [
            (Part::Subject, &principal, subject_kind, &subject.properties),
            (Part::Resource, &object, resource_kind, &resource.properties),
        ] {
            let stored = overlays.get(uid).or_else(|| store.row(uid));
            if let Some(row) = overlay(&mut reader, uid, kind, stored, properties)
                .map_err(|misfit| not_asked(&format!("{}.properties", part.word()), misfit))?
            {
                overlays.insert(uid.clone(), row);
            }
        }
        let context = action.context(&mut reader, &request.context, &request.action)?;
        Ok(Mapped {
            question: Question {
                principal,
                action: action.uid.clone(),
                resource: object,
                context,
                now: None,
                overlays,
            },
            unknown_attributes: reader.unknown,
        })
    }

    /// Tells a question when it is asked, where its context is to say so.
    pub(crate) fn tell_time(&self, question: &mut Question, now: UnixTime) {
        if let Some(name) = self.clock_of(&question.action)
            && let Some(value) = datetime(now)
            && let Context::Value(members) = &mut question.context
        {
            Arc::make_mut(members).insert(name.clone(), value);
            question.now = i64::try_from(now.as_millis()).ok();
        }
    }

    /// The member of an action's context that says when a question is asked.
    pub(crate) fn clock_of(&self, action: &EntityUID) -> Option<&SmolStr> {
        let (name, actions) = self.clock.as_ref()?;
        actions.contains(action).then_some(name)
    }

    /// The attributes that the schema requires and that neither question nor store has.
    pub(crate) fn missing(&self, question: &Question, store: &EntityStore) -> Vec<String> {
        [
            (Part::Subject, &question.principal),
            (Part::Resource, &question.resource),
        ]
        .into_iter()
        .filter_map(|(part, uid)| Some((part, uid, self.kinds.get(uid.entity_type())?)))
        .flat_map(|(part, uid, kind)| {
            let row = question.overlays.get(uid).or_else(|| store.row(uid));
            kind.members
                .iter()
                .filter(move |(name, member)| {
                    member.required && row.is_none_or(|row| row.get(name).is_none())
                })
                .map(move |(name, _)| format!("{}.properties.{name}", part.word()))
        })
        .collect()
    }

    fn entity(&self, part: Part, kind: &str, id: &str) -> Result<(EntityUID, &Kind), NotAsked> {
        let known = self
            .types
            .get(kind)
            .and_then(|entity_type| Some((entity_type, self.kinds.get(entity_type)?)));
        let Some((entity_type, kind_of)) = known else {
            let message = format!("the {} type `{kind}` is not known", part.word());
            return Err(unknown(message));
        };
        if kind_of.ids.as_ref().is_some_and(|ids| !ids.contains(id)) {
            let message = format!("the {} `{id}` of type `{kind}` is not known", part.word());
            return Err(unknown(message));
        }
        let uid = EntityUID::from_components(entity_type.clone(), Eid::new(id), None);
        Ok((uid, kind_of))
    }
}

impl ActionTerm {
    fn applies_to(
        &self,
        request: &EvaluationRequest,
        principal: &EntityUID,
        resource: &EntityUID,
    ) -> Result<(), NotAsked> {
        let refused = if !self.subjects.contains(principal.entity_type()) {
            ("subject", &request.subject.kind)
        } else if !self.resources.contains(resource.entity_type()) {
            ("resource", &request.resource.kind)
        } else {
            return Ok(());
        };
        Err(unknown(format!(
            "the action `{}` does not apply to the {} type `{}`",
            request.action.name, refused.0, refused.1
        )))
    }

    fn context(
        &self,
        reader: &mut Reader<'_>,
        context: &Properties,
        action: &Action,
    ) -> Result<Context, NotAsked> {
        let mut read = reader
            .complete(&self.context, context)
            .map_err(|misfit| not_asked("context", misfit))?;
        match &self.parameters {
            Some(parameters) if parameters.required || !action.properties.is_empty() => {
                let record = reader
                    .complete(&parameters.members, &action.properties)
                    .map_err(|misfit| not_asked("action.properties", misfit))?;
                read.insert("action".into(), Value::record(record, None));
            }
            Some(_) => {}
            None => reader.unknown += action.properties.len() as u64,
        }
        Ok(Context::Value(Arc::new(read)))
    }
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Resource => "resource",
        }
    }
}

/// The entity as this question describes it, where the question adds anything.
fn overlay(
    reader: &mut Reader<'_>,
    uid: &EntityUID,
    kind: &Kind,
    stored: Option<&Row>,
    properties: &Properties,
) -> Result<Option<Row>, Misfit> {
    if properties.is_empty() || kind.request_properties == RequestProperties::Ignore {
        return Ok(None);
    }
    let sent = reader.declared(&kind.members, properties)?;
    if sent.is_empty() {
        return Ok(None);
    }
    let mut attributes: BTreeMap<SmolStr, Value> = stored
        .into_iter()
        .flat_map(Row::attributes)
        .map(|(name, value)| (name.clone(), value.value()))
        .collect();
    for (name, value) in sent {
        match kind.request_properties {
            RequestProperties::Override => {
                attributes.insert(name, value);
            }
            // SECURITY: whoever asks must not be able to talk the store down.
            RequestProperties::Add | RequestProperties::Ignore => {
                attributes.entry(name).or_insert(value);
            }
        }
    }
    Ok(Some(Row::with_attributes(uid.clone(), stored, attributes)))
}

fn unknown(message: String) -> NotAsked {
    NotAsked::Deny {
        status: 404,
        message,
    }
}

fn not_asked(parent: &str, misfit: Misfit) -> NotAsked {
    match misfit {
        Misfit::Missing { path } => NotAsked::Deny {
            status: 422,
            message: format!("`{parent}.{path}` is missing"),
        },
        Misfit::Wrong { path, message, .. } => NotAsked::Unusable {
            field: format!("{parent}.{path}"),
            message,
        },
    }
}

/// The answer in AuthZEN's words. Obligations of every determining policy apply: two permits,
/// one of which masks, permit with the mask, since leaving a duty out is never the safe side.
pub(crate) fn evaluation(
    outcome: &Outcome<'_>,
    id: String,
    snapshot: SnapshotVersion,
    missing: &[String],
) -> Evaluation {
    let mut context = DecisionContext {
        id: Some(id),
        snapshot: Some(snapshot),
        ..DecisionContext::default()
    };
    for rule in &outcome.determining {
        context.reasons.push(rule.reason.clone());
        context.obligations.extend(rule.obligations.iter().cloned());
        context.advice.extend(rule.advice.iter().cloned());
    }
    if !outcome.permitted && !outcome.failures.is_empty() {
        let names: Vec<_> = outcome
            .failures
            .iter()
            .map(|(rule, _)| format!("`{}`", rule.reason.policy))
            .collect();
        let mut message = format!("could not be evaluated: {}", names.join(", "));
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|name| format!("`{name}`")).collect();
            message = format!("{message}; missing: {}", names.join(", "));
        }
        context.error = Some(json!({ "status": 500, "message": message }));
    }
    Evaluation {
        decision: if outcome.permitted {
            Decision::Permit
        } else {
            Decision::Deny
        },
        context,
    }
}

/// The answer to a question whose attributes cannot be had: for this once.
pub(crate) fn unavailable(
    error: &Unavailable,
    id: String,
    snapshot: SnapshotVersion,
) -> Evaluation {
    // SECURITY: which entity it is may be what only the store knows; the log names it.
    let message = format!("attributes cannot be had from `{}`", error.provider);
    let mut evaluation = unasked(503, &message, id, snapshot);
    evaluation.context.error = Some(json!({
        "status": 503,
        "message": message,
        "type": "attributes_unavailable",
        "provider": error.provider,
    }));
    evaluation.context.cache = Some(CacheAdvice {
        vary: None,
        max_age: Some(0),
    });
    evaluation
}

/// The answer to a question that no policy was asked about.
pub(crate) fn unasked(
    status: u16,
    message: &str,
    id: String,
    snapshot: SnapshotVersion,
) -> Evaluation {
    let mut evaluation = Evaluation::refused(message);
    evaluation.context.error = Some(json!({ "status": status, "message": message }));
    evaluation.context.id = Some(id);
    evaluation.context.snapshot = Some(snapshot);
    evaluation
}

#[cfg(test)]
mod tests;
