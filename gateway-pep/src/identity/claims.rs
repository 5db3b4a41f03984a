//! What somebody says of a token: a JWT's claims, or an introspection answer's members. Read by type;
//! one of the wrong type is never taken for one that is missing.

use std::collections::BTreeMap;

use oauth::{Confirmation, Scope};
use serde_json::Value;
use service_kit::UnixTime;
use strict_json::Properties;

use super::fault::TokenFault;

/// See the module. Only of a token whose signature has held, or of an answer to our own question.
#[derive(Debug)]
pub(super) struct Claims(Properties);

/// What an audience must be, and how that is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Audience<'a> {
    /// Any of these will do. Empty: `resource` alone.
    pub(super) named: &'a [String],
    pub(super) resource: &'a str,
}

impl Claims {
    pub(super) fn new(claims: Properties) -> Self {
        Self(claims)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, TokenFault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if is_name(text) => Ok(Some(text)),
            Some(_) => Err(TokenFault::Claim(name)),
        }
    }

    /// By a name that configuration gives, or a JSON pointer. `null` is nothing.
    pub(super) fn find(&self, claim: &str) -> Option<&Value> {
        let found = match claim.strip_prefix('/') {
            None => self.0.get(claim),
            Some(path) => {
                let mut parts = path.split('/').map(unescape);
                let first = self.0.get(&parts.next()?)?;
                parts.try_fold(first, |at, part| match at {
                    Value::Object(members) => members.get(&part),
                    _ => None,
                })
            }
        };
        found.filter(|value| !value.is_null())
    }

    /// A name at a place that configuration gives.
    pub(super) fn named(&self, claim: &str, key: &'static str) -> Result<Option<&str>, TokenFault> {
        match self.find(claim) {
            None => Ok(None),
            Some(Value::String(text)) if is_name(text) => Ok(Some(text)),
            Some(_) => Err(TokenFault::Mapped(key)),
        }
    }

    /// A scope: a text, or a list of texts as some issuers have it.
    pub(super) fn scope(&self, claim: &str) -> Result<Scope, TokenFault> {
        let wrong = TokenFault::Mapped("scope_claim");
        let text = match self.find(claim) {
            None => return Ok(Scope::empty()),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                texts.ok_or(wrong)?.join(" ")
            }
            Some(_) => return Err(wrong),
        };
        Scope::parse(&text).map_err(|_| wrong)
    }

    /// Names, such as `amr`.
    pub(super) fn names(&self, name: &'static str) -> Result<Vec<String>, TokenFault> {
        let wrong = TokenFault::Claim(name);
        match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or(wrong))
                .collect(),
            Some(_) => Err(wrong),
        }
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Option<UnixTime>, TokenFault> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let time = UnixTime::of_numeric_date(value);
        time.map(Some).ok_or(TokenFault::Claim(name))
    }

    /// Fails where they begin to hold later than `latest`.
    pub(super) fn have_begun(&self, latest: UnixTime) -> Result<(), TokenFault> {
        for begins in [self.time("nbf")?, self.time("iat")?] {
            if begins.is_some_and(|begins| begins > latest) {
                return Err(TokenFault::NotYet);
            }
        }
        Ok(())
    }

    /// Whether they are for one of these. None: they do not say for whom.
    pub(super) fn are_for(&self, wanted: Audience<'_>) -> Result<Option<bool>, TokenFault> {
        let is_wanted = |own: &str| match wanted.named {
            [] => own == wanted.resource,
            named => named.iter().any(|name| name == own),
        };
        match self.0.get("aud") {
            None => Ok(None),
            Some(Value::String(own)) => Ok(Some(is_wanted(own))),
            Some(Value::Array(own)) if own.iter().all(Value::is_string) => {
                let mut names = own.iter().filter_map(Value::as_str);
                Ok(Some(names.any(is_wanted)))
            }
            Some(_) => Err(TokenFault::Claim("aud")),
        }
    }

    /// `cnf` (RFC 7800): exactly one thing that is known here, or nothing at all.
    ///
    /// SECURITY: what is bound in a way that is not understood is bound all the same.
    pub(super) fn confirmation(&self) -> Result<Option<Confirmation>, TokenFault> {
        let confirmation = match self.0.get("cnf") {
            None => return Ok(None),
            Some(Value::Object(members)) if members.len() == 1 => members,
            Some(_) => return Err(TokenFault::Confirmation),
        };
        let text = |name: &str| confirmation.get(name).and_then(Value::as_str);
        match (text("jkt"), text("x5t#S256")) {
            (Some(key), None) => Ok(Some(Confirmation::DpopKey(key.to_owned()))),
            (None, Some(hash)) => Ok(Some(Confirmation::Certificate(hash.to_owned()))),
            _ => Err(TokenFault::Confirmation),
        }
    }

    /// Whether each of these is there, with a good value; of a list, one good item will do.
    pub(super) fn meet(&self, required: &BTreeMap<String, Vec<Value>>) -> bool {
        required.iter().all(|(claim, good)| {
            self.find(claim).is_some_and(|found| match found {
                Value::Array(items) => items.iter().any(|item| good.contains(item)),
                single => good.contains(single),
            })
        })
    }
}

/// Longer names are not taken. Bytes.
const LONGEST_NAME: usize = 255;

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

/// RFC 6901 section 4.
fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(members) = value else {
            panic!("an object");
        };
        Claims::new(members)
    }

    #[test]
    fn one_audience_of_several_will_do_and_none_is_told_from_a_wrong_one() {
        let named = ["https://a".to_owned(), "https://b".to_owned()];
        let any = Audience {
            named: &named,
            resource: "https://r",
        };
        let own = Audience { named: &[], ..any };
        for (said, by_any, by_own) in [
            (json!("https://a"), Some(true), Some(false)),
            (json!(["x", "https://b"]), Some(true), Some(false)),
            (json!("https://r"), Some(false), Some(true)),
            (json!([]), Some(false), Some(false)),
            (json!("https://a/"), Some(false), Some(false)),
        ] {
            let claims = claims(json!({ "aud": said }));
            assert_eq!(claims.are_for(any), Ok(by_any), "{said}");
            assert_eq!(claims.are_for(own), Ok(by_own), "{said}");
        }
        assert_eq!(claims(json!({})).are_for(any), Ok(None));
        for wrong in [json!(1), json!(null), json!(["https://a", 1])] {
            let claims = claims(json!({ "aud": wrong }));
            assert_eq!(claims.are_for(any), Err(TokenFault::Claim("aud")));
        }
    }

    #[test]
    fn what_a_token_is_bound_to_is_understood_whole_or_it_is_refused() {
        let bound = |cnf: Value| claims(json!({ "cnf": cnf })).confirmation();
        assert_eq!(claims(json!({})).confirmation(), Ok(None));
        let key = Confirmation::DpopKey("k".into());
        assert_eq!(bound(json!({ "jkt": "k" })), Ok(Some(key)));
        let certificate = Confirmation::Certificate("c".into());
        assert_eq!(bound(json!({ "x5t#S256": "c" })), Ok(Some(certificate)));
        for wrong in [
            json!(null),
            json!({}),
            json!("k"),
            json!({ "jkt": 1 }),
            json!({ "jkt": "k", "x5t#S256": "c" }),
            json!({ "jkt": "k", "kid": "x" }),
            json!({ "jwk": {} }),
        ] {
            assert_eq!(
                bound(wrong.clone()),
                Err(TokenFault::Confirmation),
                "{wrong}"
            );
        }
    }

    #[test]
    fn claims_are_found_by_name_or_by_pointer_and_required_ones_have_a_good_value() {
        let claims = claims(json!({
            "groups": ["a", "b"], "n": null, "realm": { "roles": ["x"], "a/b": 1 }, "/x": 2,
        }));
        assert_eq!(claims.find("/realm/roles"), Some(&json!(["x"])));
        assert_eq!(claims.find("/realm/a~1b"), Some(&json!(1)));
        assert_eq!(claims.find("/realm/roles/0"), None);
        assert_eq!((claims.find("n"), claims.find("/x")), (None, None));
        let required = |claim: &str, good: Value| {
            let all = [(claim.to_owned(), good.as_array().unwrap().clone())];
            claims.meet(&all.into_iter().collect())
        };
        assert!(required("groups", json!(["b", "c"])));
        assert!(required("/realm/a~1b", json!([1])));
        assert!(!required("groups", json!(["c"])));
        assert!(!required("n", json!([null])));
        assert!(!required("other", json!([true])));
    }

    #[test]
    fn times_may_have_fractions_and_nothing_else_is_a_time() {
        let at = |value: Value| claims(json!({ "exp": value })).time("exp");
        assert_eq!(at(json!(5)), Ok(Some(UnixTime::from_secs(5))));
        assert_eq!(at(json!(5.5)), Ok(Some(UnixTime::from_millis(5500))));
        for wrong in [json!("5"), json!(-1), json!(null), json!(1e300), json!([5])] {
            assert_eq!(at(wrong.clone()), Err(TokenFault::Claim("exp")), "{wrong}");
        }
    }
}
