//! `Authlib`, as a web application in Python uses it.

use e2e::python::play;
use serde_json::Value;

use super::{OUTSIDE, hash, site};

#[test]
fn an_application_with_authlib_completes_the_flow_and_a_machine_signs_assertions() {
    let key = play("new_key.py", &[]);
    let mut public = key.clone();
    public.as_object_mut().expect("a key").remove("d");
    let secret = "secret-of-authlib";
    let client = CLIENT.replace("HASH", &hash(secret));
    let site = site(&client, |text| with_keys(&text, &public));
    let (issuer, key) = (site.token_service_url(""), key.to_string());
    let redirect = format!("http://{}:9999/python", site.host);
    let after_logout = format!("http://{}:9999/signed-out", site.host);
    let summary = play(
        "authlib_flow.py",
        &[
            ("ISSUER", &issuer),
            ("CLIENT_ID", "authlib"),
            ("CLIENT_SECRET", secret),
            ("REDIRECT_URI", &redirect),
            ("AFTER_LOGOUT", &after_logout),
            ("KEYS_ID", "nightly-report"),
            ("KEYS_JWK", &key),
            ("SERVER_ID", OUTSIDE.0),
            ("SERVER_SECRET", OUTSIDE.1),
            ("USERNAME", "alice"),
            ("PASSWORD", "alice-demo-password"),
        ],
    );
    assert_eq!(summary["sub"], "alice");
    assert_eq!(summary["email"], "alice@example.com");
}

/// The nightly report proves itself by a key in the place of its secret.
fn with_keys(text: &str, public: &Value) -> String {
    let (before, after) = text.split_once("    - id: nightly-report\n").expect("it");
    let (own, after) = after.split_once("      secret_hash: ").expect("a secret");
    let (_, after) = after.split_once('\n').expect("a line");
    let keys = serde_json::json!({ "keys": [public] });
    format!("{before}    - id: nightly-report\n{own}      jwks: {keys}\n{after}")
}

/// The hash of an access token beside an ID token by Ed25519 is half a SHA-512, of which RFC 8032 tells.
const CLIENT: &str = "    - id: authlib
      secret_hash: HASH
      id_token_signed_response_alg: EdDSA
      grant_types: [authorization_code, refresh_token]
      redirect_uris: ['http://HOST:9999/python']
      post_logout_redirect_uris: ['http://HOST:9999/signed-out']
      scope: openid profile email offline_access records:read
";
