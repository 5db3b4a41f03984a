//! Who acts for somebody else: the claim `act` (RFC 8693 section 4.1).

use std::iter;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who acts, and through which client. Whoever acted before stands inside: the outermost is the one
/// who acts now, and the only one that access control may look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub sub: String,
    pub client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

/// A token that another one was exchanged from: what voids it voids the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// As in [`crate::ActiveToken::token_ref`].
    pub token_ref: String,
    /// As in [`crate::ActiveToken::grant`].
    pub grant: String,
    /// The client that it was issued to. Empty: an older version did not say.
    #[serde(default)]
    pub client_id: String,
}

impl Actor {
    /// How many act, one for the other.
    pub fn count(&self) -> usize {
        iter::successors(Some(self), |actor| actor.act.as_deref()).count()
    }

    /// The value of the claim.
    pub fn claim(&self) -> Value {
        let mut claim = Map::new();
        claim.insert("sub".into(), self.sub.as_str().into());
        claim.insert("client_id".into(), self.client_id.as_str().into());
        if let Some(act) = &self.act {
            claim.insert("act".into(), act.claim());
        }
        Value::Object(claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_is_what_is_read_back() {
        let first = Actor {
            sub: "orders".into(),
            client_id: "orders".into(),
            act: None,
        };
        let second = Actor {
            sub: "sam".into(),
            client_id: "desk".into(),
            act: Some(Box::new(first.clone())),
        };
        assert_eq!((first.count(), second.count()), (1, 2));
        for actor in [first, second] {
            let claim = actor.claim();
            assert_eq!(claim, serde_json::to_value(&actor).unwrap());
            assert_eq!(serde_json::from_value::<Actor>(claim).unwrap(), actor);
        }
    }
}
