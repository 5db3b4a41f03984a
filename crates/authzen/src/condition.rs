//! The obligations that a decision can have, and our gateway keeps: types, properties and what each may be. Whoever
//! writes them (policies) and whoever keeps them read them by this alone.
//!
//! A property that is one text may be written as a list of one, which is how a policy's shorthand says it.

use http::{HeaderName, HeaderValue};
use serde_json::Value;
use strict_json::Pointer;

use crate::{Obligation, Properties};

/// An obligation of a type that is known here, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `mask`: `fields` of the answer are blotted out. A segment `*` stands for every member and element.
    Mask { fields: Vec<Pointer> },
    /// `filter`: elements of an array of the answer that the caller may not see are taken out.
    Filter(Filter),
    /// `log`: the request must be in the access log.
    Log,
    /// `step_up`: another or a newer login (RFC 9470): `acr_values`, `max_age` in seconds.
    StepUp {
        acr_values: Vec<String>,
        max_age_secs: Option<u64>,
    },
    /// `headers`: added to what the upstream gets (`request`) and to what the client gets (`response`).
    Headers {
        request: Vec<(HeaderName, HeaderValue)>,
        response: Vec<(HeaderName, HeaderValue)>,
    },
    /// `rate`: counted under the limit of a `class`.
    Rate { class: String },
    /// `notify`: somebody is told (`to`). `required`: without that there is no permit.
    Notify { to: Vec<String>, is_required: bool },
}

/// See [`Condition::Filter`]. For each element it is asked whether the caller may do `action` to the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Where the array is; the document itself where nothing is said.
    pub array: Pointer,
    pub kind: Kind,
    /// Of the resource, in an element.
    pub id: Pointer,
    /// None: that of the request.
    pub action: Option<String>,
}

/// The type of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Constant(String),
    /// Each element says its own: a property that begins with `/`.
    At(Pointer),
}

impl Condition {
    /// None: a type that is not known here. An `Err` says what is wrong with the properties.
    pub fn of(obligation: &Obligation) -> Result<Option<Self>, String> {
        let read = Read(&obligation.properties);
        let (condition, known): (_, &[&str]) = match obligation.kind.as_str() {
            "mask" => {
                let fields = read.texts("fields")?;
                let fields = fields.ok_or("`fields` must be a list of JSON Pointers")?;
                let fields = fields.iter().map(|field| pointer("fields", field));
                let fields = fields.collect::<Result<_, _>>()?;
                (Self::Mask { fields }, &["fields"])
            }
            "filter" => (
                Self::Filter(read.filter()?),
                &["array", "type", "id", "action"],
            ),
            "log" => (Self::Log, &[]),
            "step_up" => (read.step_up()?, &["acr_values", "max_age"]),
            "headers" => (read.headers()?, &["request", "response"]),
            "rate" => {
                let class = read.text("class")?.ok_or("`class` is missing")?;
                (Self::Rate { class }, &["class"])
            }
            "notify" => {
                let notify = Self::Notify {
                    to: read.texts("to")?.ok_or("`to` is missing")?,
                    is_required: read.flag("required")?,
                };
                (notify, &["to", "required"])
            }
            _ => return Ok(None),
        };
        let unknown = |name: &&String| !known.contains(&name.as_str());
        match obligation.properties.keys().find(unknown) {
            Some(name) => Err(format!("`{name}` is not known")),
            None => Ok(Some(condition)),
        }
    }
}

/// Properties by name.
struct Read<'p>(&'p Properties);

impl Read<'_> {
    fn texts(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        let text = |value: &Value| {
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let texts = match self.0.get(name) {
            None => return Ok(None),
            Some(Value::Array(values)) => values.iter().map(text).collect(),
            Some(value) => text(value).map(|text| vec![text]),
        };
        match texts.filter(|texts: &Vec<String>| !texts.is_empty()) {
            Some(texts) => Ok(Some(texts)),
            None => Err(format!("`{name}` must be texts, and one at least")),
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.texts(name)?.map(<[String; 1]>::try_from) {
            None => Ok(None),
            Some(Ok([text])) => Ok(Some(text)),
            Some(Err(_)) => Err(format!("`{name}` must be one text")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        if let Some(Value::Bool(flag)) = self.0.get(name) {
            return Ok(*flag);
        }
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(format!("`{name}` must be true or false")),
        }
    }

    fn filter(&self) -> Result<Filter, String> {
        let array = match self.0.get("array").and_then(Value::as_str) {
            Some("") => None,
            _ => self.text("array")?,
        };
        let kind = self.text("type")?.ok_or("`type` is missing")?;
        Ok(Filter {
            array: array.map_or(Ok(Pointer::default()), |text| pointer("array", &text))?,
            kind: if kind.starts_with('/') {
                Kind::At(pointer("type", &kind)?)
            } else {
                Kind::Constant(kind)
            },
            id: pointer("id", &self.text("id")?.ok_or("`id` is missing")?)?,
            action: self.text("action")?,
        })
    }

    fn step_up(&self) -> Result<Condition, String> {
        let acr_values = self.texts("acr_values")?.unwrap_or_default();
        let is_word = |acr: &&String| {
            let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            !acr.bytes().all(fits)
        };
        if let Some(wrong) = acr_values.iter().find(is_word) {
            return Err(format!(
                "`acr_values`: `{wrong}` must be a word without spaces and quotation marks"
            ));
        }
        let max_age_secs = match self.0.get("max_age") {
            Some(Value::Number(number)) => number.as_u64(),
            Some(_) => self.text("max_age")?.and_then(|text| text.parse().ok()),
            None if acr_values.is_empty() => {
                return Err("`acr_values` or `max_age` is needed".into());
            }
            None => {
                return Ok(Condition::StepUp {
                    acr_values,
                    max_age_secs: None,
                });
            }
        };
        match max_age_secs {
            Some(_) => Ok(Condition::StepUp {
                acr_values,
                max_age_secs,
            }),
            None => Err("`max_age` must be a number of seconds".into()),
        }
    }

    fn headers(&self) -> Result<Condition, String> {
        let (request, response) = (self.fields("request")?, self.fields("response")?);
        if request.is_empty() && response.is_empty() {
            return Err("`request` or `response` is needed".into());
        }
        Ok(Condition::Headers { request, response })
    }

    /// An object of names and texts, or texts `name:value`.
    fn fields(&self, name: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let wrong = || format!("`{name}` must be names of headers and their texts");
        let mut fields = Vec::new();
        let mut add = |field: &str, value: &str| {
            let header = HeaderName::try_from(field).map_err(|_| wrong())?;
            let is_plain = |byte: u8| matches!(byte, 0x20..=0x7e);
            let value = Some(value.trim()).filter(|value| value.bytes().all(is_plain));
            let value = value.and_then(|value| HeaderValue::try_from(value).ok());
            if fields.iter().any(|(known, _)| *known == header) {
                return Err(format!("`{name}` has `{header}` twice"));
            }
            fields.push((header, value.ok_or_else(wrong)?));
            Ok(())
        };
        match self.0.get(name) {
            None => {}
            Some(Value::Object(object)) => {
                for (field, value) in object {
                    add(field, value.as_str().ok_or_else(wrong)?)?;
                }
            }
            Some(_) => {
                for text in self.texts(name)?.unwrap_or_default() {
                    let (field, value) = text.split_once(':').ok_or_else(wrong)?;
                    add(field, value)?;
                }
            }
        }
        Ok(fields)
    }
}

fn pointer(name: &str, text: &str) -> Result<Pointer, String> {
    Pointer::parse(text).map_err(|error| format!("`{name}`: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: &str, properties: &Value) -> Result<Option<Condition>, String> {
        Condition::of(&Obligation {
            id: "o".into(),
            kind: kind.into(),
            properties: properties.as_object().cloned().unwrap_or_default(),
        })
    }

    #[test]
    fn the_shorthand_of_policies_and_json_say_the_same() {
        for (kind, short, long) in [
            ("mask", json!({"fields": "/a"}), json!({"fields": ["/a"]})),
            (
                "step_up",
                json!({"acr_values": ["phr", "phrh"], "max_age": ["300"]}),
                json!({"acr_values": ["phr", "phrh"], "max_age": 300}),
            ),
            (
                "headers",
                json!({"request": ["x-team:blue"], "response": ["X-Tier: gold"]}),
                json!({"request": {"X-Team": "blue"}, "response": {"x-tier": "gold"}}),
            ),
            ("rate", json!({"class": ["gold"]}), json!({"class": "gold"})),
            (
                "notify",
                json!({"to": ["owner"], "required": ["true"]}),
                json!({"to": "owner", "required": true}),
            ),
            (
                "filter",
                json!({"type": ["Record"], "id": ["/id"]}),
                json!({"array": "", "type": "Record", "id": "/id"}),
            ),
        ] {
            let read = |properties| read(kind, properties).unwrap().unwrap();
            assert_eq!(read(&short), read(&long));
        }
        assert_eq!(read("log", &json!({})), Ok(Some(Condition::Log)));
        assert_eq!(read("sms", &json!({"to": 1})), Ok(None));
    }

    #[test]
    fn what_is_not_in_order_is_refused_and_said() {
        for (kind, properties, said) in [
            ("mask", json!({}), "`fields` must be"),
            ("mask", json!({"fields": []}), "`fields` must be"),
            ("mask", json!({"fields": ["ssn"]}), "begin with `/`"),
            ("mask", json!({"fields": ["/a"], "how": 1}), "`how`"),
            ("log", json!({"level": "x"}), "`level`"),
            ("step_up", json!({}), "is needed"),
            ("step_up", json!({"max_age": -1}), "number of seconds"),
            ("step_up", json!({"max_age": ["x"]}), "number of seconds"),
            ("step_up", json!({"acr_values": ["a b"]}), "`a b`"),
            ("headers", json!({}), "is needed"),
            (
                "headers",
                json!({"request": {"a b": "c"}}),
                "names of headers",
            ),
            (
                "headers",
                json!({"request": {"a": "b\r\nc: d"}}),
                "names of headers",
            ),
            (
                "headers",
                json!({"request": {"a": "caf\u{e9}"}}),
                "names of headers",
            ),
            ("headers", json!({"request": ["a"]}), "names of headers"),
            (
                "headers",
                json!({"response": {"a": "1", "A": "2"}}),
                "twice",
            ),
            ("rate", json!({}), "`class` is missing"),
            ("rate", json!({"class": ["a", "b"]}), "one text"),
            ("notify", json!({"required": true}), "`to` is missing"),
            (
                "notify",
                json!({"to": "a", "required": "x"}),
                "true or false",
            ),
            ("filter", json!({"id": "/id"}), "`type` is missing"),
            ("filter", json!({"type": "R", "id": "id"}), "begin with `/`"),
            ("filter", json!({"type": "R", "id": "/a~"}), "`~`"),
        ] {
            let error = read(kind, &properties).unwrap_err();
            assert!(error.contains(said), "{kind} {properties}: {error}");
        }
    }
}
