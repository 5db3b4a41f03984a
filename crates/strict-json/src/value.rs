//! What was read: values that borrow their texts from the document.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use crate::{JsonError, read};

/// The members of an object, with a life of their own. Equality does not look at the order of
/// members, but bytes may: equal properties can serialize to different bytes.
pub type Properties = Map<String, Value>;

/// A JSON value in which no object repeats a name.
#[derive(Debug, Clone)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// The members of an object, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Members<'a> {
    pub(crate) members: Vec<(Cow<'a, str>, Json<'a>)>,
    /// The whole object as it was read, where that was one line.
    pub(crate) text: Option<&'a str>,
}

/// So deep arrays and objects may be nested where nobody says otherwise.
const LEVELS: usize = 127;

/// Reads one JSON object. Refuses trailing bytes, duplicate names and nesting deeper than 127.
pub fn parse_object(body: &[u8]) -> Result<Properties, JsonError> {
    Members::parse(body).map(Members::into_properties)
}

/// Reads any JSON value, as strictly.
pub fn parse_json(body: &[u8]) -> Result<Value, JsonError> {
    Json::parse(body).map(Json::into_value)
}

impl<'a> Json<'a> {
    /// As strictly as [`parse_json`].
    pub fn parse(body: &'a [u8]) -> Result<Self, JsonError> {
        read::read(body, LEVELS)
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(value) => Value::Number(value),
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Array(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Object(members) => Value::Object(members.into_properties()),
        }
    }
}

impl<'a> Members<'a> {
    /// Of an object that has none.
    pub const NONE: Self = Self {
        members: Vec::new(),
        text: None,
    };

    /// As strictly as [`parse_object`].
    pub fn parse(body: &'a [u8]) -> Result<Self, JsonError> {
        Self::parse_within(body, LEVELS)
    }

    /// The same, where `levels` bounds how deep arrays and objects are nested.
    pub fn parse_within(body: &'a [u8], levels: usize) -> Result<Self, JsonError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(JsonError::Empty);
        }
        match read::read(body, levels)? {
            Json::Object(members) => Ok(members),
            _ => Err(JsonError::NoObject),
        }
    }

    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        let found = self.members.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Json<'a>)> {
        self.members.iter().map(|(name, value)| (&**name, value))
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn into_members(self) -> impl Iterator<Item = (Cow<'a, str>, Json<'a>)> {
        self.members.into_iter()
    }

    /// Adds a member of a name that is not there yet.
    pub fn push(&mut self, name: Cow<'a, str>, value: Json<'a>) {
        self.text = None;
        self.members.push((name, value));
    }

    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.text = None;
        self.members.retain(|(name, _)| keep(name));
    }

    /// The same with a life of its own.
    pub fn to_properties(&self) -> Properties {
        self.clone().into_properties()
    }

    /// The whole object as it was read, where that is one line of JSON.
    pub fn text(&self) -> Option<&'a str> {
        self.text
    }

    pub fn into_properties(self) -> Properties {
        let owned =
            |(name, value): (Cow<'_, str>, Json<'_>)| (name.into_owned(), value.into_value());
        self.members.into_iter().map(owned).collect()
    }

    /// The name that occurs more than once.
    pub(crate) fn repeated(&self) -> Option<&str> {
        const FEW: usize = 16;
        if self.len() <= FEW {
            let mut before = self.members.iter().enumerate();
            let twice = before.find(|(at, (name, _))| {
                self.members
                    .iter()
                    .take(*at)
                    .any(|(other, _)| name == other)
            });
            return twice.map(|(_, (name, _))| &**name);
        }
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair.first() == pair.last());
        twice.and_then(|pair| pair.first().copied())
    }
}

impl<'a> From<&'a Value> for Json<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => Self::Number(value.clone()),
            Value::String(text) => Self::Text(text.as_str().into()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(members.into()),
        }
    }
}

impl<'a> From<&'a Properties> for Members<'a> {
    fn from(properties: &'a Properties) -> Self {
        let lent = |(name, value): (&'a String, &'a Value)| (name.as_str().into(), value.into());
        Self {
            members: properties.iter().map(lent).collect(),
            text: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_names_are_refused_at_any_depth() {
        let many: Vec<_> = (0..40).map(|n| format!(r#""n{n}":0"#)).collect();
        let many = many.join(",") + ",";
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":[{"b":{"c":1,"c":1}}]}"#,
            // The same name, written in two ways.
            r#"{"a":1,"\u0061":2}"#,
            &format!(r#"{{{many}"n7":1}}"#),
        ] {
            let error = parse_object(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("appears twice"), "{error}");
        }
        let all = parse_object(format!(r#"{{{many}"n40":1}}"#).as_bytes());
        assert_eq!(all.unwrap().len(), 41);
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

    #[test]
    fn what_is_borrowed_is_what_serde_json_reads() {
        for text in [
            r#"{"a":[1,-2,3.5,true,null,"x"],"b":{"c":"\u00e9\n","d":{}},"":[]}"#,
            r#"[18446744073709551615,-9223372036854775808,1e300,"\ud83d\ude00"]"#,
        ] {
            let plain: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse_json(text.as_bytes()).unwrap(), plain);
            let read = Json::parse(text.as_bytes()).unwrap();
            for json in [read, Json::from(&plain)] {
                assert_eq!(json.into_value(), plain);
            }
        }
    }
}
