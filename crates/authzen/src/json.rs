//! Strict I-JSON reading: duplicate names are refused at every depth, nesting is bounded.
//!
//! Two readers of one document must not see two different values, so a duplicate name is an
//! error and never "the last one wins" (RFC 7493 section 2.3).

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::RequestError;

/// Attributes of a subject, action, resource or context. Equality does not look at the order of
/// members, but bytes may: equal properties can serialize to different bytes.
pub type Properties = Map<String, Value>;

/// Reads one JSON object. Refuses trailing bytes, duplicate names and nesting deeper than 128.
pub fn parse_object(body: &[u8]) -> Result<Properties, RequestError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(RequestError::Empty);
    }
    match parse_json(body)? {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(RequestError::WrongType {
                field: "the body".into(),
                expected: "an object",
            })
        }
    }
}

/// Reads any JSON value, as strictly.
pub fn parse_json(body: &[u8]) -> Result<Value, RequestError> {
    let Strict(value) = serde_json::from_slice(body).map_err(|error| RequestError::Malformed {
        message: error.to_string(),
    })?;
    Ok(value)
}

/// A JSON value in which no object repeats a name.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let Strict(value) = access.next_value()?;
            match map.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(entry) => {
                    let name = entry.key();
                    return Err(de::Error::custom(format_args!("`{name}` appears twice")));
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_names_are_refused_at_any_depth() {
        for body in [r#"{"a":1,"a":2}"#, r#"{"a":[{"b":{"c":1,"c":1}}]}"#] {
            let error = parse_object(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("appears twice"), "{error}");
        }
    }

    #[test]
    fn depth_bombs_and_other_shapes_are_refused() {
        let bomb = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        for body in [
            bomb.as_str(),
            "",
            "  ",
            "[]",
            "1",
            "{} {}",
            "{",
            "\u{feff}{}",
        ] {
            assert!(parse_object(body.as_bytes()).is_err(), "{body:.20}");
        }
    }
}
