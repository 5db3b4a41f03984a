//! The answer: a [`Decision`], and the context that says why and what must be done with it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{CacheAdvice, Properties, cache_advice};

/// Permit or deny. Not knowing is neither: it is a [`crate::DecisionError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    Permit,
    Deny,
}

/// Answer to one question: `{"decision": bool, "context": {…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub decision: Decision,
    #[serde(default, skip_serializing_if = "DecisionContext::is_empty")]
    pub context: DecisionContext,
}

/// What travels beside a decision. Members of other decision points land in `other`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DecisionContext {
    /// Names the decision-log record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The determining policies; empty for a deny by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// What the PEP must do. One that it does not understand turns a permit into a deny.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<Obligation>,
    /// What the PEP may do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<Value>,
    /// Why a well-formed question could not be permitted (unknown type, failing entry …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// The policy snapshot that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotVersion>,
    /// How the answer may be remembered.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "cache_advice::lenient"
    )]
    pub cache: Option<CacheAdvice>,
    #[serde(flatten)]
    pub other: Properties,
}

/// A policy that determined the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The policy's `@id`.
    pub policy: String,
    /// Its `@reason`, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// AuthZEN obligations profile: `{id, type, properties}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligation {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    pub properties: Properties,
}

/// Which immutable set of schema, policies and entities decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotVersion {
    /// Content hash: equal versions decide equally.
    pub version: String,
    /// Counts the swaps of one process; says nothing across processes.
    pub epoch: u64,
    /// Counts the changes of entities that were written while the decision point runs. The same
    /// for every process that shares them; 0 where there were none.
    #[serde(default)]
    pub revision: u64,
}

/// Record of the event log that says which answers are no longer to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PolicyEvent {
    /// Some decision point swapped its snapshot: every cached decision is void.
    PolicyChanged { version: String, epoch: u64 },
}

impl Decision {
    pub fn is_permit(self) -> bool {
        self == Self::Permit
    }
}

impl Evaluation {
    pub fn permit() -> Self {
        Self {
            decision: Decision::Permit,
            context: DecisionContext::default(),
        }
    }

    pub fn deny() -> Self {
        Self {
            decision: Decision::Deny,
            context: DecisionContext::default(),
        }
    }

    /// The answer to an entry that is no question: a deny that says what was wrong.
    pub fn refused(message: &str) -> Self {
        Self {
            decision: Decision::Deny,
            context: DecisionContext {
                error: Some(json!({ "status": 400, "message": message })),
                ..DecisionContext::default()
            },
        }
    }
}

impl DecisionContext {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for Decision {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.is_permit())
    }
}

impl<'de> Deserialize<'de> for Decision {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Strictly a boolean: `"true"` or `1` from a decision point is not a permit.
        bool::deserialize(deserializer).map(|yes| if yes { Self::Permit } else { Self::Deny })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_boolean_true_is_a_permit() {
        for (body, expected) in [
            (r#"{"decision":true}"#, Some(Decision::Permit)),
            (
                r#"{"decision":false,"context":{"foo":1}}"#,
                Some(Decision::Deny),
            ),
            (r#"{"decision":"true"}"#, None),
            (r#"{"decision":1}"#, None),
            ("{}", None),
        ] {
            let actual = serde_json::from_str::<Evaluation>(body)
                .ok()
                .map(|e| e.decision);
            assert_eq!(actual, expected, "{body}");
        }
    }
}
