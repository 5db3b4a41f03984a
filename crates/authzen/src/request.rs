//! One question ([`EvaluationRequest`]), read from JSON with errors that name the field.

use serde::Serialize;
use strict_json::{Arena, JsonError, Members};

use crate::{Action, Asked, Properties, Resource, Subject};

/// "May this subject do this action on this resource in this context?"
/// Body of `POST /access/v1/evaluation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvaluationRequest {
    pub subject: Subject,
    pub action: Action,
    pub resource: Resource,
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub context: Properties,
}

/// Why a body is not a question. The text names the field and is fit for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the body cannot be read: {0}")]
    Json(JsonError),
    #[error("`{field}` is missing")]
    Missing { field: String },
    #[error("{field} must be {expected}")]
    WrongType {
        field: String,
        expected: &'static str,
    },
    #[error(
        "`options.evaluations_semantic` is `{value}`; it must be `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`"
    )]
    UnknownSemantic { value: String },
    #[error("`{field}` cannot be used: {message}")]
    Unusable { field: String, message: String },
}

impl EvaluationRequest {
    /// Reads the body of an `evaluation`. Unknown members are ignored and `null` means absent.
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        let arena = Arena::new();
        let body = Members::parse(body, &arena).map_err(RequestError::Json)?;
        Ok(Asked::of(&body)?.to_request())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<(), &str>) {
        let actual = EvaluationRequest::from_json(body.as_bytes()).map(drop);
        assert_eq!(
            actual.map_err(|e| e.to_string()),
            expected.map_err(str::to_owned),
            "{body}"
        );
    }

    #[test]
    fn errors_name_the_field() {
        check(
            r#"{"subject":{"type":"u","id":"1"},"action":{"name":"r"},"resource":{"type":"d","id":"2"},"x":1,"context":null}"#,
            Ok(()),
        );
        check("{}", Err("`subject` is missing"));
        check(r#"{"subject":null}"#, Err("`subject` is missing"));
        check(
            r#"{"subject":[],"action":{},"resource":{}}"#,
            Err("`subject` must be an object"),
        );
        check(
            r#"{"subject":{"type":"u"},"action":{},"resource":{}}"#,
            Err("`subject.id` is missing"),
        );
        check(
            r#"{"subject":{"type":"u","id":7},"action":{},"resource":{}}"#,
            Err("`subject.id` must be a string"),
        );
        check(
            r#"{"subject":{"type":"u","id":"1"},"action":{"name":"r"},"resource":{"type":"d","id":"2"},"context":[]}"#,
            Err("`context` must be an object"),
        );
    }
}
