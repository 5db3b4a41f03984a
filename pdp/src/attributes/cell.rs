//! What a database holds in one row, as the JSON that the schema expects in its place. Exact: what
//! would have to be rounded or guessed is a failure.

use authzen::Properties;
use serde_json::Value as Json;
use smol_str::SmolStr;

use crate::mapping::{Members, Shape};

/// Longer answers are not read. Bytes.
pub(super) const LONGEST: usize = 64 * 1024;

/// One column's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Long(i64),
    Text(String),
    Set(Vec<Cell>),
    /// Of a type that only one of Cedar's extension types is for: its name, and the value as Cedar
    /// writes it.
    Extension(&'static str, String),
    Json(Json),
    /// SQLite has no booleans: a whole number.
    Number(i64),
    /// SQLite has neither arrays nor JSON: a text.
    Written(String),
}

/// The row of an entity: the attributes that it is for, each with its value.
#[derive(Debug, Clone)]
pub(super) struct Cells(pub(super) Vec<(SmolStr, Cell)>);

impl Cells {
    pub(super) fn object(&self, members: &Members) -> Result<Properties, String> {
        let mut object = Properties::new();
        for (name, cell) in &self.0 {
            // What the schema has no more is not read.
            let Some(member) = members.get(name.as_str()) else {
                continue;
            };
            let value = cell
                .json(&member.shape)
                .map_err(|why| format!("of its `{name}`, {why}"))?;
            object.insert(name.to_string(), value);
        }
        Ok(object)
    }
}

impl Cell {
    fn json(&self, shape: &Shape) -> Result<Json, String> {
        match (self, shape) {
            (Self::Null, _) => Ok(Json::Null),
            (Self::Bool(value), Shape::Bool) => Ok(Json::from(*value)),
            (Self::Long(value) | Self::Number(value), Shape::Long) => Ok(Json::from(*value)),
            (Self::Number(value @ (0 | 1)), Shape::Bool) => Ok(Json::from(*value == 1)),
            (Self::Number(_), Shape::Bool) => Err("it must be 0 or 1".into()),
            (
                Self::Text(text) | Self::Written(text),
                Shape::String | Shape::Entity(_) | Shape::Extension(_),
            ) => Ok(Json::from(text.as_str())),
            (Self::Extension(kind, text), Shape::Extension(wanted)) if kind == wanted => {
                Ok(Json::from(text.as_str()))
            }
            (Self::Set(cells), Shape::Set(element)) => {
                let items = cells.iter().map(|cell| match cell {
                    Self::Null => Err("there is a NULL in it".to_owned()),
                    cell => cell.json(element),
                });
                items.collect::<Result<Vec<_>, _>>().map(Json::Array)
            }
            (Self::Json(value), _) => Ok(value.clone()),
            (Self::Written(text), Shape::Set(_) | Shape::Record(_)) => {
                strict_json::parse_json(text.as_bytes()).map_err(|_| "it is not JSON".to_owned())
            }
            (cell, shape) => Err(format!(
                "it must be {}, and its column has {}",
                shape.in_words(),
                cell.in_words()
            )),
        }
    }

    fn in_words(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Long(_) | Self::Number(_) => "a whole number",
            Self::Text(_) | Self::Written(_) => "a text",
            Self::Set(_) => "an array",
            Self::Extension("decimal", _) => "a number with places",
            Self::Extension("ipaddr", _) => "an address",
            Self::Extension("duration", _) => "an interval",
            Self::Extension(..) => "a date",
            Self::Json(_) => "JSON",
        }
    }
}

/// Where a query has each attribute: a column of its name, and no second one.
pub(super) fn columns(
    attributes: &[SmolStr],
    names: &[&str],
) -> Result<Vec<(SmolStr, usize)>, String> {
    let place = |attribute: &SmolStr| {
        let mut found = names
            .iter()
            .enumerate()
            .filter(|(_, name)| attribute == *name);
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Ok((attribute.clone(), place)),
            (None, _) => Err(format!("its query gives no column `{attribute}`")),
            (Some(_), Some(_)) => Err(format!("its query gives two columns `{attribute}`")),
        }
    };
    attributes.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extension(name: &str) -> Shape {
        Shape::Extension(name.to_owned())
    }

    #[test]
    fn a_cell_is_read_as_what_the_schema_says_or_not_at_all() {
        let text = || Cell::Text("x".into());
        let longs = |element| Shape::Set(Box::new(element));
        let decimal = || Cell::Extension("decimal", "1.5".into());
        let good = [
            (Cell::Null, Shape::Long, json!(null)),
            (Cell::Bool(true), Shape::Bool, json!(true)),
            (Cell::Long(i64::MIN), Shape::Long, json!(i64::MIN)),
            (Cell::Number(i64::MAX), Shape::Long, json!(i64::MAX)),
            (Cell::Number(1), Shape::Bool, json!(true)),
            (Cell::Number(0), Shape::Bool, json!(false)),
            (text(), Shape::String, json!("x")),
            (text(), Shape::Entity(None), json!("x")),
            (text(), extension("datetime"), json!("x")),
            (decimal(), extension("decimal"), json!("1.5")),
            (
                Cell::Set(vec![Cell::Long(1)]),
                longs(Shape::Long),
                json!([1]),
            ),
            (Cell::Written("[1]".into()), longs(Shape::Long), json!([1])),
            (Cell::Json(json!({})), Shape::Long, json!({})),
        ];
        for (cell, shape, expected) in good {
            assert_eq!(cell.json(&shape), Ok(expected), "{cell:?} {shape:?}");
        }
        let bad = [
            (Cell::Bool(true), Shape::Long),
            (Cell::Bool(true), Shape::String),
            (Cell::Long(1), Shape::Bool),
            (Cell::Long(1), Shape::String),
            (Cell::Long(1), extension("decimal")),
            (Cell::Number(2), Shape::Bool),
            (Cell::Number(1), Shape::Entity(None)),
            (text(), Shape::Long),
            (text(), Shape::Bool),
            (text(), longs(Shape::String)),
            (text(), Shape::Record(Box::default())),
            (text(), Shape::Impossible),
            (decimal(), extension("datetime")),
            (decimal(), Shape::String),
            (decimal(), Shape::Long),
            (Cell::Set(vec![Cell::Null]), longs(Shape::Long)),
            (Cell::Set(vec![text()]), longs(Shape::Long)),
            (Cell::Set(Vec::new()), Shape::String),
            (Cell::Written("[1".into()), longs(Shape::Long)),
            (
                Cell::Written("{\"a\":1,\"a\":2}".into()),
                Shape::Record(Box::default()),
            ),
        ];
        for (cell, shape) in bad {
            assert!(cell.json(&shape).is_err(), "{cell:?} {shape:?}");
        }
    }
}
