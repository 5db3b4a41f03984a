//! Whoever has a key, asks for tokens that are bound to it, and proves it (DPoP, RFC 9449).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use service_kit::digest::sha256_base64url;
use service_kit::random;

use crate::Site;
use crate::http::{self, Answer};
use crate::tokens::text;

/// A key on P-256.
#[derive(Debug)]
pub struct Holder(rcgen::KeyPair);

impl Default for Holder {
    fn default() -> Self {
        Self::new()
    }
}

impl Holder {
    pub fn new() -> Self {
        Self(rcgen::KeyPair::generate().expect("a key"))
    }

    /// A proof of a request, now; of the token beside it, where it goes to a resource.
    pub fn proof(&self, method: &str, url: &str, token: Option<&str>) -> String {
        let (x, y) = self.0.public_key_raw()[1..].split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) });
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".into());
        header.jwk = Some(serde_json::from_value(jwk).expect("a JWK"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let jti = random::id().expect("random");
        let mut claims = json!({ "jti": jti, "htm": method, "htu": url, "iat": now.as_secs() });
        if let Some(token) = token {
            claims["ath"] = sha256_base64url(token.as_bytes()).into();
        }
        let signer = EncodingKey::from_ec_der(&self.0.serialize_der());
        jsonwebtoken::encode(&header, &claims, &signer).expect("signed")
    }

    /// A token of a client by itself, bound to the key.
    pub async fn bound_token(&self, site: &Site, (id, secret): (&str, &str)) -> String {
        let url = site.token_service_url("/token");
        let request = http::client()
            .post(&url)
            .basic_auth(id, Some(secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", self.proof("POST", &url, None))
            .body("grant_type=client_credentials");
        let answer = http::send(request).await.json();
        assert_eq!(answer["token_type"], "DPoP", "{answer}");
        text(&answer, "access_token")
    }

    /// `GET` with a token and a proof, whatever it is of.
    pub async fn send(url: &str, token: &str, proof: &str) -> Answer {
        let request = http::client()
            .get(url)
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof);
        http::send(request).await
    }
}
