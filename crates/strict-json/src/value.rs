//! What was read: values that borrow their texts from the document and stand in an arena, so that
//! nothing of them is made or freed by itself.

use serde_json::{Map, Value};
use smallvec::SmallVec;

use crate::name::name_bit;
use crate::{Arena, JsonError, Number, read};

/// The members of an object, with a life of their own. Equality does not look at the order of
/// members, but bytes may: equal properties can serialize to different bytes.
pub type Properties = Map<String, Value>;

/// A JSON value in which no object repeats a name.
#[derive(Debug, Clone, Copy)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'a str),
    Array(&'a [Json<'a>]),
    Object(Members<'a>),
}

/// The members of an object, in the order in which they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Members<'a> {
    pub(crate) members: &'a [(&'a str, Json<'a>)],
    /// The whole object as it was read, where that was one line.
    pub(crate) text: Option<&'a str>,
    /// The bits of all names in it, at any depth.
    pub(crate) names: u64,
}

/// So deep arrays and objects may be nested where nobody says otherwise.
const LEVELS: usize = 127;

/// Reads one JSON object. Refuses trailing bytes, duplicate names and nesting deeper than 127.
pub fn parse_object(body: &[u8]) -> Result<Properties, JsonError> {
    Members::parse(body, &Arena::new()).map(Members::to_properties)
}

/// Reads any JSON value, as strictly.
pub fn parse_json(body: &[u8]) -> Result<Value, JsonError> {
    Json::parse(body, &Arena::new()).map(|json| json.to_value())
}

impl<'a> Json<'a> {
    /// As strictly as [`parse_json`].
    pub fn parse(body: &'a [u8], arena: &'a Arena) -> Result<Self, JsonError> {
        read::read(body, arena, LEVELS)
    }

    /// Of a value that is kept.
    pub fn lent(value: &'a Value, arena: &'a Arena) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => Self::Number(value.into()),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => {
                let items = items.iter().map(|item| Self::lent(item, arena));
                Self::Array(arena.slice(items))
            }
            Value::Object(members) => Self::Object(Members::lent(members, arena)),
        }
    }

    /// The bits of all names in it.
    fn names(&self) -> u64 {
        match self {
            Self::Object(members) => members.names,
            Self::Array(items) => items.iter().fold(0, |all, item| all | item.names()),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => 0,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The same with a life of its own.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => value.to_value(),
            Self::Text(text) => Value::String((*text).to_owned()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(members) => Value::Object(members.to_properties()),
        }
    }
}

impl<'a> Members<'a> {
    /// Of an object that has none.
    pub const NONE: Self = Self {
        members: &[],
        text: None,
        names: 0,
    };

    /// As strictly as [`parse_object`].
    pub fn parse(body: &'a [u8], arena: &'a Arena) -> Result<Self, JsonError> {
        Self::parse_within(body, arena, LEVELS)
    }

    /// The same, where `levels` bounds how deep arrays and objects are nested.
    pub fn parse_within(
        body: &'a [u8],
        arena: &'a Arena,
        levels: usize,
    ) -> Result<Self, JsonError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(JsonError::Empty);
        }
        match read::read(body, arena, levels)? {
            Json::Object(members) => Ok(members),
            _ => Err(JsonError::NoObject),
        }
    }

    /// Of properties that are kept.
    pub fn lent(properties: &'a Properties, arena: &'a Arena) -> Self {
        let lent = |(name, value): (&'a String, &'a Value)| (&**name, Json::lent(value, arena));
        Self::of(properties.iter().map(lent), arena)
    }

    /// Of members that each have a name of their own.
    pub fn of(members: impl IntoIterator<Item = (&'a str, Json<'a>)>, arena: &'a Arena) -> Self {
        let members: SmallVec<[_; 8]> = members.into_iter().collect();
        let names = members
            .iter()
            .map(|(name, value)| name_bit(name) | value.names());
        Self {
            names: names.fold(0, |all, names| all | names),
            members: arena.slice(members),
            text: None,
        }
    }

    /// Nearly always the name is written out where it is asked for, and compared at once.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&'a Json<'a>> {
        let found = self.members.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a Json<'a>)> + use<'a> {
        self.members.iter().map(|(name, value)| (*name, value))
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a name of one of these bits may be in it, at any depth. See [`name_bit`].
    pub fn may_have(&self, names: u64) -> bool {
        self.names & names != 0
    }

    /// The whole object as it was read, where that is one line of JSON.
    pub fn text(&self) -> Option<&'a str> {
        self.text
    }

    /// The same with a life of its own.
    pub fn to_properties(self) -> Properties {
        let owned = |(name, value): (&str, &Json<'_>)| (name.to_owned(), value.to_value());
        self.iter().map(owned).collect()
    }

    /// The name that occurs more than once.
    pub(crate) fn repeated(&self) -> Option<&'a str> {
        const FEW: usize = 16;
        if self.len() <= FEW {
            let mut rest = self.members;
            while let Some(((name, _), others)) = rest.split_first() {
                if others.iter().any(|(other, _)| name == other) {
                    return Some(name);
                }
                rest = others;
            }
            return None;
        }
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair.first() == pair.last());
        twice.and_then(|pair| pair.first().copied())
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
    fn a_name_is_known_to_be_there_at_any_depth() {
        let text = r#"{"ab":[1,[{"cde":{"f\u0067hi":0}}]],"jklmn":2}"#;
        let names = ["ab", "cde", "fghi", "jklmn"].map(name_bit);
        let plain: Properties = serde_json::from_str(text).unwrap();
        let arena = Arena::new();
        let read = Members::parse(text.as_bytes(), &arena).unwrap();
        for members in [read, Members::lent(&plain, &arena)] {
            assert_eq!(members.names, names.iter().fold(0, |all, name| all | name));
            assert!(names.iter().all(|name| members.may_have(*name)));
            assert!(!members.may_have(name_bit("fg")));
            let Some(Json::Array(items)) = members.get("ab") else {
                panic!("an array")
            };
            assert_eq!(items.last().unwrap().names(), names[1] | names[2]);
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
            let arena = Arena::new();
            let read = Json::parse(text.as_bytes(), &arena).unwrap();
            for json in [read, Json::lent(&plain, &arena)] {
                assert_eq!(json.to_value(), plain);
            }
        }
    }
}
