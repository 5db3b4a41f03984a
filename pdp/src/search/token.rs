//! Page tokens: sealed, so that they say nothing to whoever holds them and cannot be made or
//! changed; bound to the question that they continue and to the caller that asked it; and short-lived.

use std::fmt;
use std::path::Path;

use authzen::{Properties, SearchKind, SearchQuestion, SearchRequest};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use service_kit::{ConfigIssue, Secret, UnixTime, random};
use strict_json::{Arena, Members};

use crate::PdpConfig;

/// Seals and opens page tokens.
pub(crate) struct PageTokens(RandomizedNonceKey);

/// Where a search goes on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) question: SearchQuestion,
    pub(crate) limit: usize,
    /// The id or name after which to go on.
    pub(crate) after: String,
}

/// Whose tokens they are: a caller's, by its name, or anybody's where no callers are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder<'a>(pub(crate) Option<&'a str>);

impl Holder<'_> {
    /// What the seal is bound to.
    fn bound(self) -> Vec<u8> {
        match self.0 {
            None => PURPOSE.to_vec(),
            Some(name) => [PURPOSE, b"\0", name.as_bytes()].concat(),
        }
    }
}

/// Why a token does not continue a request. One text for all that is wrong with the token
/// itself: whoever makes tokens up learns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("`page.token` is not valid or has expired; begin the search again")]
    Invalid,
    #[error("`page.token` belongs to another search; repeat its question or leave it out")]
    OtherQuestion,
    #[error("`page.limit` must not change from page to page")]
    OtherLimit,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    kind: String,
    question: Properties,
    limit: usize,
    after: String,
    /// Seconds since 1970.
    expires: u64,
}

/// A token is good for this long. Seconds.
const LIFETIME: u64 = 15 * 60;

/// What the sealed bytes are for: nothing else that is sealed passes for a page token.
const PURPOSE: &[u8] = b"cedargate page token v1";

impl PageTokens {
    /// A key from the configuration, for many processes that continue each other's searches; or
    /// else one of this process alone.
    pub(crate) fn new(config: &PdpConfig, base: &Path) -> Result<Self, ConfigIssue> {
        let given = config.page_token_secret.is_some() || config.page_token_secret_file.is_some();
        let key = if given {
            let secret = Secret::from_config(
                "page_token_secret",
                config.page_token_secret.clone(),
                config.page_token_secret_file.as_ref(),
                base,
            )
            .map_err(|issue| issue.within("pdp"))?;
            if secret.reveal().len() < 32 {
                return Err(ConfigIssue::new("`pdp.page_token_secret` is too short")
                    .hint("use at least 32 characters, such as of `openssl rand -base64 32`"));
            }
            let labelled = [PURPOSE, b"\0", secret.reveal().as_bytes()].concat();
            digest(&SHA256, &labelled).as_ref().to_vec()
        } else {
            random::bytes::<32>()
                .map_err(|error| ConfigIssue::new(error.to_string()))?
                .to_vec()
        };
        RandomizedNonceKey::new(&AES_256_GCM, &key)
            .map(Self)
            .map_err(|_| ConfigIssue::new("no key for page tokens can be made"))
    }

    /// Makes a token. `None` cannot happen with a working generator; without one there is no
    /// next page.
    pub(crate) fn seal(&self, place: &Place, holder: Holder<'_>, now: UnixTime) -> Option<String> {
        let serde_json::Value::Object(question) = serde_json::to_value(&place.question).ok()?
        else {
            return None;
        };
        let sealed = Sealed {
            kind: place.question.kind().as_str().to_owned(),
            question,
            limit: place.limit,
            after: place.after.clone(),
            expires: now.as_secs().saturating_add(LIFETIME),
        };
        let mut bytes = serde_json::to_vec(&sealed).ok()?;
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(holder.bound()), &mut bytes)
            .ok()?;
        let mut token = nonce.as_ref().to_vec();
        token.append(&mut bytes);
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// Opens the token of a request and holds the request to it.
    pub(crate) fn open(
        &self,
        request: &SearchRequest,
        token: &str,
        holder: Holder<'_>,
        now: UnixTime,
    ) -> Result<Place, TokenError> {
        let place = self
            .opened(request.kind, token, holder, now)
            .ok_or(TokenError::Invalid)?;
        if request
            .question
            .as_ref()
            .is_some_and(|question| *question != place.question)
        {
            return Err(TokenError::OtherQuestion);
        }
        if request.limit.is_some_and(|limit| limit != place.limit) {
            return Err(TokenError::OtherLimit);
        }
        Ok(place)
    }

    fn opened(
        &self,
        kind: SearchKind,
        token: &str,
        holder: Holder<'_>,
        now: UnixTime,
    ) -> Option<Place> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(holder.bound()), &mut sealed)
            .ok()?;
        let sealed: Sealed = serde_json::from_slice(plain).ok()?;
        if sealed.expires <= now.as_secs() || sealed.kind != kind.as_str() {
            return None;
        }
        let arena = Arena::new();
        let question = Members::lent(&sealed.question, &arena);
        Some(Place {
            question: SearchQuestion::of(kind, &question).ok()?,
            limit: sealed.limit,
            after: sealed.after,
        })
    }
}

impl fmt::Debug for PageTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PageTokens(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(body: &str) -> SearchRequest {
        SearchRequest::from_json(SearchKind::Resource, body.as_bytes()).unwrap()
    }

    const ANN: Holder<'static> = Holder(Some("ann"));

    const QUESTION: &str =
        r#""subject":{"type":"u","id":"1"},"action":{"name":"r"},"resource":{"type":"d"}"#;

    #[test]
    fn a_token_continues_its_own_search_and_no_other() {
        let tokens = PageTokens::new(&PdpConfig::default(), Path::new(".")).unwrap();
        let now = UnixTime::from_secs(1_700_000_000);
        let first = request(&format!("{{{QUESTION}}}"));
        let place = Place {
            question: first.question.clone().unwrap(),
            limit: 3,
            after: "d-17".into(),
        };
        let token = tokens.seal(&place, ANN, now).unwrap();
        let open = |body: &str, token: &str, now| tokens.open(&request(body), token, ANN, now);

        let bare = r#"{"page":{"token":"x"}}"#;
        let whole = format!(r#"{{{QUESTION},"page":{{"token":"x","limit":3}}}}"#);
        assert_eq!(open(bare, &token, now), Ok(place.clone()));
        assert_eq!(open(&whole, &token, now), Ok(place));
        let other = whole.replace(r#""id":"1""#, r#""id":"2""#);
        assert_eq!(open(&other, &token, now), Err(TokenError::OtherQuestion));
        let wider = whole.replace(r#""resource""#, r#""context":{"a":1},"resource""#);
        assert_eq!(open(&wider, &token, now), Err(TokenError::OtherQuestion));
        let longer = whole.replace(r#""limit":3"#, r#""limit":4"#);
        assert_eq!(open(&longer, &token, now), Err(TokenError::OtherLimit));

        let late = now.plus(Duration::from_secs(LIFETIME));
        assert_eq!(open(bare, &token, late), Err(TokenError::Invalid));
        let elsewhere = SearchRequest {
            kind: SearchKind::Subject,
            ..request(bare)
        };
        assert_eq!(
            tokens.open(&elsewhere, &token, ANN, now),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn a_token_is_its_callers_alone() {
        let tokens = PageTokens::new(&PdpConfig::default(), Path::new(".")).unwrap();
        let now = UnixTime::from_secs(1_700_000_000);
        let bare = request(r#"{"page":{"token":"x"}}"#);
        let place = Place {
            question: request(&format!("{{{QUESTION}}}")).question.unwrap(),
            limit: 3,
            after: "d-17".into(),
        };
        let holders = [Holder(None), Holder(Some("")), ANN, Holder(Some("ann2"))];
        for (of, holder) in holders.iter().enumerate() {
            let token = tokens.seal(&place, *holder, now).unwrap();
            for (by, other) in holders.iter().enumerate() {
                let opened = tokens.open(&bare, &token, *other, now);
                let expected = if of == by {
                    Ok(place.clone())
                } else {
                    Err(TokenError::Invalid)
                };
                assert_eq!(opened, expected, "{holder:?} {other:?}");
            }
        }
    }

    #[test]
    fn nothing_but_a_token_of_the_same_secret_is_opened() {
        let with = |secret: &str| {
            let config = PdpConfig {
                page_token_secret: Some(Secret::new(secret.to_owned())),
                ..PdpConfig::default()
            };
            PageTokens::new(&config, Path::new("."))
        };
        let now = UnixTime::from_secs(1_700_000_000);
        let place = Place {
            question: request(&format!("{{{QUESTION}}}")).question.unwrap(),
            limit: 1,
            after: "secret-record-name".into(),
        };
        let (one, other) = (
            with(&"a".repeat(32)).unwrap(),
            with(&"b".repeat(32)).unwrap(),
        );
        let token = one.seal(&place, ANN, now).unwrap();
        let bare = request(r#"{"page":{"token":"x"}}"#);
        assert!(
            with(&"a".repeat(32))
                .unwrap()
                .open(&bare, &token, ANN, now)
                .is_ok()
        );
        assert!(other.open(&bare, &token, ANN, now).is_err());
        assert!(with("short").is_err());
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(&changed);
            assert_eq!(
                one.open(&bare, &changed, ANN, now),
                Err(TokenError::Invalid)
            );
        }
        for made_up in ["", "x", "AAAA", "%", &"A".repeat(1000)] {
            assert_eq!(one.open(&bare, made_up, ANN, now), Err(TokenError::Invalid));
        }
    }
}
