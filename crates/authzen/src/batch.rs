//! Many questions at once: defaults, per-entry overrides, and the three semantics.

use serde_json::Value;

use crate::json::parse_object;
use crate::request::member;
use crate::{Decision, EvaluationRequest, Properties, RequestError};

/// Body of `POST /access/v1/evaluations`, defaults already merged into each entry.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationsRequest {
    /// In request order. An entry that is incomplete keeps its place as an error, which is
    /// answered there with `decision: false` and does not fail the others.
    pub entries: Vec<Result<EvaluationRequest, RequestError>>,
    pub semantic: Semantic,
}

/// `options.evaluations_semantic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Semantic {
    /// Every entry is answered.
    #[default]
    ExecuteAll,
    /// The answers end with the first deny.
    DenyOnFirstDeny,
    /// The answers end with the first permit.
    PermitOnFirstPermit,
}

/// What a body sent to `evaluations` turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchBody {
    /// `evaluations` was absent or empty: behaves exactly as `evaluation`.
    Single(Box<EvaluationRequest>),
    Many(EvaluationsRequest),
}

impl Semantic {
    /// Whether the batch ends with an entry that was answered so.
    pub fn stops_at(self, decision: Decision) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => decision == Decision::Deny,
            Self::PermitOnFirstPermit => decision == Decision::Permit,
        }
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExecuteAll => "execute_all",
            Self::DenyOnFirstDeny => "deny_on_first_deny",
            Self::PermitOnFirstPermit => "permit_on_first_permit",
        }
    }

    fn from_object(body: &Properties) -> Result<Self, RequestError> {
        let Some(options) = member(body, "options") else {
            return Ok(Self::ExecuteAll);
        };
        let options = options.as_object().ok_or_else(|| RequestError::WrongType {
            field: "`options`".into(),
            expected: "an object",
        })?;
        match member(options, "evaluations_semantic") {
            None => Ok(Self::ExecuteAll),
            Some(Value::String(word)) => match word.as_str() {
                "execute_all" => Ok(Self::ExecuteAll),
                "deny_on_first_deny" => Ok(Self::DenyOnFirstDeny),
                "permit_on_first_permit" => Ok(Self::PermitOnFirstPermit),
                _ => Err(RequestError::UnknownSemantic {
                    value: word.clone(),
                }),
            },
            Some(_) => Err(RequestError::WrongType {
                field: "`options.evaluations_semantic`".into(),
                expected: "a string",
            }),
        }
    }
}

impl BatchBody {
    /// Reads the body of an `evaluations`.
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        let mut body = parse_object(body)?;
        let semantic = Semantic::from_object(&body)?;
        let entries = match body.get_mut("evaluations").map(Value::take) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => {
                return Err(RequestError::WrongType {
                    field: "`evaluations`".into(),
                    expected: "an array",
                });
            }
        };
        if entries.is_empty() {
            let only = EvaluationRequest::from_object(body)?;
            return Ok(Self::Single(Box::new(only)));
        }
        for name in ["subject", "action", "resource", "context"] {
            if member(&body, name).is_some_and(|value| !value.is_object()) {
                return Err(RequestError::WrongType {
                    field: format!("`{name}`"),
                    expected: "an object",
                });
            }
        }
        let entries = entries.into_iter().map(|entry| merged(&body, entry));
        let entries = entries.collect();
        Ok(Self::Many(EvaluationsRequest { entries, semantic }))
    }
}

/// One entry with the defaults filled in: a complete entity replaces the default whole, one
/// that lacks an identifying key (`type`, `id`, `name`) takes just that key from the default.
fn merged(defaults: &Properties, entry: Value) -> Result<EvaluationRequest, RequestError> {
    let Value::Object(mut entry) = entry else {
        return Err(RequestError::WrongType {
            field: "an entry of `evaluations`".into(),
            expected: "an object",
        });
    };
    let subject = entity(defaults, &mut entry, "subject", &["type", "id"]);
    let action = entity(defaults, &mut entry, "action", &["name"]);
    let resource = entity(defaults, &mut entry, "resource", &["type", "id"]);
    let context = own(&mut entry, "context").or_else(|| member(defaults, "context").cloned());
    EvaluationRequest::from_parts(subject, action, resource, context)
}

fn own(entry: &mut Properties, name: &str) -> Option<Value> {
    let own = entry.get_mut(name).map(Value::take)?;
    Some(own).filter(|own| !own.is_null())
}

fn entity(
    defaults: &Properties,
    entry: &mut Properties,
    name: &str,
    keys: &[&str],
) -> Option<Value> {
    let default = member(defaults, name);
    let Some(mut own) = own(entry, name) else {
        return default.cloned();
    };
    if let (Some(members), Some(default)) =
        (own.as_object_mut(), default.and_then(Value::as_object))
    {
        for key in keys {
            if member(members, key).is_none()
                && let Some(value) = member(default, key)
            {
                members.insert((*key).to_owned(), value.clone());
            }
        }
    }
    Some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(body: &str) -> Vec<Result<EvaluationRequest, RequestError>> {
        match BatchBody::from_json(body.as_bytes()).unwrap() {
            BatchBody::Many(many) => many.entries,
            BatchBody::Single(_) => panic!("one entry"),
        }
    }

    #[test]
    fn a_complete_entity_replaces_the_default_whole_and_a_partial_one_takes_the_missing_key() {
        let entries = entries(
            r#"{"subject":{"type":"u","id":"1","properties":{"a":1}},"action":{"name":"read"},
                "resource":{"type":"doc"},
                "evaluations":[{"resource":{"id":"7"}},{"subject":{"type":"u","id":"2"},"resource":{"id":"8"}},{}]}"#,
        );
        let first = entries[0].as_ref().unwrap();
        assert_eq!(
            (first.resource.kind.as_str(), first.resource.id.as_str()),
            ("doc", "7")
        );
        assert_eq!(first.subject.properties.len(), 1);
        assert!(entries[1].as_ref().unwrap().subject.properties.is_empty());
        assert_eq!(
            entries[2].as_ref().unwrap_err().to_string(),
            "`resource.id` is missing"
        );
    }

    #[test]
    fn an_absent_or_empty_array_is_a_single_evaluation() {
        let body = r#"{"subject":{"type":"u","id":"1"},"action":{"name":"r"},"resource":{"type":"d","id":"2"},"evaluations":[]}"#;
        assert!(matches!(
            BatchBody::from_json(body.as_bytes()),
            Ok(BatchBody::Single(_))
        ));
    }

    #[test]
    fn an_unknown_semantic_is_refused() {
        let body = r#"{"evaluations":[{}],"options":{"evaluations_semantic":"some"}}"#;
        assert!(matches!(
            BatchBody::from_json(body.as_bytes()),
            Err(RequestError::UnknownSemantic { .. })
        ));
    }
}
