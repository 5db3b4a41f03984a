//! Where a route leads: to one upstream, or to several by their weights.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of one of `upstreams`, or several names, each with a weight: `{ records: 95, records-next: 5 }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteUpstreams(
    /// In the order of their names: a route has one, nearly always, for which a map is large.
    Box<[(String, u32)]>,
);

impl RouteUpstreams {
    /// Names and weights.
    pub fn all(&self) -> impl ExactSizeIterator<Item = (&str, u32)> {
        self.0.iter().map(|(name, weight)| (name.as_str(), *weight))
    }

    pub fn leads_to(&self, upstream: &str) -> bool {
        self.0.iter().any(|(name, _)| name == upstream)
    }
}

impl<'de> Deserialize<'de> for RouteUpstreams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrWeights)
    }
}

impl Serialize for RouteUpstreams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [(name, _)] => serializer.serialize_str(name),
            several => serializer.collect_map(several.iter().map(|(name, weight)| (name, weight))),
        }
    }
}

struct NameOrWeights;

impl<'de> Visitor<'de> for NameOrWeights {
    type Value = RouteUpstreams;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of an upstream, or names with weights")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(RouteUpstreams(Box::new([(name.to_owned(), 1)])))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let by_name = BTreeMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RouteUpstreams(by_name.into_iter().collect()))
    }
}

impl JsonSchema for RouteUpstreams {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RouteUpstreams".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The name of one of `upstreams`, or several names, each with a weight.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "additionalProperties": { "type": "integer", "minimum": 1, "maximum": 1000 },
                },
            ],
        })
    }
}
