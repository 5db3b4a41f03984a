//! Values that are sent, read as the schema declares them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::RestrictedExpression;
use cedar_policy_core::ast::Value;
use cedar_policy_core::evaluator::RestrictedEvaluator;
use cedar_policy_core::extensions::Extensions;
use smallvec::SmallVec;
use smol_str::SmolStr;
use strict_json::{Json, Members as Sent};

use super::readable::Places;
use super::shape::{Members, Shape};
use super::vocabulary::{Kind, Known};
use crate::entities::{HashedType, Ids, Kept, WALKED};
use crate::short::short;

/// A value does not fit. Nearly every value does, so this is small where it is handed on.
#[derive(Debug)]
pub(super) struct Misfit(Box<Unfit>);

/// Why a value does not fit, with the path to it from where reading began.
#[derive(Debug)]
pub(super) enum Unfit {
    /// A declared attribute that is absent.
    Missing { path: String },
    /// A declared attribute of another type: what is wrong, and the same without what was sent.
    Wrong {
        path: String,
        message: String,
        discreet: String,
    },
}

/// Reads values, counting what the schema does not declare.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// By AuthZEN's names.
    pub(super) types: &'a Known<String, Arc<Kind>>,
    pub(super) unknown: u64,
}

impl Reader<'_> {
    /// Takes the declared members of an object, each with its place among those that are declared;
    /// the others are counted and left out. One that is not wanted must fit all the same, and comes without its
    /// value.
    pub(super) fn declared(
        &mut self,
        members: &Members,
        sent: &Sent<'_>,
        wanted: Places,
        mut take: impl FnMut(usize, Option<Kept>),
    ) -> Result<(), Misfit> {
        let mut before = None;
        for (name, json) in sent.iter().filter(|(_, json)| !json.is_null()) {
            let Some((at, member)) = members.find_after(before, name) else {
                self.unknown += 1;
                continue;
            };
            before = Some(at);
            let is_wanted = wanted.has(at);
            if !is_wanted && member.shape.is_certainly_met_by(json) {
                take(at, None);
                continue;
            }
            let kept = self.kept(&member.shape, json);
            let kept = kept.map_err(|misfit| misfit.under(name))?;
            take(at, is_wanted.then_some(kept));
        }
        Ok(())
    }

    /// The declared members of an object, where a required one must be there.
    pub(super) fn complete(
        &mut self,
        members: &Members,
        sent: &Sent<'_>,
    ) -> Result<BTreeMap<SmolStr, Value>, Misfit> {
        let mut read = BTreeMap::new();
        self.declared(members, sent, Places::ALL, |at, value| {
            if let (Some(name), Some(value)) = (members.names().get(at), value) {
                read.insert(name.clone(), value.value());
            }
        })?;
        match members
            .iter()
            .find(|(name, member)| member.required && !read.contains_key(name.as_str()))
        {
            Some((name, _)) => Err(Misfit(Box::new(Unfit::Missing {
                path: name.to_string(),
            }))),
            None => Ok(read),
        }
    }

    fn kept(&mut self, shape: &Shape, json: &Json<'_>) -> Result<Kept, Misfit> {
        match (shape, json) {
            (Shape::Bool, Json::Bool(value)) => Ok(Kept::Bool(*value)),
            (Shape::Long, Json::Number(number)) => {
                let whole = number.as_i64().map(Kept::Long);
                whole.ok_or_else(|| wrong_of("a whole number of 64 bits", json))
            }
            (Shape::String, Json::Text(text)) => Ok(Kept::Text(SmolStr::new(text))),
            (Shape::Set(element), Json::Array(items)) => {
                if let Shape::Entity(Some(kind)) = &**element
                    && let Some(ids) = ids(items)
                {
                    return Ok(Kept::Ids(Box::new(Ids::new(Arc::clone(kind), ids))));
                }
                let mut kept = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let one = self.kept(element, item);
                    kept.push(one.map_err(|misfit| misfit.under(&index.to_string()))?);
                }
                if kept.len() <= WALKED && kept.iter().all(Kept::is_plain) {
                    return Ok(Kept::Items(kept.into()));
                }
                Ok(Value::set(kept.iter().map(Kept::value), None).into())
            }
            (Shape::Record(members), Json::Object(object)) => {
                Ok(Value::record(self.complete(members, object)?, None).into())
            }
            (Shape::Entity(kind), json) => self.reference(kind.as_deref(), json),
            (Shape::Extension(name), Json::Text(text)) => extension(name, text).map(Kept::from),
            (shape, json) => Err(wrong_of(shape.in_words(), json)),
        }
    }

    /// An id where the schema knows the type, or `{type, id}`.
    fn reference(&self, kind: Option<&HashedType>, json: &Json<'_>) -> Result<Kept, Misfit> {
        let (kind, id) = match (kind, json) {
            (Some(kind), Json::Text(id)) => (kind, id),
            (expected, Json::Object(object)) => {
                let (Some(Json::Text(name)), Some(Json::Text(id))) =
                    (object.get("type"), object.get("id"))
                else {
                    return Err(wrong("it must have a `type` and an `id`, both strings"));
                };
                let named = self.types.get(&**name);
                let named = named.map(|kind| &kind.entity_type).ok_or_else(|| {
                    wrong(format!("the type `{}` is not known", short(name)))
                        .discreetly("its type is not known")
                })?;
                if expected.is_some_and(|expected| expected != named) {
                    let wanted = expected.map_or_else(String::new, |kind| kind.to_string());
                    let message =
                        format!("it must be of type `{wanted}`, and not `{}`", short(name));
                    return Err(wrong(message).discreetly("it is of another type"));
                }
                (named, id)
            }
            _ => return Err(wrong_of("an id or `{type, id}`", json)),
        };
        Ok(Kept::Entity(kind.uid(id)))
    }
}

/// What is sent of a small set of entities, where that is ids alone.
fn ids(items: &[Json<'_>]) -> Option<SmallVec<[SmolStr; 4]>> {
    if items.len() > WALKED {
        return None;
    }
    let id = |item: &Json<'_>| match item {
        Json::Text(id) => Some(SmolStr::new(id)),
        _ => None,
    };
    items.iter().map(id).collect()
}

impl Misfit {
    pub(super) fn why(self) -> Unfit {
        *self.0
    }

    fn under(mut self, name: &str) -> Self {
        let (Unfit::Missing { path } | Unfit::Wrong { path, .. }) = &mut *self.0;
        if !path.is_empty() {
            path.insert(0, '.');
        }
        path.insert_str(0, name);
        self
    }

    /// In other words for whoever must not be told what was sent.
    fn discreetly(mut self, words: impl Into<String>) -> Self {
        if let Unfit::Wrong { discreet, .. } = &mut *self.0 {
            *discreet = words.into();
        }
        self
    }
}

fn wrong(message: impl Into<String>) -> Misfit {
    let message = message.into();
    Misfit(Box::new(Unfit::Wrong {
        path: String::new(),
        discreet: message.clone(),
        message,
    }))
}

fn wrong_of(wanted: &str, json: &Json<'_>) -> Misfit {
    wrong(format!("it must be {wanted}, and {}", sent(json)))
        .discreetly(format!("it must be {wanted}"))
}

/// What was sent instead. A text, or what may hold one, is not repeated: it may be a secret.
pub(crate) fn sent(json: &Json<'_>) -> String {
    match json {
        Json::Null => "nothing was sent".to_owned(),
        Json::Bool(value) => format!("{value} was sent"),
        Json::Number(value) => format!("{value} was sent"),
        Json::Text(_) => "a string was sent".to_owned(),
        Json::Array(_) => "an array was sent".to_owned(),
        Json::Object(_) => "an object was sent".to_owned(),
    }
}

/// Whether a text is a value of an extension's type.
pub(crate) fn is_extension(name: &str, text: &str) -> bool {
    extension(name, text).is_ok()
}

fn extension(name: &str, text: &str) -> Result<Value, Misfit> {
    let expression = match name {
        "ipaddr" => RestrictedExpression::new_ip(text),
        "decimal" => RestrictedExpression::new_decimal(text),
        "datetime" => RestrictedExpression::new_datetime(text),
        "duration" => RestrictedExpression::new_duration(text),
        _ => return Err(wrong(format!("`{name}` values cannot be sent"))),
    };
    RestrictedEvaluator::new(Extensions::all_available())
        .interpret(expression.as_ref().as_borrowed())
        .map_err(|_| {
            wrong(format!("`{}` is no {name}", short(text))).discreetly(format!("it is no {name}"))
        })
}
