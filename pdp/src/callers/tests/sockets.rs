//! Every kind of caller side by side, over real TLS sockets.

use std::path::Path;
use std::time::Duration;

use ::http::StatusCode;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use serde_json::json;
use service_kit::TlsConfig;
use tokio::net::TcpListener;

use super::signer::{Signer, jwks};
use super::{billing, certificate_caller, claims, jwt_caller, key_caller};
use crate::config::{CallerConfig, CertificateCallerConfig};
use crate::fixture::Fixture;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate, its SHA-256, and its key.
    fn issue(&self, name: SanType, usage: ExtendedKeyUsagePurpose) -> (String, String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![name];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let issued = params.signed_by(&key, &self.0).unwrap();
        let hash = service_kit::digest::sha256(issued.der());
        let hash = hash.map(|byte| format!("{byte:02x}")).concat();
        (issued.pem(), hash, key.serialize_pem())
    }

    fn client(&self, name: SanType) -> (reqwest::Identity, String) {
        let (pem, hash, key) = self.issue(name, ExtendedKeyUsagePurpose::ClientAuth);
        let identity = reqwest::Identity::from_pem(format!("{pem}{key}").as_bytes());
        (identity.unwrap(), hash)
    }

    fn serve_from(&self, folder: &Path) {
        let name = SanType::DnsName("localhost".try_into().unwrap());
        let (pem, _, key) = self.issue(name, ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(folder.join("server.pem"), pem).unwrap();
        std::fs::write(folder.join("server.key"), key).unwrap();
        std::fs::write(folder.join("clients.pem"), self.0.pem()).unwrap();
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

/// A PDP over TLS. The last one is its port.
async fn start(authority: &Authority, callers: Vec<CallerConfig>, keys: &str) -> (Fixture, u16) {
    let mut fixture = Fixture::new();
    authority.serve_from(fixture.folder.path());
    fixture.write("jwks.json", keys);
    fixture.config.public_url = Some("https://pdp.example.org".into());
    fixture.config.callers = callers;
    fixture.config.tls = Some(TlsConfig {
        certificate_file: "server.pem".into(),
        key_file: "server.key".into(),
        client_ca_file: Some("clients.pem".into()),
        client_crl_file: None,
    });
    let pdp = fixture.open();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tls, tasks) = (pdp.tls().unwrap(), fixture.tasks.clone());
    tasks.spawn(service_kit::serve::serve_tls(
        listener,
        tls,
        pdp.api(),
        tasks.clone(),
    ));
    (fixture, port)
}

/// The status, and what is asked for at 401.
async fn ask(
    port: u16,
    authority: &Authority,
    identity: Option<&reqwest::Identity>,
    authorization: Option<&str>,
) -> Result<(StatusCode, Vec<String>), reqwest::Error> {
    let trusted = reqwest::Certificate::from_pem(authority.0.pem().as_bytes()).unwrap();
    let mut client = reqwest::Client::builder()
        .tls_certs_only([trusted])
        .timeout(Duration::from_secs(10))
        .no_proxy();
    if let Some(identity) = identity {
        client = client.identity(identity.clone());
    }
    let question = json!({ "subject": { "type": "user", "id": "ben" },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": "d1" } });
    let mut request = client
        .build()
        .unwrap()
        .post(format!("https://localhost:{port}/access/v1/evaluation"))
        .header("content-type", "application/json")
        .body(question.to_string());
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let answer = request.send().await?;
    let challenges = answer.headers().get_all("www-authenticate").iter();
    let challenges = challenges
        .map(|one| one.to_str().unwrap().to_owned())
        .collect();
    Ok((answer.status(), challenges))
}

#[tokio::test]
async fn each_kind_of_caller_asks_beside_the_others() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let signer = Signer::es256("k1");
    let (by_name, _) = authority.client(dns("gateway.internal"));
    let (by_uri, _) = authority.client(uri("spiffe://example.org/console"));
    let (by_hash, hash) = authority.client(dns("whatever"));
    let (nobody, _) = authority.client(dns("other.internal"));
    let (strange, _) = stranger.client(dns("gateway.internal"));
    let certificate = |name: &str, wanted| certificate_caller(name, wanted);
    let callers = vec![
        key_caller("key"),
        jwt_caller("billing", billing()),
        certificate(
            "dns",
            CertificateCallerConfig {
                san_dns: Some("gateway.internal".into()),
                ..Default::default()
            },
        ),
        certificate(
            "uri",
            CertificateCallerConfig {
                san_uri: Some("spiffe://example.org/console".into()),
                ..Default::default()
            },
        ),
        certificate(
            "hash",
            CertificateCallerConfig {
                sha256: Some(hash),
                ..Default::default()
            },
        ),
    ];
    let (fixture, port) = start(&authority, callers, &jwks(&[&signer])).await;
    let token = format!("Bearer {}", signer.token(&claims()));
    for (identity, authorization, status) in [
        (None, Some("Bearer key-0123456789abcdef"), 200),
        (None, Some(token.as_str()), 200),
        (Some(&by_name), None, 200),
        (Some(&by_uri), None, 200),
        (Some(&by_hash), None, 200),
        (Some(&nobody), None, 401),
        (Some(&nobody), Some(token.as_str()), 200),
        (Some(&by_name), Some("Bearer x.y.z"), 401),
        (None, None, 401),
    ] {
        let answer = ask(port, &authority, identity, authorization)
            .await
            .unwrap();
        assert_eq!(answer.0.as_u16(), status, "{authorization:?}");
        let expected: &[&str] = match (status, authorization) {
            (200, _) => &[],
            (_, None) => &["Bearer"],
            (_, Some(_)) => &["Bearer error=\"invalid_token\""],
        };
        assert_eq!(answer.1, expected);
    }
    assert!(ask(port, &authority, Some(&strange), None).await.is_err());
    assert!(fixture.tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn where_certificates_are_the_only_way_nobody_gets_in_without_one() {
    let authority = Authority::new();
    let (known, _) = authority.client(dns("gateway.internal"));
    let (nobody, _) = authority.client(dns("other.internal"));
    let caller = certificate_caller(
        "gateway",
        CertificateCallerConfig {
            san_dns: Some("gateway.internal".into()),
            ..Default::default()
        },
    );
    let (_fixture, port) = start(&authority, vec![caller], "{}").await;
    assert!(ask(port, &authority, None, None).await.is_err());
    let answer = ask(port, &authority, Some(&known), None).await.unwrap();
    assert_eq!(answer.0, StatusCode::OK);
    let answer = ask(port, &authority, Some(&nobody), None).await.unwrap();
    let challenge = vec!["Certificate realm=\"pdp\"".to_owned()];
    assert_eq!(answer, (StatusCode::UNAUTHORIZED, challenge));
}

#[tokio::test]
async fn where_nobody_is_named_a_certificate_of_the_authority_is_enough() {
    let authority = Authority::new();
    let (anybody, _) = authority.client(dns("x"));
    let (_fixture, port) = start(&authority, Vec::new(), "{}").await;
    assert!(ask(port, &authority, None, None).await.is_err());
    let answer = ask(port, &authority, Some(&anybody), None).await.unwrap();
    assert_eq!(answer.0, StatusCode::OK);
}
