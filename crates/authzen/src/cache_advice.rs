//! What a decision point says about remembering its answer (`context.cache`).

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// How an answer may be remembered, beyond "for exactly this question".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CacheAdvice {
    /// What the answer can depend on. Absent: everything.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "shown",
        deserialize_with = "shared"
    )]
    pub vary: Option<Arc<Vary>>,
    /// For how many seconds the answer holds at most. Absent: as long as its snapshot decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
}

/// The members of a question that an answer can depend on, besides types, ids and the action's
/// name. Two questions that agree on those get the same decision from the same snapshot. Every
/// list is required: one that is left out must not pass for an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vary {
    /// Of `subject.properties`.
    pub subject: Vec<String>,
    /// Of `action.properties`.
    pub action: Vec<String>,
    /// Of `resource.properties`.
    pub resource: Vec<String>,
    /// Of `context`.
    pub context: Vec<String>,
}

#[expect(clippy::ref_option, reason = "serde asks for this signature")]
fn shown<S: Serializer>(vary: &Option<Arc<Vary>>, serializer: S) -> Result<S::Ok, S::Error> {
    vary.as_deref().serialize(serializer)
}

fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Vary>>, D::Error> {
    Ok(Option::<Vary>::deserialize(deserializer)?.map(Arc::new))
}

/// Advice that is not understood is no reason to lose the answer, but the answer is then not to
/// be remembered at all.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<CacheAdvice>, D::Error> {
    let advice = Option::<Value>::deserialize(deserializer)?;
    Ok(advice.map(|advice| {
        serde_json::from_value(advice).unwrap_or(CacheAdvice {
            vary: None,
            max_age: Some(0),
        })
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::DecisionContext;

    fn read(cache: &Value) -> Option<CacheAdvice> {
        let context = json!({ "cache": cache });
        serde_json::from_value::<DecisionContext>(context)
            .unwrap()
            .cache
    }

    #[test]
    fn what_is_not_understood_is_not_remembered() {
        let vary = json!({ "subject": ["a"], "action": [], "resource": [], "context": ["b"] });
        let understood = read(&json!({ "vary": vary, "max_age": 7 })).unwrap();
        assert_eq!(understood.max_age, Some(7));
        assert_eq!(serde_json::to_value(&understood).unwrap()["vary"], vary);
        assert_eq!(read(&Value::Null), None);
        assert_eq!(read(&json!({})), Some(CacheAdvice::default()));
        for odd in [
            json!({ "vary": {} }),
            json!({ "vary": { "subject": [] } }),
            json!({ "vary": ["Accept"] }),
            json!({ "max_age": -1 }),
            json!("no-store"),
        ] {
            let advice = read(&odd).unwrap();
            assert_eq!((advice.vary, advice.max_age), (None, Some(0)), "{odd}");
        }
    }
}
