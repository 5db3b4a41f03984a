//! What is written as one text, or as a map with settings.
//!
//! Not an untagged enum: that would lose "unknown key" with its line and column.

use std::fmt;
use std::marker::PhantomData;

use schemars::{Schema, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// Has a form that is one text.
pub(super) trait Short: Sized {
    /// What is expected, in words.
    const EXPECTED: &'static str;

    fn short(text: &str) -> Self;

    /// The map form.
    fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Either form.
pub(super) fn deserialize<'de, T: Short, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(TextOrSettings(PhantomData))
}

/// The schema of either form, from that of the map.
pub(super) fn or_text(schema: &mut Schema) {
    let settings = std::mem::replace(schema, json_schema!({}));
    let description = settings.get("description").cloned();
    *schema = json_schema!({ "anyOf": [{ "type": "string" }, settings] });
    if let Some(description) = description {
        schema.insert("description".into(), description);
    }
}

struct TextOrSettings<T>(PhantomData<T>);

impl<'de, T: Short> Visitor<'de> for TextOrSettings<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Ok(T::short(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::settings(MapAccessDeserializer::new(map))
    }
}
