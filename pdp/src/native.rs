//! Questions in Cedar's own words, as JSON: whole ones, and ones with a side left open.

use std::sync::Arc;

use authzen::{Action, EvaluationRequest, Properties, Resource, Subject};
use cedar_policy::{Context, Entity, EntityUid, Request, Schema};
use cedar_policy_core::ast::{self, EntityType, EntityUID, Var};
use serde_json::Value;
use service_kit::UnixTime;
use strict_json::{Arena, Json};

use crate::cedar_json::{self, Misfit};
use crate::config::InlineEntities;
use crate::engine::Question;
use crate::entities::{EntityStore, Origin, Overlays, Row, id};
use crate::mapping::{Vocabulary, sent};
use crate::short::cut;
use service_kit::error::chain;

/// The most characters of what Cedar says: it repeats what was sent.
const MESSAGE: usize = 1000;

/// Why a question cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NativeError {
    #[error("`{field}`: {message}")]
    Unusable { field: String, message: String },
    #[error("this decision point takes no entities with a question (`pdp.inline_entities`)")]
    InlineDenied,
}

/// A whole question, and how the log shows it.
#[derive(Debug)]
pub(crate) struct Whole<'b> {
    pub(crate) question: Question,
    pub(crate) shown: EvaluationRequest,
    /// Entities that it brings along, for the log.
    pub(crate) brought: &'b [Value],
}

/// A question one side of which is a type.
#[derive(Debug)]
pub(crate) struct Partly {
    /// The open side's id means nothing.
    pub(crate) question: Question,
    pub(crate) shown: EvaluationRequest,
    pub(crate) part: Var,
    pub(crate) kind: EntityType,
    pub(crate) context_is_known: bool,
}

/// What questions are read against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) vocabulary: &'a Vocabulary,
    /// When it is asked.
    pub(crate) now: UnixTime,
    pub(crate) store: &'a EntityStore,
    pub(crate) inline: InlineEntities,
    /// Who asks may be told what is stored.
    pub(crate) may_read: bool,
}

impl<'b> Whole<'b> {
    /// Reads `{principal, action, resource, context?, entities?}`.
    pub(crate) fn read(body: &'b Properties, ground: Ground<'_>) -> Result<Self, NativeError> {
        let uid = |name: &str| uid(name, member(body, name)?);
        let (principal, action, resource) = (uid("principal")?, uid("action")?, uid("resource")?);
        let (question, shown) = question(body, [principal, action, resource], ground)?;
        Ok(Self {
            question,
            shown,
            brought: brought(body),
        })
    }
}

impl Partly {
    /// The same, with `{"type": …}` alone as principal or resource.
    pub(crate) fn read(body: &Properties, ground: Ground<'_>) -> Result<Self, NativeError> {
        let (principal, resource) = (member(body, "principal")?, member(body, "resource")?);
        let (part, open, given) = match (open(principal), open(resource)) {
            (Some(kind), None) => (Var::Principal, kind, uid("resource", resource)?),
            (None, Some(kind)) => (Var::Resource, kind, uid("principal", principal)?),
            (Some(_), Some(_)) => {
                return Err(unusable(
                    "resource",
                    "principal and resource cannot both be open",
                ));
            }
            (None, None) => {
                return Err(unusable(
                    "resource",
                    "leave the `id` of principal or resource out",
                ));
            }
        };
        let name = if part == Var::Principal {
            "principal"
        } else {
            "resource"
        };
        let any: EntityUid = EntityUid::from_json(serde_json::json!({ "type": open, "id": "" }))
            .map_err(|error| unusable(name, error.to_string()))?;
        let kind = AsRef::<EntityUID>::as_ref(&any).entity_type().clone();
        let action = uid("action", member(body, "action")?)?;
        let (principal, resource) = match part {
            Var::Principal => (any, given),
            _ => (given, any),
        };
        let (question, shown) = question(body, [principal, action, resource], ground)?;
        Ok(Self {
            question,
            shown,
            part,
            kind,
            context_is_known: body
                .get("context")
                .is_some_and(|context| !context.is_null()),
        })
    }
}

fn question(
    body: &Properties,
    [principal, action, resource]: [EntityUid; 3],
    ground: Ground<'_>,
) -> Result<(Question, EvaluationRequest), NativeError> {
    let mut context = match body.get("context") {
        None | Some(Value::Null) => Value::Object(Properties::new()),
        Some(given) => given.clone(),
    };
    let is_known = body
        .get("context")
        .is_some_and(|context| !context.is_null())
        || !is_open(body);
    let read = if is_known {
        let clock = ground.vocabulary.clock_of(action.as_ref());
        if let (Some(clock), Some(members)) = (clock, context.as_object_mut()) {
            members.insert(clock.to_string(), ground.now.rfc3339().into());
        }
        self::context(&context, &action, ground.schema)?
    } else {
        // Not known, which is not the same as empty.
        Context::empty()
    };
    let schema = (!is_open(body)).then_some(ground.schema);
    let request = Request::new(principal, action, resource, read, schema)
        .map_err(|error| unusable("request", chain(&error)))?;
    let request: &ast::Request = request.as_ref();
    let side = |entry: &ast::EntityUIDEntry| entry.uid().cloned();
    let (Some(principal), Some(action), Some(resource), Some(context)) = (
        side(request.principal()),
        side(request.action()),
        side(request.resource()),
        request.context().cloned(),
    ) else {
        return Err(unusable("request", "it is not known whole"));
    };
    let shown = shown(body, &principal, &action, &resource);
    let mut question = Question {
        principal: principal.into(),
        action: action.into(),
        resource: resource.into(),
        context,
        now: None,
        overlays: overlays(body, ground)?,
    };
    if is_known {
        ground.vocabulary.tell_time(&mut question, ground.now);
    }
    Ok((question, shown))
}

/// Reads a context and holds it against the schema, which a question with an open side does not.
fn context(given: &Value, action: &EntityUid, schema: &Schema) -> Result<Context, NativeError> {
    let read = Context::from_json_value(given.clone(), Some((schema, action)));
    let read = read.map_err(|error| chain(&error)).and_then(|read| {
        let held = read.validate(schema, action);
        held.map(|()| read).map_err(|error| chain(&error))
    });
    read.map_err(
        |message| match cedar_json::in_context(schema, action.as_ref(), given) {
            Some(Misfit { path, message }) => unusable(&path, message),
            None => unusable("context", cut(&message, MESSAGE)),
        },
    )
}

fn is_open(body: &Properties) -> bool {
    ["principal", "resource"]
        .into_iter()
        .any(|name| body.get(name).and_then(open).is_some())
}

/// The entities that a question brings along, as they are written.
pub(crate) fn brought(body: &Properties) -> &[Value] {
    match body.get("entities") {
        Some(Value::Array(items)) => items,
        _ => &[],
    }
}

/// The same, to be looked at by policies.
fn overlays(body: &Properties, ground: Ground<'_>) -> Result<Overlays, NativeError> {
    let items = match body.get("entities") {
        None | Some(Value::Null) => return Ok(Overlays::default()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(unusable("entities", "must be an array")),
    };
    if ground.inline == InlineEntities::Deny {
        return Err(NativeError::InlineDenied);
    }
    let (mut all, mut overlays) = (Overlays::default(), Overlays::default());
    for (at, item) in items.iter().enumerate() {
        let field = format!("entities[{at}]");
        let entity = Entity::from_json_value(item.clone(), Some(ground.schema));
        let entity =
            entity.map_err(
                |error| match cedar_json::in_entity(ground.schema, item, &field) {
                    Some(Misfit { path, message }) => unusable(&path, message),
                    None => unusable(&field, cut(&chain(&error), MESSAGE)),
                },
            )?;
        let row = Row::new(entity.as_ref(), Origin::Written);
        let uid = row.uid();
        // SECURITY: of such a type, only the store is believed, whoever asks in whatever words.
        if ground.vocabulary.ignores_requests(uid.entity_type()) {
            let message = format!(
                "only the store says what a `{}` is (`request_properties: ignore`)",
                uid.entity_type()
            );
            return Err(unusable(&field, message));
        }
        // SECURITY: whoever asks must not be able to talk the store down; nor be told what it holds, where
        // the right to read it is missing. The store wins then, and nothing else is different.
        let is_stored = ground.inline == InlineEntities::Add && ground.store.row(uid).is_some();
        if is_stored && ground.may_read {
            return Err(unusable(&field, format!("the store holds `{uid}` already")));
        }
        let row = Arc::new(row);
        if all.insert(Arc::clone(&row)) {
            return Err(unusable(&field, "it is there twice"));
        }
        if !is_stored {
            overlays.insert(row);
        }
    }
    let (nothing, store) = (EntityStore::default(), ground.store);
    let alone = nothing.view(&all).circle();
    if let Some(uid) = alone.or_else(|| store.view(&overlays).circle()) {
        return Err(unusable("entities", format!("`{uid}` would be in itself")));
    }
    Ok(overlays)
}

/// The question in AuthZEN's words, for the log.
fn shown(
    body: &Properties,
    principal: &EntityUID,
    action: &EntityUID,
    resource: &EntityUID,
) -> EvaluationRequest {
    let kind = |uid: &EntityUID| uid.entity_type().to_string();
    EvaluationRequest {
        subject: Subject::new(kind(principal), id(principal)),
        action: Action::new(action.to_string()),
        resource: Resource::new(kind(resource), id(resource)),
        context: match body.get("context") {
            Some(Value::Object(context)) => context.clone(),
            _ => Properties::new(),
        },
    }
}

fn member<'a>(body: &'a Properties, name: &str) -> Result<&'a Value, NativeError> {
    match body.get(name) {
        None | Some(Value::Null) => Err(unusable(name, "is missing")),
        Some(value) => Ok(value),
    }
}

/// `{"type": …, "id": …}` or Cedar's `Type::"id"`.
fn uid(name: &str, value: &Value) -> Result<EntityUid, NativeError> {
    match value {
        Value::String(text) => text
            .parse()
            .map_err(|error: cedar_policy::ParseErrors| unusable(name, chain(&error))),
        other => EntityUid::from_json(other.clone()).map_err(|_| {
            let message = "it must be `{\"type\": …, \"id\": …}`, or as Cedar writes it";
            let sent = sent(&Json::lent(other, &Arena::new()));
            unusable(name, format!("{message} (`User::\"alice\"`), and {sent}"))
        }),
    }
}

/// The type of a side that is left open.
fn open(value: &Value) -> Option<&str> {
    let members = value.as_object()?;
    let is_open = !members.contains_key("id") && !members.contains_key("__entity");
    members
        .get("type")
        .and_then(Value::as_str)
        .filter(|_| is_open)
}

fn unusable(field: &str, message: impl Into<String>) -> NativeError {
    NativeError::Unusable {
        field: field.to_owned(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
