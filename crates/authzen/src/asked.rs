//! One question, borrowed from the body that it was read from: its parts are looked up, and never
//! copied.

use strict_json::{Arena, Json, Members};

use crate::{Action, EvaluationRequest, RequestError, Resource, Subject};

/// "May this subject do this action on this resource in this context?"
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub subject: AskedEntity<'a>,
    pub action: AskedAction<'a>,
    pub resource: AskedEntity<'a>,
    pub context: &'a Members<'a>,
}

/// A subject or a resource.
#[derive(Debug, Clone, Copy)]
pub struct AskedEntity<'a> {
    pub kind: &'a str,
    pub id: &'a str,
    pub properties: &'a Members<'a>,
    /// All of it as it was sent, where that is one line of JSON and has no other members.
    pub text: Option<&'a str>,
}

/// An action.
#[derive(Debug, Clone, Copy)]
pub struct AskedAction<'a> {
    pub name: &'a str,
    pub properties: &'a Members<'a>,
}

/// What an [`Asked`] borrows from a question that is kept.
#[derive(Debug)]
pub struct Lent<'a> {
    request: &'a EvaluationRequest,
    subject: Members<'a>,
    action: Members<'a>,
    resource: Members<'a>,
    context: Members<'a>,
}

static NONE: Members<'static> = Members::NONE;

/// What stands for parts that a question leaves out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defaults<'a> {
    pub(crate) subject: Option<&'a Members<'a>>,
    pub(crate) action: Option<&'a Members<'a>>,
    pub(crate) resource: Option<&'a Members<'a>>,
    pub(crate) context: Option<&'a Members<'a>>,
}

/// The parts of a question, and what a body says once for all its entries.
const PARTS: [&str; 4] = ["subject", "action", "resource", "context"];

impl<'a> Defaults<'a> {
    /// What a body says once for all its entries.
    pub(crate) fn of(body: &Members<'a>) -> Result<Self, RequestError> {
        let [subject, action, resource, context] = members(body, PARTS);
        Ok(Self {
            subject: object(subject, "subject")?,
            action: object(action, "action")?,
            resource: object(resource, "resource")?,
            context: object(context, "context")?,
        })
    }
}

impl<'a> Asked<'a> {
    /// Reads a question from an object that has its own subject, action and resource. Unknown
    /// members are ignored and `null` means absent.
    pub fn of(object: &'a Members<'a>) -> Result<Self, RequestError> {
        Self::with_defaults(object, &Defaults::default())
    }

    /// The same, where a part that is left out is the default's. A part that lacks what names it
    /// (`type`, `id`, `name`) takes just that from the default.
    pub(crate) fn with_defaults(
        question: &'a Members<'a>,
        defaults: &Defaults<'a>,
    ) -> Result<Self, RequestError> {
        let [subject, action, resource, context] = members(question, PARTS);
        let subject = Part::of(subject, defaults.subject, "subject")?;
        let action = Part::of(action, defaults.action, "action")?;
        let resource = Part::of(resource, defaults.resource, "resource")?;
        Ok(Self {
            subject: subject.entity()?,
            action: action.action()?,
            resource: resource.entity()?,
            context: object(context, "context")?
                .or(defaults.context)
                .unwrap_or(&NONE),
        })
    }

    /// The same with a life of its own.
    pub fn to_request(self) -> EvaluationRequest {
        let Self {
            subject,
            action,
            resource,
            context,
        } = self;
        EvaluationRequest {
            subject: subject.to_subject(),
            action: action.to_action(),
            resource: resource.to_resource(),
            context: context.to_properties(),
        }
    }
}

impl AskedAction<'_> {
    pub(crate) fn to_action(self) -> Action {
        Action {
            name: self.name.to_owned(),
            properties: self.properties.to_properties(),
        }
    }
}

impl<'a> AskedEntity<'a> {
    pub(crate) fn to_subject(self) -> Subject {
        Subject {
            kind: self.kind.to_owned(),
            id: self.id.to_owned(),
            properties: self.properties.to_properties(),
        }
    }

    pub(crate) fn to_resource(self) -> Resource {
        Resource {
            kind: self.kind.to_owned(),
            id: self.id.to_owned(),
            properties: self.properties.to_properties(),
        }
    }

    /// Whether this is the very same part of a body: where entries of a batch share a default.
    pub fn is_same_part(&self, other: &AskedEntity<'a>) -> bool {
        std::ptr::eq(self.kind, other.kind)
            && std::ptr::eq(self.id, other.id)
            && std::ptr::eq(self.properties, other.properties)
    }
}

impl EvaluationRequest {
    /// To be asked without a copy.
    pub fn lend<'a>(&'a self, arena: &'a Arena) -> Lent<'a> {
        Lent {
            request: self,
            subject: Members::lent(&self.subject.properties, arena),
            action: Members::lent(&self.action.properties, arena),
            resource: Members::lent(&self.resource.properties, arena),
            context: Members::lent(&self.context, arena),
        }
    }
}

impl Lent<'_> {
    pub fn asked(&self) -> Asked<'_> {
        let EvaluationRequest {
            subject,
            action,
            resource,
            ..
        } = self.request;
        Asked {
            subject: AskedEntity {
                kind: &subject.kind,
                id: &subject.id,
                properties: &self.subject,
                text: None,
            },
            action: AskedAction {
                name: &action.name,
                properties: &self.action,
            },
            resource: AskedEntity {
                kind: &resource.kind,
                id: &resource.id,
                properties: &self.resource,
                text: None,
            },
            context: &self.context,
        }
    }
}

/// A subject, an action or a resource as it was sent, and what stands for what it leaves out.
pub(crate) struct Part<'a> {
    name: &'static str,
    sent: &'a Members<'a>,
    default: Option<&'a Members<'a>>,
}

impl<'a> Part<'a> {
    /// Of an object that has no defaults.
    pub(crate) fn alone(object: &Members<'a>, name: &'static str) -> Result<Self, RequestError> {
        Self::of(member(object, name), None, name)
    }

    #[inline]
    fn of(
        sent: Option<&'a Json<'a>>,
        default: Option<&'a Members<'a>>,
        name: &'static str,
    ) -> Result<Self, RequestError> {
        match (sent, default) {
            (Some(Json::Object(sent)), default) => Ok(Self {
                name,
                sent,
                default,
            }),
            (Some(_), _) => Err(no_object(name)),
            (None, Some(sent)) => Ok(Self {
                name,
                sent,
                default: None,
            }),
            (None, None) => Err(RequestError::Missing {
                field: name.to_owned(),
            }),
        }
    }

    pub(crate) fn action(&self) -> Result<AskedAction<'a>, RequestError> {
        let [name, properties] = members(self.sent, ["name", "properties"]);
        Ok(AskedAction {
            name: self.named(name, "name")?,
            properties: self.properties(properties)?,
        })
    }

    pub(crate) fn entity(&self) -> Result<AskedEntity<'a>, RequestError> {
        let [kind, id, properties] = members(self.sent, ["type", "id", "properties"]);
        // Nothing is a default's, and nothing else was sent.
        let sent = 2 + usize::from(properties.is_some());
        let is_whole = self.default.is_none() && self.sent.len() == sent;
        Ok(AskedEntity {
            properties: self.properties(properties)?,
            kind: self.named(kind, "type")?,
            id: self.named(id, "id")?,
            text: self.sent.text().filter(|_| is_whole),
        })
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, RequestError> {
        self.named(member(self.sent, name), name)
    }

    /// What names it, where its own has been found: else it is the default's.
    #[inline]
    fn named(&self, own: Option<&'a Json<'a>>, name: &str) -> Result<&'a str, RequestError> {
        let default = || self.default.and_then(|default| member(default, name));
        match own.or_else(default) {
            Some(Json::Text(text)) => Ok(text),
            None => Err(RequestError::Missing {
                field: format!("{}.{name}", self.name),
            }),
            Some(_) => Err(RequestError::WrongType {
                field: format!("`{}.{name}`", self.name),
                expected: "a string",
            }),
        }
    }

    fn properties(&self, sent: Option<&'a Json<'a>>) -> Result<&'a Members<'a>, RequestError> {
        match sent {
            None => Ok(&NONE),
            Some(Json::Object(properties)) => Ok(properties),
            Some(_) => Err(no_object(&format!("{}.properties", self.name))),
        }
    }
}

/// A member that may be left out.
pub(crate) fn object_or_none<'a>(
    value: Option<&'a Json<'a>>,
    field: &str,
) -> Result<&'a Members<'a>, RequestError> {
    object(value, field).map(|members| members.unwrap_or(&NONE))
}

fn object<'a>(
    value: Option<&'a Json<'a>>,
    field: &str,
) -> Result<Option<&'a Members<'a>>, RequestError> {
    match value {
        None => Ok(None),
        Some(Json::Object(members)) => Ok(Some(members)),
        Some(_) => Err(no_object(field)),
    }
}

/// The members of these names, found in one pass. Others are ignored, and `null` means absent.
#[inline]
fn members<'a, const N: usize>(
    object: &Members<'a>,
    names: [&str; N],
) -> [Option<&'a Json<'a>>; N] {
    let mut found = [None; N];
    for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        let mut named = names.iter().zip(&mut found);
        if let Some((_, place)) = named.find(|(own, _)| **own == name) {
            *place = Some(value);
        }
    }
    found
}

/// A member of an object, where `null` means absent.
#[inline]
pub(crate) fn member<'a>(object: &Members<'a>, name: &str) -> Option<&'a Json<'a>> {
    object.get(name).filter(|value| !value.is_null())
}

fn no_object(field: &str) -> RequestError {
    RequestError::WrongType {
        field: format!("`{field}`"),
        expected: "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_what_is_kept() {
        let arena = Arena::new();
        let body = br#"{"subject":{"type":"u","id":"1","properties":{"a":[1,{"b":null}]}},
            "action":{"name":"r","properties":{}},"resource":{"type":"d","id":"\u0032"},
            "context":{"c":-1.5},"more":1}"#;
        let members = Members::parse(body, &arena).unwrap();
        let kept = Asked::of(&members).unwrap().to_request();
        assert_eq!(kept.lend(&arena).asked().to_request(), kept);
        assert_eq!(kept.resource.id, "2");
        assert_eq!(kept.context.len(), 1);
    }

    #[test]
    fn a_part_is_known_as_it_was_sent_where_it_is_that_and_no_more() {
        let whole = r#"{ "id":"1", "type":"u", "properties":{"a":"\u0041"} }"#;
        for (subject, default, expected) in [
            (whole, "{}", Some(whole)),
            (
                r#"{"type":"u","id":"1"}"#,
                "{}",
                Some(r#"{"type":"u","id":"1"}"#),
            ),
            // What is left out of the question is all the default's.
            ("null", whole, Some(whole)),
            (whole, whole, None),
            (r#"{"id":"1","more":2}"#, r#"{"type":"u","id":"2"}"#, None),
            (r#"{"type":"u","id":"1","password":"x"}"#, "{}", None),
            (r#"{"type":"u","id":"1","properties":null}"#, "{}", None),
            ("{\"type\":\"u\",\n\"id\":\"1\"}", "{}", None),
        ] {
            let arena = Arena::new();
            let rest = r#""action":{"name":"r"},"resource":{"type":"d","id":"2"}"#;
            let question = format!(r#"{{"subject":{subject},{rest}}}"#);
            let question = Members::parse(question.as_bytes(), &arena).unwrap();
            let default = if default == "{}" {
                default.to_owned()
            } else {
                format!(r#"{{"subject":{default}}}"#)
            };
            let default = Members::parse(default.as_bytes(), &arena).unwrap();
            let defaults = Defaults::of(&default).unwrap();
            let asked = Asked::with_defaults(&question, &defaults).unwrap();
            assert_eq!(asked.subject.text, expected, "{subject} {default:?}");
        }
    }
}
