//! Where a database has what the schema calls entities and attributes: the mapping file.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::{ConfigIssue, Variables};

use crate::mapping::{Member, Members, Shape, Vocabulary};
use crate::{PdpError, PolicyIssue};

/// A mapping file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tables {
    /// By Cedar's entity type.
    pub(crate) entities: BTreeMap<String, Table>,
}

/// Where the entities of a type are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// A row for each entity.
    pub(crate) table: String,
    /// Column of the entity's id: a text that is the same for no two rows.
    pub(crate) id: String,
    /// By name; members of records by the path to them, such as `address.city`.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Place>,
    /// By the type of the ancestor.
    #[serde(default)]
    pub(crate) ancestors: BTreeMap<String, Closure>,
}

/// Where an attribute is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Place {
    /// In a column: a boolean, a 64-bit integer, a text, or the id of an entity. NULL: absent.
    Column(String),
    /// A set, as rows of another table. An optional set needs `present`.
    Set {
        table: String,
        /// Column of the id of the entity whose set it is.
        entity: String,
        /// Column of an element.
        element: String,
        /// Column of the entity's own table that says whether it has the attribute.
        #[serde(default)]
        present: Option<String>,
    },
    /// An optional record: a column that says whether it is there. Its members have places of
    /// their own, which are NULL where it is not.
    Present(String),
}

/// A table that has a row for each ancestor of an entity, parents and those above them alike.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Closure {
    pub(crate) table: String,
    /// Column of the id of the entity.
    pub(crate) entity: String,
    /// Column of the id of the ancestor.
    pub(crate) ancestor: String,
}

impl Tables {
    /// Reads a mapping file and holds it against the schema.
    pub(crate) fn open(file: &Path, vocabulary: &Vocabulary) -> Result<Self, PdpError> {
        let tables: Self = service_kit::config::load(file, &Variables::default())
            .map_err(|error| PdpError::Filters(error.to_string()))?;
        let issues = tables.issues(vocabulary);
        if issues.is_empty() {
            return Ok(tables);
        }
        let issues = issues.into_iter().map(|issue| PolicyIssue {
            file: file.to_owned(),
            issue,
        });
        Err(PdpError::Policies(issues.collect()))
    }

    /// Everything that contradicts the schema, or could not be written as SQL.
    pub(crate) fn issues(&self, vocabulary: &Vocabulary) -> Vec<ConfigIssue> {
        let mut issues = Vec::new();
        let mut complain = |place: &str, message: String| {
            issues.push(ConfigIssue::new(format!("entities.{place}: {message}")));
        };
        let is_type = |name: &str| {
            name.parse()
                .is_ok_and(|kind| vocabulary.members(&kind).is_some())
        };
        for (kind, table) in &self.entities {
            for name in table.names() {
                if name.is_empty() || name.contains(['"', '\0']) {
                    complain(
                        kind,
                        format!("`{name}` is not the name of a table or column"),
                    );
                }
            }
            let known = kind.parse().ok().and_then(|kind| vocabulary.members(&kind));
            let Some(members) = known else {
                complain(kind, "the schema has no such entity type".into());
                continue;
            };
            for (path, place) in &table.attributes {
                if let Some(message) = misplaced(members, path, place) {
                    complain(&format!("{kind}.attributes.{path}"), message);
                }
            }
            for ancestor in table.ancestors.keys().filter(|name| !is_type(name)) {
                let place = format!("{kind}.ancestors.{ancestor}");
                complain(&place, "the schema has no such entity type".into());
            }
        }
        issues
    }
}

impl Table {
    fn names(&self) -> Vec<&str> {
        let mut names = vec![self.table.as_str(), &self.id];
        for place in self.attributes.values() {
            match place {
                Place::Column(name) | Place::Present(name) => names.push(name),
                Place::Set {
                    table,
                    entity,
                    element,
                    present,
                } => {
                    names.extend([table.as_str(), entity, element]);
                    names.extend(present.as_deref());
                }
            }
        }
        for closure in self.ancestors.values() {
            names.extend([closure.table.as_str(), &closure.entity, &closure.ancestor]);
        }
        names
    }
}

/// What is wrong with the place of an attribute.
fn misplaced(members: &Members, path: &str, place: &Place) -> Option<String> {
    let Some(member) = member(members, path) else {
        return Some("the schema has no such attribute".into());
    };
    let scalar = |shape: &Shape| {
        matches!(
            shape,
            Shape::Bool | Shape::Long | Shape::String | Shape::Entity(Some(_))
        )
    };
    match (place, &member.shape) {
        (Place::Column(_), shape) if scalar(shape) => None,
        (Place::Column(_), _) => Some(
            "only a boolean, a long, a string or an entity can be in a column; filters cannot read \
             others"
                .into(),
        ),
        (Place::Set { present, .. }, Shape::Set(element)) => {
            if !scalar(element) || matches!(**element, Shape::Bool) {
                Some("the elements must be longs, strings or entities".into())
            } else if !member.required && present.is_none() {
                Some("the set is optional: name the column that says whether it is `present`".into())
            } else {
                None
            }
        }
        (Place::Set { .. }, _) => Some("it is not a set".into()),
        (Place::Present(_), Shape::Record(_)) if !member.required => None,
        (Place::Present(_), _) => Some("only an optional record has such a column".into()),
    }
}

/// The member at a path of names.
pub(super) fn member<'a>(members: &'a Members, path: &str) -> Option<&'a Member> {
    match path.split_once('.') {
        None => members.get(path),
        Some((name, rest)) => match &members.get(name)?.shape {
            Shape::Record(inner) => member(inner, rest),
            _ => None,
        },
    }
}
