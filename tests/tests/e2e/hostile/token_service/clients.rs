//! Cases about clients that prove who they are by a key, or pretend to.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::http::{Answer, client, send};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{Attacks, MACHINE};

/// A key for ES256, and what it signs.
#[derive(Debug)]
pub(super) struct Signer(rcgen::KeyPair);

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Signer {
    pub(super) fn new() -> Self {
        Self(rcgen::KeyPair::generate().expect("a key"))
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key_raw()[1..].split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
    }

    pub(super) fn jwks(&self) -> Value {
        let mut jwk = self.jwk();
        jwk["kid"] = json!("k");
        json!({ "keys": [jwk] })
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_ec_der(&self.0.serialize_der());
        jsonwebtoken::encode(header, claims, &key).expect("signed")
    }

    /// A DPoP proof for `POST /token`.
    fn proof(&self, url: &str) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".into());
        header.jwk = Some(serde_json::from_value(self.jwk()).expect("a JWK"));
        let claims = json!({ "jti": "a proof", "htm": "POST", "htu": url, "iat": now() });
        self.sign(&header, &claims)
    }
}

pub(super) async fn assertions(attacks: &mut Attacks) {
    let issuer = attacks.url("");
    for (id, claim, values) in bad_claims(&issuer) {
        for value in values {
            let assertion = assertion(attacks, "k", &[(claim, value)]);
            let answer = present(attacks, &assertion, "").await;
            attacks.hold(id, &answer);
        }
    }
    let other_client = assertion(attacks, "k", &[]);
    let answer = present(attacks, &other_client, &format!("&client_id={}", MACHINE.0)).await;
    attacks.hold("CA-06", &answer);
    for kid in ["../../etc/passwd", "' OR 1=1--", &"k".repeat(30 << 10)] {
        let assertion = assertion(attacks, kid, &[]);
        let answer = present(attacks, &assertion, "").await;
        attacks.hold("CA-10", &answer);
    }
    // Longer than any body may be: it is not even read.
    let endless = assertion(attacks, &"k".repeat(64 << 10), &[]);
    assert_eq!(present(attacks, &endless, "").await.status, 413);

    let proof = attacks.signer.proof(&attacks.url("/token"));
    let answer = present(attacks, &proof, "").await;
    attacks.hold("DP-10", &answer);
    let good = assertion(attacks, "k", &[]);
    let answer = machine(attacks, &[("dpop", &good)], Some(MACHINE)).await;
    attacks.hold("DP-10", &answer);
    // Nothing of all that was for want of a good key: this one is known by its assertion, once.
    let answer = present(attacks, &good, "").await;
    assert_eq!(answer.json()["error"], "invalid_scope", "{}", answer.body);
    assert_eq!(present(attacks, &good, "").await.status, 401);

    // Who a proxy says that somebody is.
    let certificate = "Hash=0;Cert=\"x\";Subject=\"CN=nightly-report\"";
    for header in [
        "x-ssl-client-cert",
        "x-forwarded-client-cert",
        "client-cert",
    ] {
        let answer = machine(attacks, &[(header, certificate)], None).await;
        attacks.hold("CA-08", &answer);
    }
}

/// Claims that prove nothing, each with the case that it belongs to.
fn bad_claims(issuer: &str) -> [(&'static str, &'static str, Vec<Value>); 6] {
    let (null, token) = (Value::Null, format!("{issuer}/token"));
    let audiences = vec![
        json!([issuer, "https://evil.example"]),
        json!([issuer]),
        json!("https://evil.example/token"),
        json!(token),
        null.clone(),
    ];
    let expiries = vec![
        null.clone(),
        json!("9999999999"),
        json!(1e300),
        json!(-1),
        json!(now() - 1),
        json!(now() + 10 * 365 * 86400),
    ];
    [
        ("CA-02", "aud", audiences),
        ("CA-04", "exp", expiries),
        ("CA-04", "nbf", vec![json!(now() + 120), json!("now")]),
        ("CA-04", "iat", vec![json!(now() + 7200)]),
        ("CA-06", "iss", vec![json!(MACHINE.0), null.clone()]),
        ("CA-06", "sub", vec![json!(MACHINE.0), null]),
    ]
}

/// An assertion in order, but for what is changed; `null` takes a claim away.
fn assertion(attacks: &Attacks, kid: &str, changes: &[(&str, Value)]) -> String {
    let mut claims = json!({
        "iss": "signer", "sub": "signer", "aud": attacks.url(""),
        "jti": service_kit::random::id().expect("random"), "iat": now(), "exp": now() + 60,
    });
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in changes {
        members.remove(*name);
        if !value.is_null() {
            members.insert((*name).to_owned(), value.clone());
        }
    }
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(kid.to_owned());
    attacks.signer.sign(&header, &claims)
}

/// Asks for a token by an assertion alone.
async fn present(attacks: &Attacks, assertion: &str, more: &str) -> Answer {
    let body = format!(
        "grant_type=client_credentials&client_assertion_type={JWT_BEARER}&client_assertion={assertion}{more}"
    );
    let request = client()
        .post(attacks.url("/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    send(request).await
}

/// Asks for a token of the machine's, with headers.
async fn machine(
    attacks: &Attacks,
    headers: &[(&str, &str)],
    basic: Option<(&str, &str)>,
) -> Answer {
    let mut request = client()
        .post(attacks.url("/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "grant_type=client_credentials&client_id={}",
            MACHINE.0
        ));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some((id, secret)) = basic {
        request = request.basic_auth(id, Some(secret));
    }
    send(request).await
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}
