//! The one place that knows both AuthZEN's words and Cedar's: questions in.
//!
//! What the schema does not know is left out and counted, since no validated policy can read it.
//! An unknown type, action or entity is a question with the answer no. A known attribute of the
//! wrong type is no question at all.

mod before;
mod contract;
mod declared;
mod provided;
mod readable;
mod reader;
mod search;
mod shape;
mod vocabulary;

use std::collections::BTreeMap;
use std::sync::Arc;

use authzen::{Asked, AskedAction, AskedEntity};
use cedar_policy_core::ast::{Context, EntityUID, Value};
use service_kit::UnixTime;
use smol_str::SmolStr;
use strict_json::Members as Sent;

pub(crate) use before::Before;
pub(crate) use contract::{KindNumbers, KindTerms, Matter, QuestionKind, When};
pub(crate) use readable::{Places, Readable};
pub(crate) use reader::{is_extension, sent};
pub(crate) use search::Sought;
pub(crate) use shape::{Alike, Member, Members, Shape};
pub(crate) use vocabulary::Vocabulary;

use crate::RequestProperties;
use crate::engine::{KindPlace, Question};
use crate::entities::{EntityStore, Kept, Overlays, Row, Uid};
use crate::now::datetime;
use crate::short::short;
use before::{KnownEntity, KnownRest};
use reader::{Misfit, Reader, Unfit};
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
    /// Which kind it is, where it is one that policies know.
    pub(crate) kind: Option<KindPlace>,
    pub(crate) unknown_attributes: u64,
}

/// Which part of the question an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Subject,
    Resource,
}

impl Vocabulary {
    /// Puts a question into Cedar's words. What the question before it was given from the very same
    /// part of a body is not read again. `of_kind` says which kind of question it is, and what policies can
    /// read of it.
    pub(crate) fn question<'s, 'a>(
        &'s self,
        asked: &Asked<'a>,
        store: &EntityStore,
        before: &mut Before<'s, 'a>,
        of_kind: impl FnOnce(KindNumbers) -> (Option<KindPlace>, Readable),
    ) -> Result<Mapped, NotAsked> {
        let name = asked.action.name;
        let action = self
            .actions
            .get(name)
            .ok_or_else(|| unknown(format!("the action `{}` is not known", short(name))))?;
        let subject = match before.subject(&asked.subject) {
            Some(known) => known,
            None => self.named(Part::Subject, asked.subject)?,
        };
        let resource = match before.resource(&asked.resource) {
            Some(known) => known,
            None => self.named(Part::Resource, asked.resource)?,
        };
        action.applies_to(asked, subject.kind, resource.kind)?;
        let (kind, readable) = of_kind([subject.kind.number, action.number, resource.kind.number]);
        let subject = self.described(Part::Subject, subject, store, None, readable.subject)?;
        // What the question says of the subject holds for the resource, where they are one.
        let itself = subject
            .row
            .as_ref()
            .filter(|row| *row.uid() == resource.uid);
        let resource =
            self.described(Part::Resource, resource, store, itself, readable.resource)?;
        let rest = match before.rest(asked) {
            Some(known) => known,
            None => self.rest(action, asked)?,
        };
        let mut overlays = Overlays::default();
        for row in [&subject.row, &resource.row].into_iter().flatten() {
            overlays.describe(Arc::clone(row));
        }
        let unknown_attributes = subject.unknown + resource.unknown + rest.unknown;
        let question = Question {
            principal: subject.uid.clone(),
            action: action.uid.clone(),
            resource: resource.uid.clone(),
            context: rest.context.clone(),
            now: None,
            overlays,
        };
        before.keep(subject, resource, rest);
        Ok(Mapped {
            question,
            kind,
            unknown_attributes,
        })
    }

    /// An entity's name in Cedar's words.
    fn named<'s, 'a>(
        &'s self,
        part: Part,
        asked: AskedEntity<'a>,
    ) -> Result<KnownEntity<'s, 'a>, NotAsked> {
        let (uid, kind) = self.entity(part, asked.kind, asked.id)?;
        Ok(KnownEntity {
            asked,
            uid,
            kind,
            described: None,
            row: None,
            unknown: 0,
        })
    }

    /// The same with what the question says of it. `before` is what it has said already.
    fn described<'s, 'a>(
        &'s self,
        part: Part,
        mut entity: KnownEntity<'s, 'a>,
        store: &EntityStore,
        before: Option<&Arc<Row>>,
        readable: Places,
    ) -> Result<KnownEntity<'s, 'a>, NotAsked> {
        let described = entity.described.unwrap_or_default();
        let readable = described.joined(readable);
        if entity.described == Some(readable) && before.is_none() {
            return Ok(entity);
        }
        let mut reader = self.reader();
        let stored = || store.row_of_type(&entity.kind.entity_type, entity.uid.named());
        let stored = before.map(|row| &**row).or_else(stored);
        let properties = entity.asked.properties;
        let row = overlay(
            &mut reader,
            &entity.uid,
            entity.kind,
            stored,
            properties,
            readable,
        )
        .map_err(|misfit| not_asked(&format!("{}.properties", part.word()), misfit))?;
        entity.row = row.map(Arc::new).or_else(|| before.cloned());
        entity.unknown = reader.unknown;
        entity.described = before.is_none().then_some(readable);
        Ok(entity)
    }

    /// The context, with the action's parameters in it.
    fn rest<'a>(&self, action: &ActionTerm, asked: &Asked<'a>) -> Result<KnownRest<'a>, NotAsked> {
        let mut reader = self.reader();
        let is_empty = asked.context.is_empty() && asked.action.properties.is_empty();
        let context = match &action.empty {
            Some(empty) if is_empty => empty.clone(),
            _ => action.context(&mut reader, asked.context, &asked.action)?,
        };
        Ok(KnownRest {
            action: asked.action,
            sent: asked.context,
            context,
            unknown: reader.unknown,
        })
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            types: &self.types,
            unknown: 0,
        }
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

    /// The attributes that the schema requires and policies can read, and that neither question nor store
    /// has.
    pub(crate) fn missing(
        &self,
        question: &Question,
        store: &EntityStore,
        readable: Readable,
    ) -> Vec<String> {
        [
            (Part::Subject, &question.principal, readable.subject),
            (Part::Resource, &question.resource, readable.resource),
        ]
        .into_iter()
        .filter_map(|(part, uid, of)| Some((part, uid, of, self.kinds.get(uid.entity_type())?)))
        .flat_map(|(part, uid, readable, kind)| {
            let row = question.overlays.get(uid).or_else(|| store.row(uid));
            let members = kind.members.iter().enumerate();
            members
                .filter(move |(at, (name, member))| {
                    let is_there = || row.is_some_and(|row| row.get(name).is_some());
                    member.required && readable.has(*at) && !is_there()
                })
                .map(move |(_, (name, _))| format!("{}.properties.{name}", part.word()))
        })
        .collect()
    }

    fn entity(&self, part: Part, kind: &str, id: &str) -> Result<(Uid, &Kind), NotAsked> {
        let Some(kind_of) = self.types.get(kind) else {
            let message = format!("the {} type `{}` is not known", part.word(), short(kind));
            return Err(unknown(message));
        };
        if kind_of.ids.as_ref().is_some_and(|ids| !ids.contains(id)) {
            let (word, id) = (part.word(), short(id));
            let message = format!("the {word} `{id}` of type `{kind}` is not known");
            return Err(unknown(message));
        }
        Ok((kind_of.entity_type.uid(id), kind_of))
    }
}

impl ActionTerm {
    fn applies_to(
        &self,
        asked: &Asked<'_>,
        subject: &Kind,
        resource: &Kind,
    ) -> Result<(), NotAsked> {
        let refused = if !self.takes_subject(subject) {
            ("subject", asked.subject.kind)
        } else if !self.takes_resource(resource) {
            ("resource", asked.resource.kind)
        } else {
            return Ok(());
        };
        Err(unknown(format!(
            "the action `{}` does not apply to the {} type `{}`",
            asked.action.name, refused.0, refused.1
        )))
    }

    fn context(
        &self,
        reader: &mut Reader<'_>,
        sent: &Sent<'_>,
        action: &AskedAction<'_>,
    ) -> Result<Context, NotAsked> {
        let mut read = reader
            .complete(&self.context, sent)
            .map_err(|misfit| not_asked("context", misfit))?;
        match &self.parameters {
            Some(parameters) if parameters.required || !action.properties.is_empty() => {
                let record = reader
                    .complete(&parameters.members, action.properties)
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

/// The entity as this question describes it, where the question adds anything. Of what cannot be read it
/// is looked whether it fits, and no more.
fn overlay(
    reader: &mut Reader<'_>,
    uid: &Uid,
    kind: &Kind,
    stored: Option<&Row>,
    properties: &Sent<'_>,
    readable: Places,
) -> Result<Option<Row>, Misfit> {
    if properties.is_empty() || kind.request_properties == RequestProperties::Ignore {
        return Ok(None);
    }
    // By their places among those that are declared, which is the order of their names.
    let mut values = Vec::with_capacity(kind.names.len());
    values.resize_with(kind.names.len(), || None);
    let (mut is_described, mut is_read) = (false, false);
    reader.declared(&kind.members, properties, readable, |at, value| {
        is_described = true;
        if let Some(place) = values.get_mut(at) {
            is_read |= value.is_some();
            *place = value;
        }
    })?;
    Ok(match stored {
        // There is such an entity: the question says something of it.
        None if is_described => {
            let names = Arc::clone(&kind.names);
            let row = Row::with_values(uid.clone(), None, names, values.into());
            Some(row)
        }
        Some(stored) if is_read => {
            let said = kind.names.iter().zip(values);
            let said = said.filter_map(|(name, value)| Some((name, value?)));
            Some(laid_over(uid, kind, stored, said))
        }
        _ => None,
    })
}

/// What is stored, and what the question may add to it.
fn laid_over<'n>(
    uid: &Uid,
    kind: &Kind,
    stored: &'n Row,
    sent: impl IntoIterator<Item = (&'n SmolStr, Kept)>,
) -> Row {
    let known = stored.attributes();
    let mut attributes: BTreeMap<&SmolStr, Kept> =
        known.map(|(name, value)| (name, value.clone())).collect();
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
    let names = attributes.keys().map(|name| (*name).clone()).collect();
    let values = attributes.into_values().map(Some).collect();
    Row::with_values(uid.clone(), Some(stored), names, values)
}

fn unknown(message: String) -> NotAsked {
    NotAsked::Deny {
        status: 404,
        message,
    }
}

fn not_asked(parent: &str, misfit: Misfit) -> NotAsked {
    match misfit.why() {
        Unfit::Missing { path } => NotAsked::Deny {
            status: 422,
            message: format!("`{parent}.{path}` is missing"),
        },
        Unfit::Wrong { path, message, .. } => NotAsked::Unusable {
            field: format!("{parent}.{path}"),
            message,
        },
    }
}

#[cfg(test)]
mod tests;
