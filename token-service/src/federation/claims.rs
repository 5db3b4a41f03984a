//! What a provider says of somebody, read as its configuration says: by name, or by a pointer.

use serde_json::{Map, Value};

use crate::provider::{Fault, PROVIDER_ATTRIBUTE, Provider};

/// Claims that have been verified.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    /// Of the ID token, then of userinfo: the first that has a claim counts.
    documents: Vec<Value>,
}

/// What becomes of them.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) username: Option<String>,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) attributes: Map<String, Value>,
}

/// Longer names are not taken. Bytes.
const LONGEST_NAME: usize = 255;

/// All attributes together are not longer. Bytes: they travel with every question and in JWTs.
const LONGEST: usize = 8 << 10;

impl Claims {
    pub(super) fn of(id_token: Value, userinfo: Option<Value>) -> Self {
        Self {
            documents: [Some(id_token), userinfo].into_iter().flatten().collect(),
        }
    }

    /// By the provider's configuration.
    pub(super) fn map(&self, provider: &Provider) -> Result<Mapped, Fault> {
        let mapping = &provider.claims;
        let mut attributes = Map::new();
        for (attribute, claim) in &mapping.attributes {
            if let Some(value) = self.find(claim) {
                attributes.insert(attribute.clone(), value.clone());
            }
        }
        attributes.insert(PROVIDER_ATTRIBUTE.into(), provider.id.as_str().into());
        let length = serde_json::to_vec(&attributes).map_or(usize::MAX, |text| text.len());
        if length > LONGEST {
            return Err(Fault::Invalid("its claims are too long"));
        }
        Ok(Mapped {
            username: self.text(&mapping.username),
            name: self.text(&mapping.name),
            email: self.text(&mapping.email),
            attributes,
        })
    }

    /// Whether every claim that is required is there.
    pub(super) fn has_required(&self, provider: &Provider) -> bool {
        provider.require.iter().all(|(claim, good)| {
            let found = self.find(claim);
            found.is_some_and(|found| match found {
                Value::Array(items) => items.iter().any(|item| good.contains(item)),
                single => good.contains(single),
            })
        })
    }

    /// The address that the provider says it has verified: both said in one place.
    pub(super) fn verified_email(&self) -> Option<&str> {
        let verified = |document: &&Value| document.get("email_verified") == Some(&true.into());
        let document = self.documents.iter().find(verified)?;
        document.get("email")?.as_str().filter(|it| !it.is_empty())
    }

    fn text(&self, claim: &str) -> Option<String> {
        let text = self.find(claim)?.as_str()?;
        let is_good =
            !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control);
        is_good.then(|| text.to_owned())
    }

    fn find(&self, claim: &str) -> Option<&Value> {
        let in_one = |document| -> Option<&Value> {
            let document: &Value = document;
            let found = if claim.starts_with('/') {
                document.pointer(claim)
            } else {
                document.get(claim)
            };
            found.filter(|value| !value.is_null())
        };
        self.documents.iter().find_map(in_one)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_id_token_counts_first_and_pointers_reach_into_claims() {
        let claims = Claims::of(
            json!({ "sub": "1", "name": "A", "a": null, "realm": { "roles": ["x"] } }),
            Some(json!({ "sub": "1", "name": "B", "a": "b", "a/b": 1 })),
        );
        assert_eq!(claims.find("name"), Some(&json!("A")));
        assert_eq!(claims.find("a"), Some(&json!("b")));
        assert_eq!(claims.find("/realm/roles"), Some(&json!(["x"])));
        assert_eq!(claims.find("/realm/roles/0"), Some(&json!("x")));
        assert_eq!(claims.find("realm.roles"), None);
        assert_eq!(claims.find("a/b"), Some(&json!(1)));
    }

    #[test]
    fn an_address_counts_as_verified_only_beside_the_word_that_it_is() {
        let of = |id_token, userinfo| Claims::of(id_token, userinfo);
        let verified = json!({ "email": "a@x", "email_verified": true });
        assert_eq!(of(verified.clone(), None).verified_email(), Some("a@x"));
        for (id_token, userinfo) in [
            (json!({ "email": "a@x" }), None),
            (json!({ "email": "a@x", "email_verified": "true" }), None),
            (json!({ "email": "a@x", "email_verified": false }), None),
            // Two places, of which neither says both.
            (
                json!({ "email": "a@x" }),
                Some(json!({ "email_verified": true })),
            ),
        ] {
            assert_eq!(of(id_token, userinfo).verified_email(), None);
        }
        let other = of(json!({ "email": "b@x" }), Some(verified));
        assert_eq!(other.verified_email(), Some("a@x"));
    }

    #[test]
    fn nothing_that_is_no_name_is_taken_for_one() {
        let claims = Claims::of(json!({ "a": "x\ny", "b": "", "c": 1, "d": "é" }), None);
        for (claim, text) in [("a", None), ("b", None), ("c", None), ("d", Some("é"))] {
            assert_eq!(claims.text(claim).as_deref(), text);
        }
    }
}
