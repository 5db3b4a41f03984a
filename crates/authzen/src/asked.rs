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

impl<'a> Asked<'a> {
    /// Reads a question from an object that has its own subject, action and resource. Unknown
    /// members are ignored and `null` means absent.
    pub fn of(object: &'a Members<'a>) -> Result<Self, RequestError> {
        Self::with_defaults(object, &NONE)
    }

    /// The same, where a part that is left out is the default's. A part that lacks what names it
    /// (`type`, `id`, `name`) takes just that from the default.
    pub(crate) fn with_defaults(
        object: &'a Members<'a>,
        defaults: &'a Members<'a>,
    ) -> Result<Self, RequestError> {
        let subject = Part::of(object, defaults, "subject")?;
        let action = Part::of(object, defaults, "action")?;
        let resource = Part::of(object, defaults, "resource")?;
        let (own, default) = (member(object, "context"), member(defaults, "context"));
        Ok(Self {
            subject: subject.entity()?,
            action: action.action()?,
            resource: resource.entity()?,
            context: object_or_none(own.or(default), "context")?,
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
    pub(crate) fn alone(object: &'a Members<'a>, name: &'static str) -> Result<Self, RequestError> {
        Self::of(object, &NONE, name)
    }

    #[inline]
    fn of(
        object: &'a Members<'a>,
        defaults: &'a Members<'a>,
        name: &'static str,
    ) -> Result<Self, RequestError> {
        let default = match member(defaults, name) {
            None => None,
            Some(Json::Object(default)) => Some(default),
            Some(_) => return Err(no_object(name)),
        };
        match (member(object, name), default) {
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
        Ok(AskedAction {
            name: self.text("name")?,
            properties: self.properties()?,
        })
    }

    pub(crate) fn entity(&self) -> Result<AskedEntity<'a>, RequestError> {
        let properties = self.properties()?;
        // Nothing is a default's, and nothing else was sent.
        let members = 2 + usize::from(!std::ptr::eq(properties, &raw const NONE));
        let is_whole = self.default.is_none() && self.sent.len() == members;
        Ok(AskedEntity {
            kind: self.text("type")?,
            id: self.text("id")?,
            properties,
            text: self.sent.text().filter(|_| is_whole),
        })
    }

    #[inline]
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, RequestError> {
        let default = || self.default.and_then(|default| member(default, name));
        match member(self.sent, name).or_else(default) {
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

    fn properties(&self) -> Result<&'a Members<'a>, RequestError> {
        match member(self.sent, "properties") {
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
    match value {
        None => Ok(&NONE),
        Some(Json::Object(members)) => Ok(members),
        Some(_) => Err(no_object(field)),
    }
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
            let asked = Asked::with_defaults(&question, &default).unwrap();
            assert_eq!(asked.subject.text, expected, "{subject} {default:?}");
        }
    }
}
