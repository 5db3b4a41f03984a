//! Any `Authorization` fields and, in the first line, any query: there is one token or none, exactly as it
//! was sent, and no second one hides in the query.
#![no_main]

use gateway_pep::fuzzing::{credential, has_credential};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use oauth::OpaqueToken;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    if let Ok(query) = std::str::from_utf8(lines.next().unwrap_or_default()) {
        let hides_one =
            url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token");
        assert_eq!(has_credential(query), hides_one, "{query}");
    }
    let fields: Vec<&[u8]> = lines.collect();
    let mut headers = HeaderMap::new();
    for field in &fields {
        let Ok(value) = HeaderValue::from_bytes(field) else {
            return;
        };
        headers.append(AUTHORIZATION, value);
    }
    for takes_proofs in [false, true] {
        let found = credential(&headers, takes_proofs);
        match expected(&fields, takes_proofs) {
            Some(one) => assert_eq!(found, Ok(one)),
            None => assert!(found.is_err(), "{found:?}"),
        }
        if let Ok((_, token)) = found {
            let text = std::str::from_utf8(&token).expect("ASCII");
            // No JWT is taken for one of ours, and none of ours for a JWT.
            assert!(OpaqueToken::parse(text).is_err() || !jose::is_like_one(text));
        }
    }
});

/// RFC 6750 section 2.1, the slow way.
fn expected(fields: &[&[u8]], takes_proofs: bool) -> Option<(bool, Vec<u8>)> {
    let [field] = fields else {
        return None;
    };
    let field = std::str::from_utf8(field).ok()?;
    let (scheme, token) = field.split_once(' ')?;
    let is_proven = match &*scheme.to_ascii_lowercase() {
        "bearer" => false,
        "dpop" if takes_proofs => true,
        _ => return None,
    };
    let token = token.trim_matches([' ', '\t']);
    let is_part = |it: char| it.is_ascii_alphanumeric() || "-._~+/=".contains(it);
    let is_one = !token.is_empty() && token.chars().all(is_part);
    is_one.then(|| (is_proven, token.as_bytes().to_vec()))
}
