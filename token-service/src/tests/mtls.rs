//! Mutual TLS (RFC 8705), through the router of its own listener: a certificate is what the connection
//! says. What sockets make of files is tested end to end.

mod bound;
mod configured;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{Request, header};
use rcgen::{CertificateParams, KeyPair};
use service_kit::serve::Client;
use service_kit::{ClientCertificate, digest};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::dpop::{Holder, with_proof};
use super::harness::{Answer, ISSUER, ORDERS, World, as_client, basic, config, encode};
use crate::TokenServiceConfig;

const MTLS: &str = "https://mtls.as.example/one";

/// Certificate and key of a listener, which is its own authority.
fn files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["mtls.as.example".into()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.path().join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    folder
}

/// A listener, clients of every kind, and a gateway that is known by certificate.
fn with_mtls(folder: &TempDir, edit: impl Fn(String) -> String) -> TokenServiceConfig {
    let at = |name: &str| folder.path().join(name).display().to_string();
    let robot = hex(&shown("robot").sha256);
    config(|text| {
        let listener = format!(
            "issuer: {ISSUER}\nmtls: {{ listen: '127.0.0.1:8444', url: '{MTLS}', tls: \
             {{ certificate_file: '{0}', key_file: '{1}', client_ca_file: '{0}' }} }}\n",
            at("server.pem"),
            at("server.key"),
        );
        let clients = format!(
            r"clients:
  - {{ id: billing, tls_client_auth: {{ subject_dn: 'CN=billing,O=Example' }}, scope: orders:read,
      grant_types: [client_credentials, authorization_code], redirect_uris: ['https://billing.example/cb'] }}
  - {{ id: robot, self_signed_tls_client_auth: {{ sha256: ['{robot}'] }}, scope: orders:read,
      grant_types: [client_credentials], tls_client_certificate_bound_access_tokens: true }}
"
        );
        let server = format!(
            "resource_servers:\n  - {{ id: edge, tls_client_auth: {{ san_dns: edge.internal }}, \
             resources: ['{ORDERS}'] }}\n"
        );
        edit(
            text.replacen(&format!("issuer: {ISSUER}\n"), &listener, 1)
                .replacen("clients:\n", &clients, 1)
                .replacen("resource_servers:\n", &server, 1),
        )
    })
}

async fn world() -> World {
    World::with(with_mtls(&files(), |text| text)).await
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}

/// A certificate by the authority of the listener.
fn shown(name: &str) -> ClientCertificate {
    ClientCertificate {
        subject: format!("CN={name},O=Example").parse().ok(),
        dns_names: vec![format!("{name}.internal")],
        sha256: digest::sha256(name.as_bytes()),
        is_trusted: true,
        ..ClientCertificate::default()
    }
}

fn thumbprint(name: &str) -> String {
    digest::sha256_base64url(name.as_bytes())
}

/// Sends it over a connection on the listener for certificates.
async fn over(
    world: &World,
    certificate: Option<ClientCertificate>,
    request: Request<Body>,
) -> Answer {
    let (_, router) = world.service.mtls().unwrap();
    answered(router, certificate, request).await
}

async fn answered(
    router: axum::Router,
    certificate: Option<ClientCertificate>,
    mut request: Request<Body>,
) -> Answer {
    let mut client = Client::of(SocketAddr::from(([127, 0, 0, 1], 50_000)));
    client.certificate = certificate.map(Arc::new);
    request.extensions_mut().insert(client);
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn post(path: &str, form: &[(&str, &str)]) -> Request<Body> {
    Request::post(format!("/one{path}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encode(form)))
        .unwrap()
}

fn for_itself(client: &str) -> Request<Body> {
    post(
        "/token",
        &[("grant_type", "client_credentials"), ("client_id", client)],
    )
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_certificate_says_who_calls_at_every_endpoint() {
    let world = world().await;
    let billing = || Some(shown("billing"));
    let opaque = token(&over(&world, billing(), for_itself("billing")).await);
    let form = [
        ("client_id", "billing"),
        ("response_type", "code"),
        ("redirect_uri", "https://billing.example/cb"),
        ("scope", "orders:read"),
        ("code_challenge", super::harness::CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let pushed = over(&world, billing(), post("/par", &form)).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let form = [("client_id", "edge"), ("token", opaque.as_str())];
    let told = over(&world, Some(shown("edge")), post("/introspect", &form)).await;
    assert_eq!(
        (told.status.as_u16(), &told.json()["active"]),
        (200, &true.into())
    );
    // What is not asked for is not bound.
    assert_eq!(told.json()["cnf"], serde_json::Value::Null);
    let form = [("client_id", "billing"), ("token", opaque.as_str())];
    assert_eq!(
        over(&world, billing(), post("/revoke", &form)).await.status,
        200
    );
    assert!(!world.is_active(&opaque).await);
    token(&over(&world, Some(shown("robot")), for_itself("robot")).await);
}

#[tokio::test]
async fn a_certificate_that_is_not_the_clients_is_nobodys_and_all_are_told_the_same() {
    let world = world().await;
    let mut unvouched = shown("billing");
    unvouched.is_trusted = false;
    let mut longer = shown("billing");
    longer.subject = "CN=billing,OU=x,O=Example".parse().ok();
    let mut nameless = shown("billing");
    nameless.subject = None;
    let mut texts = std::collections::BTreeSet::new();
    for (certificate, client) in [
        (None, "billing"),
        (None, "robot"),
        (Some(shown("robot")), "billing"),
        (Some(shown("billing")), "robot"),
        (Some(unvouched), "billing"),
        (Some(longer), "billing"),
        (Some(nameless), "billing"),
        (Some(shown("billing")), "svc"),
        (Some(shown("billing")), "nobody"),
        (Some(shown("edge")), "edge"),
    ] {
        let answer = over(&world, certificate, for_itself(client)).await;
        answer.assert_error(401, "invalid_client");
        texts.insert(answer.body);
    }
    for (certificate, server) in [
        (None, "edge"),
        (Some(shown("billing")), "edge"),
        (Some(shown("edge")), "gw_orders"),
        (Some(shown("billing")), "billing"),
    ] {
        let form = [("client_id", server), ("token", "x")];
        let answer = over(&world, certificate, post("/introspect", &form)).await;
        answer.assert_error(401, "invalid_client");
        texts.insert(answer.body);
    }
    // Nobody is named at all.
    let form = [("grant_type", "client_credentials")];
    let answer = over(&world, Some(shown("billing")), post("/token", &form)).await;
    answer.assert_error(401, "invalid_client");
    texts.insert(answer.body);
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn a_client_that_is_known_by_certificate_is_known_by_nothing_else() {
    let world = world().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "billing"),
    ];
    let with_secret = || {
        let mut request = post("/token", &form);
        let value = basic("billing", "x").parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
        request
    };
    // Two ways at once, which only the client itself is told.
    let answer = over(&world, Some(shown("billing")), with_secret()).await;
    answer.assert_error(400, "invalid_request");
    for certificate in [None, Some(shown("robot"))] {
        let answer = over(&world, certificate, with_secret()).await;
        answer.assert_error(401, "invalid_client");
    }
    let posted = [form[0], form[1], ("client_secret", "x")];
    let answer = over(&world, None, post("/token", &posted)).await;
    answer.assert_error(401, "invalid_client");
    // One with a secret goes on with it, certificate or not.
    let secret = || {
        let mut request = as_client("svc", "/one/token", &[form[0]]);
        request.extensions_mut().clear();
        request
    };
    for certificate in [None, Some(shown("billing"))] {
        token(&over(&world, certificate, secret()).await);
    }
}

/// CA-08.
#[tokio::test]
async fn no_header_says_who_calls() {
    let world = world().await;
    let named = |mut request: Request<Body>| {
        for name in [
            "x-client-cert",
            "x-ssl-client-cert",
            "x-ssl-client-s-dn",
            "x-ssl-client-verify",
            "x-forwarded-client-cert",
            "x-amzn-mtls-clientcert",
            "client-cert",
            "client-cert-chain",
            "ssl-client-cert",
        ] {
            let value = match name {
                "x-ssl-client-verify" => "SUCCESS",
                _ => "Subject=\"CN=billing,O=Example\"",
            };
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    };
    let answer = over(&world, None, named(for_itself("billing"))).await;
    answer.assert_error(401, "invalid_client");
    let ordinary = as_client(
        "svc",
        "/token",
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "billing"),
        ],
    );
    let (mut parts, body) = ordinary.into_parts();
    parts.headers.remove(header::AUTHORIZATION);
    let answer = world.send(named(Request::from_parts(parts, body))).await;
    answer.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn a_certificate_counts_on_its_own_listener_alone_and_no_page_is_there() {
    let world = world().await;
    let request = || {
        let mut request = for_itself("billing");
        *request.uri_mut() = "/token".parse().unwrap();
        request
    };
    let answer = answered(world.router.clone(), Some(shown("billing")), request()).await;
    answer.assert_error(401, "invalid_client");
    for path in ["/authorize", "/login", "/device", "/logout", "/jwks.json"] {
        let request = Request::get(format!("/one{path}"))
            .body(Body::empty())
            .unwrap();
        let answer = over(&world, Some(shown("billing")), request).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_is_disabled_is_nobody_with_its_certificate() {
    let folder = files();
    let off = |text: String| text.replace("id: billing,", "id: billing, disabled: true,");
    let world = World::with(with_mtls(&folder, off)).await;
    let answer = over(&world, Some(shown("billing")), for_itself("billing")).await;
    answer.assert_error(401, "invalid_client");
    // What it had before is worth nothing either.
    let on = world.restarted(with_mtls(&folder, |text| text)).await;
    let opaque = token(&over(&on, Some(shown("billing")), for_itself("billing")).await);
    assert!(on.is_active(&opaque).await);
    let off = on.restarted(with_mtls(&folder, off)).await;
    assert!(!off.is_active(&opaque).await);
}

#[tokio::test]
async fn a_proof_is_of_the_url_of_the_listener_that_it_went_to() {
    let (world, holder) = (world().await, Holder::new());
    let url = |url: &str| holder.proof(&[("htu", url.into()), ("jti", url.into())]);
    for (htu, is_good) in [
        (format!("{ISSUER}/token"), false),
        (format!("{MTLS}/token"), true),
    ] {
        let request = with_proof(for_itself("billing"), &[&url(&htu)]);
        let answer = over(&world, Some(shown("billing")), request).await;
        assert_eq!(answer.status == 200, is_good, "{htu} {}", answer.body);
    }
}
