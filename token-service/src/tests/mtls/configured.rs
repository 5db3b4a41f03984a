//! What metadata says of mutual TLS, and what configuration is told.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use service_kit::{ClientCertificate, digest};

use super::super::harness::{World, config};
use super::{MTLS, files, for_itself, over, token, with_mtls, world};
use crate::TokenService;

const METADATA: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn metadata_names_the_listener_where_there_is_one() {
    let plain = World::new().await.get(METADATA).await.json();
    for name in [
        "mtls_endpoint_aliases",
        "tls_client_certificate_bound_access_tokens",
    ] {
        assert_eq!(plain.get(name), None, "{name}");
    }
    assert!(!plain.to_string().contains("tls_client_auth"));

    let document = world().await.get(METADATA).await.json();
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    let aliases = document["mtls_endpoint_aliases"].as_object().unwrap();
    for (name, url) in aliases {
        let ordinary = document[name].as_str().unwrap();
        assert_eq!(url, &ordinary.replace("https://as.example", MTLS), "{name}");
    }
    assert_eq!(aliases.len(), 6);
    for endpoint in ["token", "revocation", "introspection"] {
        let methods = &document[format!("{endpoint}_endpoint_auth_methods_supported")];
        let has = |method: &str| methods.as_array().unwrap().contains(&json!(method));
        assert!(
            has("tls_client_auth") && has("self_signed_tls_client_auth"),
            "{methods}"
        );
    }
    // Without authorities nobody is vouched for.
    let folder = files();
    let alone = with_mtls(&folder, |text| without_authorities(&text));
    let document = World::with(alone).await.get(METADATA).await.json();
    let methods = &document["token_endpoint_auth_methods_supported"];
    assert!(
        !methods
            .as_array()
            .unwrap()
            .contains(&json!("tls_client_auth"))
    );
}

/// The listener without `client_ca_file`, and nobody who would need it.
fn without_authorities(text: &str) -> String {
    let (before, rest) = text.split_once(", client_ca_file: '").unwrap();
    let (_, after) = rest.split_once('\'').unwrap();
    format!("{before}{after}")
        .replace(
            "tls_client_auth: { subject_dn: 'CN=billing,O=Example' }",
            "public: true",
        )
        .replace(
            "[client_credentials, authorization_code]",
            "[authorization_code]",
        )
        .replace("tls_client_auth: { san_dns: edge.internal }, ", "")
}

#[tokio::test]
async fn a_key_set_with_certificates_names_those_that_are_taken() {
    let certificate = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.into()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    };
    let (own, next, other) = (certificate("a"), certificate("b"), certificate("a"));
    let key = |der: &[u8]| json!({ "kty": "EC", "x5c": [STANDARD.encode(der)] });
    let jwks = json!({ "keys": [key(&own), key(&next)] });
    let folder = files();
    let config = with_mtls(&folder, |text| {
        let (before, rest) = text
            .split_once("self_signed_tls_client_auth: { sha256: [")
            .unwrap();
        let (_, after) = rest.split_once("] }").unwrap();
        format!("{before}self_signed_tls_client_auth: {{ jwks: {jwks} }}{after}")
    });
    let world = World::with(config).await;
    let shown = |der: &[u8]| {
        Some(ClientCertificate {
            sha256: digest::sha256(der),
            ..ClientCertificate::default()
        })
    };
    for der in [&own, &next] {
        token(&over(&world, shown(der), for_itself("robot")).await);
    }
    let refused = over(&world, shown(&other), for_itself("robot")).await;
    refused.assert_error(401, "invalid_client");
}

/// As `billing` has it.
const BY_AUTHORITY: &str = "tls_client_auth: { subject_dn: 'CN=billing,O=Example' }";

#[track_caller]
fn check(edit: impl Fn(String) -> String, expected: &[&str]) {
    let folder = files();
    let problems = TokenService::check(&with_mtls(&folder, edit), Path::new("/nowhere"));
    let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), expected.len(), "{text:#?}");
    for (problem, part) in text.iter().zip(expected) {
        assert!(problem.contains(part), "{problem} has no {part}");
    }
}

#[test]
fn what_does_not_fit_together_is_named_with_its_place() {
    let own = BY_AUTHORITY;
    check(|text| text, &[]);
    let as_own = |other: &'static str| move |text: String| text.replacen(own, other, 1);
    let one = "`token_service.clients[0].tls_client_auth`: must have exactly one";
    check(as_own("tls_client_auth: {}"), &[one]);
    check(
        as_own("tls_client_auth: { subject_dn: CN=a, san_dns: a.b }"),
        &[one],
    );
    for (odd, place) in [
        (
            "subject_dn: 'CN=a, O=b'",
            "subject_dn`: is not a distinguished name",
        ),
        ("san_dns: '*.example'", "san_dns`: must be one DNS name"),
        ("san_uri: gateway", "san_uri`: is not a URI"),
        ("san_ip: 10.0.0", "san_ip`: is not an IP address"),
        ("san_email: someone", "san_email`: is not an email"),
    ] {
        let wrong = |text: String| text.replacen("subject_dn: 'CN=billing,O=Example'", odd, 1);
        check(
            wrong,
            &[&format!(
                "`token_service.clients[0].tls_client_auth.{place}"
            )],
        );
    }
    for good in [
        "san_ip: '::1'",
        "san_email: a@b.example",
        "san_uri: 'spiffe://a/b'",
    ] {
        check(
            |text| text.replacen("subject_dn: 'CN=billing,O=Example'", good, 1),
            &[],
        );
    }
}

#[test]
fn there_is_one_way_to_be_known() {
    let own = BY_AUTHORITY;
    for odd in [
        "{}",
        "{ sha256: [ab] }",
        "{ jwks: { keys: [] } }",
        "{ jwks: { keys: [{ kty: EC }] } }",
    ] {
        let wrong =
            |text: String| text.replacen(own, &format!("self_signed_tls_client_auth: {odd}"), 1);
        check(
            wrong,
            &["`token_service.clients[0].self_signed_tls_client_auth"],
        );
    }
    let both = format!("{own}, secret_hash: 'sha256:{}'", "a".repeat(43));
    check(
        |text| text.replacen(own, &both, 1),
        &["clients[0].tls_client_auth`: cannot be given beside `secret_hash`"],
    );
    let both = format!("{own}, self_signed_tls_client_auth: {{ sha256: [] }}");
    check(
        |text| text.replacen(own, &both, 1),
        &["cannot be given beside `tls_client_auth`"],
    );
    check(
        |text| text.replacen(own, &format!("{own}, public: true"), 1),
        &[
            "`token_service.clients[0].public`",
            "needs a client with a secret",
        ],
    );
}

#[test]
fn a_certificate_is_one_clients_and_is_seen_by_somebody() {
    let folder = files();
    let other = "  - { id: again, tls_client_auth: { subject_dn: 'CN=billing,O=Example' }, \
         scope: orders:read, grant_types: [client_credentials] }\n  - { id: robot,";
    check(
        |text| text.replacen("  - { id: robot,", other, 1),
        &["`token_service.clients[1].id`: its certificate is another client's, too"],
    );
    // Nobody listens for certificates, or nobody vouches for them.
    let text = with_mtls(&folder, |text| text);
    let mut alone = text.clone();
    alone.mtls = None;
    let problems = TokenService::check(&alone, Path::new("."));
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(
        problems
            .iter()
            .all(|it| it.to_string().contains("needs `token_service.mtls`"))
    );
    let mut unvouched = text.clone();
    unvouched.mtls.as_mut().unwrap().tls.client_ca_file = None;
    let problems = TokenService::check(&unvouched, Path::new("."));
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems
            .iter()
            .all(|it| it.to_string().contains("mtls.tls.client_ca_file`"))
    );
}

#[test]
fn files_and_places_of_listeners_are_checked() {
    let bound = |text: String| {
        text.replacen("id: web,", "id: web, dpop_bound_access_tokens: true, tls_client_certificate_bound_access_tokens: true,", 1)
    };
    check(
        bound,
        &["clients[2].tls_client_certificate_bound_access_tokens`: cannot be given beside"],
    );
    check(
        |text| text.replace(MTLS, "http://mtls.as.example"),
        &["`token_service.mtls.url`: must be `https`"],
    );
    check(
        |text| text.replace(MTLS, "https://as.example"),
        &["`token_service.mtls.url`: is the issuer"],
    );
    check(
        |text| text.replace("127.0.0.1:8444", "127.0.0.1:8081"),
        &["`token_service.mtls.listen`: is the same"],
    );
    check(
        |text| text.replace("server.key", "nothing.key"),
        &["`token_service.mtls.tls.key_file`: cannot read"],
    );
    let tls =
        "tls: { certificate_file: none.pem, key_file: none.key, client_ca_file: none.pem }\nmtls:";
    check(
        |text| text.replacen("mtls:", tls, 1),
        &[
            "`token_service.tls.client_ca_file`: browsers",
            "`token_service.tls.certificate_file`: cannot read",
        ],
    );
    let plain = config(|text| {
        text.replacen(
            "issuer: https:",
            "tls: { certificate_file: x, key_file: x }\nissuer: http:",
            1,
        )
    });
    let problems = TokenService::check(&plain, Path::new("/nowhere"));
    let text: Vec<Value> = problems.iter().map(|it| it.to_string().into()).collect();
    assert!(
        text[0]
            .as_str()
            .unwrap()
            .contains("`token_service.issuer`: must be `https`"),
        "{text:?}"
    );
}
