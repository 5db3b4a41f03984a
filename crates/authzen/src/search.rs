//! Searches: "which subjects, actions or resources would be permitted?", page by page.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use strict_json::{Arena, Json, Members};

use crate::asked::{Part, member, object_or_none};
use crate::{Action, DecisionContext, Properties, RequestError, Resource, Subject};

/// What is looked for. AuthZEN 1.0, "Search APIs".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchKind {
    Subject,
    Action,
    Resource,
}

/// Body of `POST /access/v1/search/{subject,action,resource}`.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    pub kind: SearchKind,
    /// Absent only beside a token, which stands for the question of its first request.
    pub question: Option<SearchQuestion>,
    /// The most results that a page may hold. At least 1.
    pub limit: Option<usize>,
    /// `next_token` of the page before this one.
    pub token: Option<String>,
}

/// What the results are to be permitted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SearchQuestion {
    #[serde(flatten)]
    pub wanted: Wanted,
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub context: Properties,
}

/// The part that is looked for, as a type, and the two that are given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Wanted {
    /// Subjects of this type.
    Subject {
        subject: OfType,
        action: Action,
        resource: Resource,
    },
    /// Actions.
    Action {
        subject: Subject,
        resource: Resource,
    },
    /// Resources of this type.
    Resource {
        subject: Subject,
        action: Action,
        resource: OfType,
    },
}

/// Any entity of a type: an `id` or `properties` beside it are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfType {
    #[serde(rename = "type")]
    pub kind: String,
}

/// One page of results: `{"page": {"next_token": …}, "results": […]}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SearchResults {
    #[serde(default)]
    pub page: Page,
    pub results: Vec<SearchResult>,
    /// What was searched: the snapshot's version.
    #[serde(default, skip_serializing_if = "DecisionContext::is_empty")]
    pub context: DecisionContext,
}

/// Where a page stands among the others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// Asks for the next page; empty at the end.
    #[serde(default)]
    pub next_token: String,
    /// How many results this page holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

/// One that would be permitted, and what must be done with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchResult {
    #[serde(flatten)]
    pub found: Found,
    /// Obligations and advice of the policies that permit this one.
    #[serde(default, skip_serializing_if = "DecisionContext::is_empty")]
    pub context: DecisionContext,
}

/// Who, what or which action.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Found {
    /// A subject or a resource.
    Entity {
        #[serde(rename = "type")]
        kind: String,
        id: String,
    },
    Action {
        name: String,
    },
}

impl SearchKind {
    /// The last segment of the endpoint's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Action => "action",
            Self::Resource => "resource",
        }
    }
}

impl SearchQuestion {
    /// What is looked for.
    pub fn kind(&self) -> SearchKind {
        match self.wanted {
            Wanted::Subject { .. } => SearchKind::Subject,
            Wanted::Action { .. } => SearchKind::Action,
            Wanted::Resource { .. } => SearchKind::Resource,
        }
    }

    /// Reads a question from an object that has the two given parts and the type of the third.
    pub fn of<'a>(kind: SearchKind, body: &'a Members<'a>) -> Result<Self, RequestError> {
        let subject = || Ok(Part::alone(body, "subject")?.entity()?.to_subject());
        let action = || Ok(Part::alone(body, "action")?.action()?.to_action());
        let resource = || Ok(Part::alone(body, "resource")?.entity()?.to_resource());
        let of_type = |name| {
            let kind = Part::alone(body, name)?.text("type")?.to_owned();
            Ok(OfType { kind })
        };
        let wanted = match kind {
            SearchKind::Subject => Wanted::Subject {
                subject: of_type("subject")?,
                action: action()?,
                resource: resource()?,
            },
            SearchKind::Action => Wanted::Action {
                subject: subject()?,
                resource: resource()?,
            },
            SearchKind::Resource => Wanted::Resource {
                subject: subject()?,
                action: action()?,
                resource: of_type("resource")?,
            },
        };
        let context = object_or_none(member(body, "context"), "context")?;
        Ok(Self {
            wanted,
            context: context.to_properties(),
        })
    }
}

impl SearchRequest {
    /// A first page of a question.
    pub fn first(question: SearchQuestion, limit: Option<usize>) -> Self {
        Self {
            kind: question.kind(),
            question: Some(question),
            limit,
            token: None,
        }
    }

    /// Reads the body of a search. A body with a token may leave the question out.
    pub fn from_json(kind: SearchKind, body: &[u8]) -> Result<Self, RequestError> {
        let arena = Arena::new();
        Self::of(
            kind,
            &Members::parse(body, &arena).map_err(RequestError::Json)?,
        )
    }

    /// The same of a body that has been read.
    pub fn of(kind: SearchKind, body: &Members<'_>) -> Result<Self, RequestError> {
        let page = object_or_none(member(body, "page"), "page")?;
        let token = match member(page, "token") {
            // A first request may say that it has none yet.
            None | Some(Json::Text("")) => None,
            Some(Json::Text(token)) => Some((*token).to_owned()),
            Some(_) => return Err(wrong_type("`page.token`", "a string")),
        };
        let whole = |limit: &Json<'_>| match limit {
            Json::Number(limit) => limit.as_u64().filter(|limit| *limit > 0),
            _ => None,
        };
        let limit = match member(page, "limit") {
            None => None,
            Some(limit) => Some(
                whole(limit)
                    .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
                    .ok_or_else(|| wrong_type("`page.limit`", "a whole number of at least 1"))?,
            ),
        };
        let is_bare = ["subject", "action", "resource", "context"]
            .iter()
            .all(|part| member(body, part).is_none());
        let question = if token.is_some() && is_bare {
            None
        } else {
            Some(SearchQuestion::of(kind, body)?)
        };
        Ok(Self {
            kind,
            question,
            limit,
            token,
        })
    }

    /// The body to send.
    pub fn to_json(&self) -> serde_json::Result<Value> {
        let mut body = match &self.question {
            Some(question) => serde_json::to_value(question)?,
            None => Value::Object(Properties::new()),
        };
        let mut page = Properties::new();
        if let Some(limit) = self.limit {
            page.insert("limit".into(), limit.into());
        }
        if let Some(token) = &self.token {
            page.insert("token".into(), token.clone().into());
        }
        if let Some(body) = body.as_object_mut().filter(|_| !page.is_empty()) {
            body.insert("page".into(), Value::Object(page));
        }
        Ok(body)
    }
}

fn wrong_type(field: &str, expected: &'static str) -> RequestError {
    RequestError::WrongType {
        field: field.into(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: SearchKind, body: &str) -> Result<SearchRequest, String> {
        SearchRequest::from_json(kind, body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        for (kind, body) in [
            (
                SearchKind::Subject,
                r#"{"subject":{"type":"u"},"action":{"name":"r"},"resource":{"type":"d","id":"1"},"context":{"a":1}}"#,
            ),
            (
                SearchKind::Action,
                r#"{"subject":{"type":"u","id":"2"},"resource":{"type":"d","id":"1"},"page":{"limit":3}}"#,
            ),
            (
                SearchKind::Resource,
                r#"{"subject":{"type":"u","id":"2","properties":{"x":[1]}},"action":{"name":"r"},"resource":{"type":"d"},"page":{"token":"t"}}"#,
            ),
            (SearchKind::Resource, r#"{"page":{"limit":2,"token":"t"}}"#),
        ] {
            let request = read(kind, body).unwrap();
            let sent = request.to_json().unwrap();
            assert_eq!(read(kind, &sent.to_string()).unwrap(), request, "{sent}");
            assert_eq!(sent, serde_json::from_str::<Value>(body).unwrap());
        }
    }

    #[test]
    fn the_id_of_what_is_looked_for_is_ignored() {
        let with = r#"{"subject":{"type":"u","id":7},"action":{"name":"r"},"resource":{"type":"d","id":"1"}}"#;
        let without = r#"{"subject":{"type":"u"},"action":{"name":"r"},"resource":{"type":"d","id":"1"},"page":{"token":""}}"#;
        assert_eq!(
            read(SearchKind::Subject, with),
            read(SearchKind::Subject, without)
        );
    }

    #[test]
    fn errors_name_the_field() {
        let resource = r#""resource":{"type":"d","id":"1"}"#;
        for (kind, body, expected) in [
            (SearchKind::Resource, "{}", "`subject` is missing"),
            (
                SearchKind::Action,
                r#"{"subject":{"type":"u"},"resource":{}}"#,
                "`subject.id` is missing",
            ),
            (
                SearchKind::Subject,
                r#"{"subject":{},"action":{"name":"r"}}"#,
                "`subject.type` is missing",
            ),
            (
                SearchKind::Action,
                &format!(
                    r#"{{"subject":{{"type":"u","id":"1"}},{resource},"page":{{"limit":0}}}}"#
                ),
                "`page.limit` must be a whole number of at least 1",
            ),
            (
                SearchKind::Action,
                r#"{"page":{"token":1}}"#,
                "`page.token` must be a string",
            ),
            (
                SearchKind::Action,
                r#"{"page":{"token":"t"},"context":{}}"#,
                "`subject` is missing",
            ),
        ] {
            assert_eq!(read(kind, body).unwrap_err(), expected, "{body}");
        }
    }
}
