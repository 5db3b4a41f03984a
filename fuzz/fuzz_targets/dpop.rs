//! Any DPoP proof, as it is, signed or changed after that: one that is read was signed by the key in its
//! header, which it is named by, and one that fits a request is of this method, place, token and moment.
#![no_main]

use std::cell::LazyCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fuzz::{Signer, Way, opened, token_of};
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use oauth::{DPOP, DpopProof, DpopRequest};
use serde_json::Value;
use url::Url;

const NOW: u64 = 1_700_000_000;
const TOKEN: &str = "abc";
const PLACE: &str = "https://a.test/x/1";

thread_local! {
    static KEYS: LazyCell<(Signer, Signer)> = LazyCell::new(|| (Signer::new(1), Signer::new(2)));
}

// `KEY` in a header stands for the public key of whoever signs.
fuzz_target!(|input: &str| {
    KEYS.with(|keys| {
        let (own, other) = &**keys;
        let input = input.replace("\"KEY\"", &own.jwk().to_string());
        let Some((way, proof)) = token_of(&input, own, other) else {
            return;
        };
        let mut headers = HeaderMap::new();
        let Ok(value) = HeaderValue::from_str(&proof) else {
            return;
        };
        headers.append(DPOP, value.clone());
        let read = DpopProof::of(&headers);
        let Ok(Some(read)) = read else {
            return;
        };
        headers.append(DPOP, value);
        assert!(DpopProof::of(&headers).is_err());
        check(&read, &proof, way);
    });
});

fn check(read: &DpopProof, proof: &str, way: Way) {
    // Whoever brings a key of their own is somebody, but not who somebody else is.
    assert_ne!(way, Way::Changed);
    let header = proof.split('.').next().expect("a header");
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64")).expect("JSON");
    assert_eq!(
        header["typ"]
            .as_str()
            .expect("typ")
            .to_ascii_lowercase()
            .trim_start_matches("application/"),
        "dpop+jwt"
    );
    let jwk = &header["jwk"];
    for private in ["d", "k", "p", "q"] {
        assert!(jwk.get(private).is_none());
    }
    if jwk["crv"] == "Ed25519" {
        let x = jwk["x"].as_str().expect("x");
        let key = URL_SAFE_NO_PAD.decode(x).expect("base64");
        let (_, claims) = opened(proof, &key).expect("a signature that holds");
        let named = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        assert_eq!(read.thumbprint(), jose::sha256_base64url(named.as_bytes()));
        assert_eq!(claims["jti"], read.id());
        let request = DpopRequest {
            method: &Method::GET,
            url: PLACE,
            access_token: Some(TOKEN),
        };
        if read.check(&request, NOW).is_err() {
            return;
        }
        assert_eq!(claims["htm"], "GET");
        assert_eq!(claims["ath"], jose::sha256_base64url(TOKEN.as_bytes()));
        assert!(claims["iat"].as_u64().expect("a time").abs_diff(NOW) <= 60);
        let (said, own) = (
            Url::parse(claims["htu"].as_str().expect("htu")),
            Url::parse(PLACE),
        );
        let (said, own) = (said.expect("a URL"), own.expect("a URL"));
        assert_eq!(said.origin(), own.origin());
        let decoded =
            |url: &Url| percent_encoding::percent_decode_str(url.path()).collect::<Vec<_>>();
        assert_eq!(decoded(&said), decoded(&own));
    }
}
