//! Many questions at once: defaults, per-entry overrides, and the three semantics.

use strict_json::{Arena, Json, Members};

use crate::asked::{Defaults, member};
use crate::{Asked, Decision, EvaluationRequest, RequestError};

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
#[derive(Debug)]
pub enum BatchBody<'a> {
    /// `evaluations` was absent or empty: behaves exactly as `evaluation`, to be read by [`Asked::of`].
    Single(Members<'a>),
    Many(Batch<'a>),
}

/// Many questions as they were read.
#[derive(Debug)]
pub struct Batch<'a> {
    pub semantic: Semantic,
    entries: &'a [Json<'a>],
    defaults: Defaults<'a>,
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

    fn of(body: &Members<'_>) -> Result<Self, RequestError> {
        let Some(options) = member(body, "options") else {
            return Ok(Self::ExecuteAll);
        };
        let Json::Object(options) = options else {
            return Err(RequestError::WrongType {
                field: "`options`".into(),
                expected: "an object",
            });
        };
        match member(options, "evaluations_semantic") {
            None => Ok(Self::ExecuteAll),
            Some(Json::Text(word)) => match *word {
                "execute_all" => Ok(Self::ExecuteAll),
                "deny_on_first_deny" => Ok(Self::DenyOnFirstDeny),
                "permit_on_first_permit" => Ok(Self::PermitOnFirstPermit),
                _ => Err(RequestError::UnknownSemantic {
                    value: (*word).to_owned(),
                }),
            },
            Some(_) => Err(RequestError::WrongType {
                field: "`options.evaluations_semantic`".into(),
                expected: "a string",
            }),
        }
    }
}

impl<'a> BatchBody<'a> {
    /// Reads the body of an `evaluations`.
    pub fn parse(body: &'a [u8], arena: &'a Arena) -> Result<Self, RequestError> {
        let body = Members::parse(body, arena).map_err(RequestError::Json)?;
        Self::of(body)
    }

    /// The same of a body that has been read.
    pub fn of(body: Members<'a>) -> Result<Self, RequestError> {
        let semantic = Semantic::of(&body)?;
        let entries: &[Json<'_>] = match member(&body, "evaluations") {
            None => &[],
            Some(Json::Array(entries)) => entries,
            Some(_) => {
                return Err(RequestError::WrongType {
                    field: "`evaluations`".into(),
                    expected: "an array",
                });
            }
        };
        if entries.is_empty() {
            return Ok(Self::Single(body));
        }
        Ok(Self::Many(Batch {
            semantic,
            entries,
            defaults: Defaults::of(&body)?,
        }))
    }
}

impl<'a> Batch<'a> {
    /// In request order, with the defaults filled in: a complete entity replaces the default whole,
    /// one that lacks an identifying key (`type`, `id`, `name`) takes just that key from it.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Result<Asked<'a>, RequestError>> {
        self.entries.iter().map(|entry| match entry {
            Json::Object(entry) => Asked::with_defaults(entry, &self.defaults),
            _ => Err(RequestError::WrongType {
                field: "an entry of `evaluations`".into(),
                expected: "an object",
            }),
        })
    }

    /// The same with a life of its own.
    pub fn to_request(&self) -> EvaluationsRequest {
        let kept = |entry: Result<Asked<'_>, RequestError>| entry.map(Asked::to_request);
        EvaluationsRequest {
            entries: self.entries().map(kept).collect(),
            semantic: self.semantic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(body: &str) -> Vec<Result<EvaluationRequest, RequestError>> {
        match BatchBody::parse(body.as_bytes(), &Arena::new()).unwrap() {
            BatchBody::Many(many) => many.to_request().entries,
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
            BatchBody::parse(body.as_bytes(), &Arena::new()),
            Ok(BatchBody::Single(_))
        ));
    }

    #[test]
    fn an_unknown_semantic_is_refused() {
        let body = r#"{"evaluations":[{}],"options":{"evaluations_semantic":"some"}}"#;
        assert!(matches!(
            BatchBody::parse(body.as_bytes(), &Arena::new()),
            Err(RequestError::UnknownSemantic { .. })
        ));
    }
}
