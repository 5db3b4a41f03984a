//! What does not fit the schema in Cedar's JSON format, in words for whoever sent it: which member, what
//! is expected there and what was sent. Never a text that was sent: it may be a secret.
//!
//! Looked for where Cedar has refused something, whose own words name its parser's types.

use cedar_policy::Schema;
use cedar_policy_core::ast::{EntityType, EntityUID};
use cedar_policy_core::validator::ValidatorEntityType;
use serde_json::{Map, Value};
use strict_json::{Arena, Json};

use crate::mapping::{Alike, Members, Shape, is_extension, sent};
use crate::short::short;

/// One thing that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// As in `entities[3].attrs.name`.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// What does not fit in a context. None: nothing that is seen here.
pub(crate) fn in_context(schema: &Schema, action: &EntityUID, context: &Value) -> Option<Misfit> {
    let action = schema.as_ref().get_action_id(action)?;
    fits(
        &Shape::of(action.context()?, &mut Alike::default()),
        context,
        "context",
    )
    .err()
}

/// The same in an entity, which stands at a path.
pub(crate) fn in_entity(schema: &Schema, entity: &Value, path: &str) -> Option<Misfit> {
    entity_fits(schema, entity, path).err()
}

fn entity_fits(schema: &Schema, entity: &Value, path: &str) -> Result<(), Misfit> {
    let Value::Object(entity) = entity else {
        return Err(wrong(path, "an object", entity));
    };
    let at = |name: &str| format!("{path}.{name}");
    let member = |name: &str| {
        let value = entity.get(name);
        value.ok_or_else(|| misfit(&at(name), "is missing"))
    };
    let kind = known(schema, reference(member("uid")?, &at("uid"))?, &at("uid"))?;
    let declared = schema.as_ref().get_entity_type(&kind);
    let attributes = declared.map(|kind| Members::of(kind.attributes(), &mut Alike::default()));
    let attrs = object(member("attrs")?, &at("attrs"))?;
    if let Some(declared) = &attributes {
        members_fit(declared, attrs, &at("attrs"))?;
    }
    let parents = member("parents")?;
    let Value::Array(items) = parents else {
        return Err(wrong(&at("parents"), "an array", parents));
    };
    for (index, parent) in items.iter().enumerate() {
        let path = format!("{path}.parents[{index}]");
        let above = known(schema, reference(parent, &path)?, &path)?;
        let group = schema.as_ref().get_entity_type(&above);
        if declared.is_some() && group.is_some_and(|group| !group.descendants.contains(&kind)) {
            let message =
                format!("a `{kind}` cannot be in a `{above}`: the schema does not say so");
            return Err(misfit(&path, message));
        }
    }
    match (entity.get("tags"), declared) {
        (Some(tags), Some(declared)) => tags_fit(declared, object(tags, &at("tags"))?, &at("tags")),
        _ => Ok(()),
    }
}

fn tags_fit(
    declared: &ValidatorEntityType,
    tags: &Map<String, Value>,
    path: &str,
) -> Result<(), Misfit> {
    let Some(shape) = declared
        .tag_type()
        .map(|kind| Shape::of(kind, &mut Alike::default()))
    else {
        if tags.is_empty() {
            return Ok(());
        }
        let message = format!("the schema declares no tags of a `{}`", declared.name());
        return Err(misfit(path, message));
    };
    let mut tags = tags.iter();
    tags.try_for_each(|(name, tag)| fits(&shape, tag, &below(path, name)))
}

fn members_fit(declared: &Members, given: &Map<String, Value>, path: &str) -> Result<(), Misfit> {
    for (name, value) in given {
        let path = below(path, name);
        let Some(member) = declared.get(name) else {
            return Err(misfit(&path, "the schema does not declare it"));
        };
        fits(&member.shape, value, &path)?;
    }
    let missing = declared
        .iter()
        .find(|(name, member)| member.required && !given.contains_key(name.as_str()));
    match missing {
        Some((name, _)) => Err(misfit(&below(path, name), "is missing")),
        None => Ok(()),
    }
}

fn fits(shape: &Shape, value: &Value, path: &str) -> Result<(), Misfit> {
    match (shape, value) {
        // An object may call the extension's function, which is Cedar's to read.
        (Shape::Bool, Value::Bool(_))
        | (Shape::String, Value::String(_))
        | (Shape::Extension(_), Value::Object(_)) => Ok(()),
        (Shape::Long, Value::Number(number)) if number.is_i64() => Ok(()),
        (Shape::Long, Value::Number(_)) => Err(wrong(path, "a whole number of 64 bits", value)),
        (Shape::Set(element), Value::Array(items)) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| fits(element, item, &format!("{path}[{index}]")))
        }
        (Shape::Record(declared), Value::Object(given)) => members_fit(declared, given, path),
        (Shape::Entity(wanted), value) => {
            let kind = reference(value, path)?;
            match wanted {
                Some(wanted) if wanted.to_string() != kind => {
                    let message = format!(
                        "it must be of type `{}`, and not `{}`",
                        ***wanted,
                        short(kind)
                    );
                    Err(misfit(path, message))
                }
                _ => Ok(()),
            }
        }
        (Shape::Extension(name), Value::String(text)) if is_extension(name, text) => Ok(()),
        (Shape::Extension(name), Value::String(_)) => Err(misfit(path, format!("it is no {name}"))),
        (shape, value) => Err(wrong(path, shape.in_words(), value)),
    }
}

/// The type that a reference names: `{"type": …, "id": …}`, alone or as `__entity`.
fn reference<'v>(value: &'v Value, path: &str) -> Result<&'v str, Misfit> {
    let named = match value.as_object() {
        Some(members) if members.len() == 1 => members.get("__entity").unwrap_or(value),
        _ => value,
    };
    match (named.get("type"), named.get("id")) {
        (Some(Value::String(kind)), Some(Value::String(_))) => Ok(kind),
        _ if named.is_object() => Err(misfit(
            path,
            "it must have a `type` and an `id`, both strings",
        )),
        _ => Err(wrong(path, "`{\"type\": …, \"id\": …}`", named)),
    }
}

fn known(schema: &Schema, name: &str, path: &str) -> Result<EntityType, Misfit> {
    let kind: Option<EntityType> = name.parse().ok();
    kind.filter(|kind| kind.is_action() || schema.as_ref().get_entity_type(kind).is_some())
        .ok_or_else(|| misfit(path, format!("the type `{}` is not known", short(name))))
}

fn object<'v>(value: &'v Value, path: &str) -> Result<&'v Map<String, Value>, Misfit> {
    let members = value.as_object();
    members.ok_or_else(|| wrong(path, "an object", value))
}

fn below(path: &str, name: &str) -> String {
    format!("{path}.{}", short(name))
}

fn wrong(path: &str, wanted: &str, value: &Value) -> Misfit {
    let sent = sent(&Json::lent(value, &Arena::new()));
    misfit(path, format!("it must be {wanted}, and {sent}"))
}

fn misfit(path: &str, message: impl Into<String>) -> Misfit {
    Misfit {
        path: path.to_owned(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"
entity Team in [Team];
entity User in [Team] {
  name: String, age?: Long, boss?: User, nets?: Set<ipaddr>, at?: datetime, address?: { city: String, zip?: String }
} tags Set<Long>;
entity Color enum ["red"];
action see appliesTo { principal: User, resource: Team, context: { a: { b: Long }, by?: User, all?: Set<Bool> } };
"#;

    fn schema() -> Schema {
        Schema::from_cedarschema_str(SCHEMA).unwrap().0
    }

    fn said(found: Option<Misfit>) -> String {
        found.map_or_else(String::new, |found| {
            format!("{}: {}", found.path, found.message)
        })
    }

    #[test]
    fn a_context_that_does_not_fit_is_told_where_and_why() {
        let (schema, action) = (schema(), r#"Action::"see""#.parse().unwrap());
        for (context, says) in [
            (json!({ "a": { "b": 1 } }), ""),
            (
                json!({ "a": { "b": 1 }, "by": { "type": "User", "id": "x" }, "all": [true] }),
                "",
            ),
            (
                json!({ "a": { "b": 1 }, "by": { "__entity": { "type": "User", "id": "x" } } }),
                "",
            ),
            (
                json!([]),
                "context: it must be an object, and an array was sent",
            ),
            (json!({}), "context.a: is missing"),
            (
                json!({ "a": { "b": "s3cret" } }),
                "context.a.b: it must be a whole number, and a string was sent",
            ),
            (
                json!({ "a": { "b": 1.5 } }),
                "context.a.b: it must be a whole number of 64 bits, and 1.5 was sent",
            ),
            (
                json!({ "a": { "b": null } }),
                "context.a.b: it must be a whole number, and nothing was sent",
            ),
            (
                json!({ "a": { "b": 1, "c": 2 } }),
                "context.a.c: the schema does not declare it",
            ),
            (
                json!({ "a": { "b": 1 }, "all": [true, 1] }),
                "context.all[1]: it must be a boolean, and 1 was sent",
            ),
            (
                json!({ "a": { "b": 1 }, "by": "x" }),
                "context.by: it must be `{\"type\": …, \"id\": …}`, and a string was sent",
            ),
            (
                json!({ "a": { "b": 1 }, "by": { "type": "User" } }),
                "context.by: it must have a `type` and an `id`, both strings",
            ),
            (
                json!({ "a": { "b": 1 }, "by": { "type": "Team", "id": "x" } }),
                "context.by: it must be of type `User`, and not `Team`",
            ),
        ] {
            assert_eq!(
                said(in_context(&schema, &action, &context)),
                says,
                "{context}"
            );
        }
    }

    fn entity(change: impl Fn(&mut Value)) -> String {
        let mut entity = json!({ "uid": { "type": "User", "id": "x" }, "attrs": { "name": "x" }, "parents": [] });
        change(&mut entity);
        said(in_entity(&schema(), &entity, "entities[3]"))
    }

    #[test]
    fn an_entity_that_does_not_fit_is_told_where_and_why() {
        assert_eq!(entity(|_| {}), "");
        for (path, value, says) in [
            ("/attrs/name", "7", "it must be a string, and 7 was sent"),
            (
                "/attrs/name",
                "[\"s3cret\"]",
                "it must be a string, and an array was sent",
            ),
            ("/attrs/unheard", "1", "the schema does not declare it"),
            (
                "/attrs/address",
                "{\"city\":null}",
                "it must be a string, and nothing was sent",
            ),
            ("/attrs/nets", "[\"::1\",\"s3cret\"]", "it is no ipaddr"),
            ("/attrs/at", "12", "it must be a string, and 12 was sent"),
            (
                "/attrs",
                "[]",
                "it must be an object, and an array was sent",
            ),
            ("/uid/type", "\"Usher\"", "the type `Usher` is not known"),
            (
                "/parents",
                "null",
                "it must be an array, and nothing was sent",
            ),
            (
                "/tags",
                "{\"t\":[1,\"2\"]}",
                "it must be a whole number, and a string was sent",
            ),
        ] {
            let (above, name) = path.rsplit_once('/').unwrap();
            let value: Value = serde_json::from_str(value).unwrap();
            let said = entity(|entity| entity.pointer_mut(above).unwrap()[name] = value.clone());
            let (place, why) = said.split_once(": ").unwrap();
            let expected = match path {
                "/attrs/address" => "entities[3].attrs.address.city".to_owned(),
                "/attrs/nets" => "entities[3].attrs.nets[1]".to_owned(),
                "/tags" => "entities[3].tags.t[1]".to_owned(),
                "/uid/type" => "entities[3].uid".to_owned(),
                path => format!("entities[3]{}", path.replace('/', ".")),
            };
            assert_eq!((place, why), (expected.as_str(), says));
        }
    }

    #[test]
    fn what_names_an_entity_is_told_like_its_attributes() {
        for name in ["uid", "attrs", "parents"] {
            let without = entity(|entity| {
                entity.as_object_mut().unwrap().remove(name);
            });
            assert_eq!(without, format!("entities[3].{name}: is missing"));
        }
        let named = entity(|entity| entity["uid"] = json!("x"));
        assert_eq!(
            named,
            "entities[3].uid: it must be `{\"type\": …, \"id\": …}`, and a string was sent"
        );
        let within = entity(|entity| entity["parents"] = json!([{ "type": "User", "id": "y" }]));
        assert_eq!(
            within,
            "entities[3].parents[0]: a `User` cannot be in a `User`: the schema does not say so"
        );
        let tags = entity(|entity| {
            entity["uid"]["type"] = "Team".into();
            entity["attrs"] = json!({});
            entity["tags"] = json!({ "t": 1 });
        });
        assert_eq!(
            tags,
            "entities[3].tags: the schema declares no tags of a `Team`"
        );
        let no_entity = in_entity(&schema(), &json!(7), "upsert[0]");
        assert_eq!(
            said(no_entity),
            "upsert[0]: it must be an object, and 7 was sent"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = select(vec![
            json!(null),
            json!(true),
            json!(1),
            json!(1.5),
            json!(u64::MAX),
            json!("x"),
            json!("10.0.0.1"),
            json!({ "type": "User", "id": "x" }),
            json!({ "__entity": { "type": "User", "id": "x" } }),
            json!({ "__extn": { "fn": "ip", "arg": "::1" } }),
            json!({ "type": "User" }),
        ]);
        leaf.prop_recursive(2, 8, 3, |inner| {
            let name = select(vec![
                "name", "age", "boss", "nets", "at", "address", "city", "zip", "odd",
            ]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..4).prop_map(|members| members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_cedar_takes_has_no_misfit_and_what_it_refuses_is_told_without_its_types(attrs in value()) {
            let schema = schema();
            let entity = json!({ "uid": { "type": "User", "id": "x" }, "attrs": attrs, "parents": [] });
            let read = cedar_policy::Entity::from_json_value(entity.clone(), Some(&schema));
            let found = in_entity(&schema, &entity, "entity");
            match read {
                Ok(_) => prop_assert_eq!(found, None, "{}", entity),
                // What a call of an extension's function gives is Cedar's to say.
                Err(_) if entity.to_string().contains("__extn") || entity.to_string().contains("type") => {}
                Err(error) => prop_assert!(found.is_some(), "{entity}: {}", service_kit::error::chain(&error)),
            }
        }
    }
}
