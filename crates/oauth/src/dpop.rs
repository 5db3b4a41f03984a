//! DPoP proofs (RFC 9449 section 4): whoever sends a request shows that it has a key. Read, verified
//! and held against the request; whether a proof was used before, whoever keeps that has to say.

mod nonces;

use std::time::Duration;

use http::{HeaderMap, Method};
use jose::{Accepted, Algorithm, Embedded, Fault};
use serde_json::Value;
use url::Url;

pub use nonces::DpopNonces;

/// A proof whose signature holds.
#[derive(Debug)]
pub struct DpopProof {
    /// Names the key (RFC 7638).
    thumbprint: String,
    id: String,
    method: String,
    url: String,
    /// Unix seconds.
    made: u64,
    /// Of the access token beside it.
    token_hash: Option<String>,
    nonce: Option<String>,
}

/// The request that a proof is to be of.
#[derive(Debug, Clone, Copy)]
pub struct DpopRequest<'a> {
    pub method: &'a Method,
    /// As clients write it; query and fragment do not count.
    pub url: &'a str,
    /// The access token that the request brings, where it goes to a resource.
    pub access_token: Option<&'a str>,
}

/// Why a proof proves nothing. For the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DpopFault {
    #[error("there is more than one DPoP header")]
    Several,
    #[error("the DPoP header is not ASCII")]
    NotText,
    #[error("the proof: {0}")]
    Jws(#[from] Fault),
    #[error("the proof's `{0}` is missing, or of another type")]
    Claim(&'static str),
    #[error("the proof's `jti` is too long")]
    LongId,
    #[error("the proof is of another method")]
    Method,
    #[error("the proof is of another URL")]
    Url,
    #[error("the proof is too old, or of the future")]
    Age,
    #[error("the proof is not of this access token")]
    Token,
}

/// In a request: the proof.
pub const DPOP: &str = "dpop";

/// In an answer: what the next proof is to repeat (RFC 9449 section 8).
pub const DPOP_NONCE: &str = "dpop-nonce";

const TYPES: Accepted = Accepted {
    types: &["dpop+jwt"],
    untyped: false,
};

/// A proof may be so much older than our clock, or younger.
const WINDOW: Duration = Duration::from_mins(1);

const LONGEST_ID: usize = 255;

impl DpopProof {
    /// The proof of a request; none where there is no such header.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, DpopFault> {
        let mut values = headers.get_all(DPOP).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(DpopFault::Several);
        }
        let text = value.to_str().map_err(|_| DpopFault::NotText)?;
        Self::read(text).map(Some)
    }

    fn read(text: &str) -> Result<Self, DpopFault> {
        let Embedded { thumbprint, claims } = Embedded::verify(text, TYPES)?;
        let required = |name: &'static str| {
            let value = claims.get(name).and_then(Value::as_str);
            value.map(str::to_owned).ok_or(DpopFault::Claim(name))
        };
        let optional = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(DpopFault::Claim(name)),
        };
        let id = required("jti")?;
        if id.is_empty() || id.len() > LONGEST_ID {
            return Err(DpopFault::LongId);
        }
        let made = claims.get("iat").and_then(Value::as_u64);
        Ok(Self {
            thumbprint,
            id,
            method: required("htm")?,
            url: required("htu")?,
            made: made.ok_or(DpopFault::Claim("iat"))?,
            token_hash: optional("ath")?,
            nonce: optional("nonce")?,
        })
    }

    /// Whether it is of this request, and made now (RFC 9449 section 4.3). `now` is in Unix seconds.
    pub fn check(&self, request: &DpopRequest<'_>, now: u64) -> Result<(), DpopFault> {
        if self.method != request.method.as_str() {
            return Err(DpopFault::Method);
        }
        let (own, asked) = (place(&self.url), place(request.url));
        if own.is_none() || own != asked {
            return Err(DpopFault::Url);
        }
        if self.made.abs_diff(now) > WINDOW.as_secs() {
            return Err(DpopFault::Age);
        }
        match request.access_token {
            Some(token) if self.token_hash.as_deref() != Some(&token_hash(token)) => {
                Err(DpopFault::Token)
            }
            _ => Ok(()),
        }
    }

    /// Names the key that made it.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The key names it by this; good once.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// From when on it would be refused for its age. Unix seconds.
    pub fn end(&self) -> u64 {
        self.made.saturating_add(WINDOW.as_secs() + 1)
    }

    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }
}

/// Algorithms of proofs, as metadata and challenges name them.
pub fn dpop_algorithms() -> [&'static str; 5] {
    Algorithm::ALL.map(Algorithm::name)
}

/// `ath` (RFC 9449 section 4.2).
fn token_hash(token: &str) -> String {
    jose::sha256_base64url(token.as_bytes())
}

/// Scheme, host, port and path of a URL in one spelling (RFC 3986 section 6.2).
fn place(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.username().is_empty()
            && url.password().is_none()
    })?;
    let host = url.host_str()?;
    let port = url.port_or_known_default()?;
    let mut place = format!("{}://{host}:{port}", url.scheme());
    let mut rest = url.path();
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at_checked(at)?;
        place.push_str(before);
        let (escape, after) = escape.split_at_checked(3)?;
        let byte = u8::from_str_radix(escape.get(1..)?, 16).ok()?;
        // An unreserved character means the same in both spellings.
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            place.push(char::from(byte));
        } else {
            place.push_str(&escape.to_ascii_uppercase());
        }
        rest = after;
    }
    place.push_str(rest);
    Some(place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9449 section 7.1: the proof at a resource.
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const MADE: u64 = 1_562_262_618;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(DPOP, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_proof_of_the_rfc_is_of_its_request_and_of_no_other() {
        let proof = DpopProof::of(&headers(&[PROOF])).unwrap().unwrap();
        let request = DpopRequest {
            method: &Method::GET,
            url: "https://resource.example.org/protectedresource",
            access_token: Some(TOKEN),
        };
        assert_eq!(proof.check(&request, MADE), Ok(()));
        for url in [
            "HTTPS://RESOURCE.example.org:443/protectedresource?a=b#c",
            "https://resource.example.org/x/../%70rotectedresource",
        ] {
            assert_eq!(proof.check(&DpopRequest { url, ..request }, MADE), Ok(()));
        }
        for url in [
            "http://resource.example.org/protectedresource",
            "https://resource.example.org:444/protectedresource",
            "https://resource.example.org/protectedresource/",
            "https://resource.example.org/Protectedresource",
            "https://resource.example.org/protectedresource%2F",
            "https://x@resource.example.org/protectedresource",
            "/protectedresource",
        ] {
            let refused = proof.check(&DpopRequest { url, ..request }, MADE);
            assert_eq!(refused, Err(DpopFault::Url), "{url}");
        }
        let other = DpopRequest {
            method: &Method::POST,
            ..request
        };
        assert_eq!(proof.check(&other, MADE), Err(DpopFault::Method));
        let other = DpopRequest {
            access_token: Some("x"),
            ..request
        };
        assert_eq!(proof.check(&other, MADE), Err(DpopFault::Token));
        for (now, is_good) in [
            (MADE - 60, true),
            (MADE + 60, true),
            (MADE - 61, false),
            (MADE + 61, false),
        ] {
            assert_eq!(proof.check(&request, now).is_ok(), is_good, "{now}");
            // What is remembered for so long is refused for its age after that.
            assert_eq!(now < proof.end() && now + 61 > MADE, is_good);
        }
    }

    #[test]
    fn none_is_no_fault_and_two_are() {
        assert!(DpopProof::of(&HeaderMap::new()).unwrap().is_none());
        let two = DpopProof::of(&headers(&[PROOF, PROOF])).unwrap_err();
        assert_eq!(two, DpopFault::Several);
        for damaged in [PROOF.split_at(PROOF.len() - 2).0, "", "a.b.c"] {
            assert!(DpopProof::of(&headers(&[damaged])).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_proof_of_which_a_character_is_another_is_none(
            at in 0..PROOF.len(),
            byte in prop::sample::select(&b"ABYZabyz0189-_.=+/ "[..]),
        ) {
            let mut changed = PROOF.as_bytes().to_vec();
            prop_assume!(changed[at] != byte);
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(DpopProof::of(&headers(&[&changed])).is_err());
        }

        #[test]
        fn whatever_strangers_send_is_an_answer(text in "[ -~]{0,64}(\\.[A-Za-z0-9_-]{0,64}){0,3}") {
            let _ = DpopProof::of(&headers(&[&text]));
            let _ = place(&text);
        }
    }

    #[test]
    fn places_have_one_spelling() {
        let same = |one: &str, other: &str| place(one).is_some() && place(one) == place(other);
        assert!(same(
            "https://a.example/%7eb%2f",
            "https://A.example:443/~b%2F"
        ));
        assert!(same("https://a.example", "https://a.example/"));
        assert!(!same("https://a.example/a%2Fb", "https://a.example/a/b"));
        for odd in [
            "https://a.example/%",
            "https://a.example/%4",
            "https://a.example/%zz",
            "mailto:a@b",
        ] {
            assert_eq!(place(odd), None, "{odd}");
        }
    }
}
