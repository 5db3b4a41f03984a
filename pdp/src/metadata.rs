//! What this decision point says of itself, and its signature over that. Made once, from the
//! configuration alone, never from a request.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Map, Value};
use service_kit::ConfigIssue;

use crate::PdpConfig;
use crate::config::Identifier;
use crate::signing::SigningKey;

/// The document, as it is served.
#[derive(Debug, Clone)]
pub(crate) struct Metadata(pub(crate) Bytes);

const KEY: &str = "pdp.metadata_signing_key_file";

impl Metadata {
    /// None: no identifier is configured.
    pub(crate) fn open(config: &PdpConfig, base: &Path) -> Result<Option<Self>, ConfigIssue> {
        let key = config.metadata_signing_key_file.as_ref();
        let Some(own) = config.identifier()? else {
            return match key {
                None => Ok(None),
                Some(_) => Err(ConfigIssue::new(format!(
                    "`{KEY}` signs metadata, and there are none without `pdp.public_url`"
                ))),
            };
        };
        let mut values = values(&own);
        if let Some(file) = key {
            let signed = sign(&SigningKey::read(KEY, &base.join(file))?, &own, &values)?;
            values.insert("signed_metadata".into(), signed.into());
        }
        Ok(Some(Self(Value::Object(values).to_string().into())))
    }
}

fn values(own: &Identifier) -> Map<String, Value> {
    let url = &own.url;
    let endpoint = |name: &str, path: &str| {
        let endpoint = format!("{url}/access/v1/{path}");
        (name.to_owned(), Value::from(endpoint))
    };
    let mut values = Map::new();
    values.insert("policy_decision_point".into(), url.as_str().into());
    values.extend([
        endpoint("access_evaluation_endpoint", "evaluation"),
        endpoint("access_evaluations_endpoint", "evaluations"),
        endpoint("search_subject_endpoint", "search/subject"),
        endpoint("search_action_endpoint", "search/action"),
        endpoint("search_resource_endpoint", "search/resource"),
    ]);
    values
}

/// AuthZEN 1.0: a JWS over the values, with `iss`, and without a signature inside.
fn sign(
    key: &SigningKey,
    own: &Identifier,
    values: &Map<String, Value>,
) -> Result<String, ConfigIssue> {
    let mut claims = values.clone();
    claims.insert("iss".into(), own.url.as_str().into());
    key.sign("JWT", &Value::Object(claims))
        .ok_or_else(|| ConfigIssue::new(format!("`{KEY}`: the key does not sign")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use ::http::StatusCode;
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use serde_json::Value;

    use crate::fixture::Fixture;

    const OWN: &str = "https://pdp.example.org/tenant1";

    /// A private key as the operator makes it, and its public half.
    fn make_key(folder: &Path, arguments: &[&str]) -> Vec<u8> {
        let run = |arguments: &[&str]| {
            let made = Command::new("openssl")
                .args(arguments)
                .current_dir(folder)
                .output();
            let made = made.expect("`openssl` is needed: install it");
            assert!(
                made.status.success(),
                "{}",
                String::from_utf8_lossy(&made.stderr)
            );
        };
        run(&[&["genpkey", "-out", "metadata.key"], arguments].concat());
        run(&[
            "pkey",
            "-in",
            "metadata.key",
            "-pubout",
            "-outform",
            "DER",
            "-out",
            "metadata.pub",
        ]);
        std::fs::read(folder.join("metadata.pub")).unwrap()
    }

    const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    const P384: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
    const ED25519: [&str; 2] = ["-algorithm", "ed25519"];

    fn fixture() -> Fixture {
        let mut fixture = Fixture::new();
        fixture.config.public_url = Some(OWN.into());
        fixture.config.metadata_signing_key_file = Some("metadata.key".into());
        fixture
    }

    async fn document(fixture: &Fixture) -> Value {
        let path = "/.well-known/authzen-configuration/tenant1";
        let request = ::http::Request::get(path).body(Body::empty()).unwrap();
        let response = fixture.open().api().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn the_signed_values_are_the_plain_ones_and_name_who_signs() {
        for (arguments, algorithm) in [
            (P256.as_slice(), Algorithm::ES256),
            (&ED25519, Algorithm::EdDSA),
        ] {
            let fixture = fixture();
            let public = make_key(fixture.folder.path(), arguments);
            let mut plain = document(&fixture).await;
            let signed = plain
                .as_object_mut()
                .unwrap()
                .remove("signed_metadata")
                .unwrap();
            let signed = signed.as_str().unwrap();
            let key = match algorithm {
                Algorithm::ES256 => DecodingKey::from_ec_der(&public),
                _ => DecodingKey::from_ed_der(&public),
            };
            let mut rules = Validation::new(algorithm);
            rules.required_spec_claims = ["iss".to_owned()].into();
            rules.set_issuer(&[OWN]);
            let mut claims = decode::<Value>(signed, &key, &rules).unwrap().claims;
            assert_eq!(claims.as_object_mut().unwrap().remove("iss").unwrap(), OWN);
            assert_eq!(claims, plain);
            assert_eq!(plain["policy_decision_point"], OWN);
            let header = decode_header(signed).unwrap();
            assert_eq!((header.alg, header.kid.unwrap().len()), (algorithm, 43));
        }
    }

    #[tokio::test]
    async fn a_key_that_cannot_sign_is_named_with_its_file() {
        let fixture = fixture();
        let folder = fixture.folder.path();
        let complaint = |part: &str| {
            let error = fixture.try_open().unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("metadata_signing_key_file"),
                "{error}"
            );
            let checked = fixture.config.check(folder);
            assert!(
                checked.iter().any(|issue| issue.to_string() == error),
                "{checked:?}"
            );
        };
        complaint("cannot read");
        fixture.write("metadata.key", "secret");
        complaint("there is no private key");
        make_key(folder, &P384);
        complaint("neither of P-256 nor of Ed25519");
        let made = Command::new("openssl")
            .args([
                "ecparam",
                "-name",
                "prime256v1",
                "-genkey",
                "-noout",
                "-out",
                "metadata.key",
            ])
            .current_dir(folder)
            .status();
        assert!(made.unwrap().success());
        complaint("PKCS#8");
    }

    #[tokio::test]
    async fn a_key_without_anything_to_sign_is_a_mistake() {
        let mut fixture = fixture();
        make_key(fixture.folder.path(), &P256);
        fixture.config.public_url = None;
        let error = fixture.try_open().unwrap_err().to_string();
        assert!(error.contains("pdp.public_url"), "{error}");
    }
}
