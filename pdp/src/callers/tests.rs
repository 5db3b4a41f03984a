//! Who is known, by what, and what everybody else is told.

mod rotation;
mod signer;
mod sockets;
mod tokens;

use std::path::PathBuf;

use ::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use service_kit::{ClientCertificate, ConfigIssue, Secret, TlsConfig, UnixTime};

use super::{Callers, INVALID, Refusal};
use crate::PdpConfig;
use crate::config::{CallerConfig, CertificateCallerConfig, JwtCallerConfig};
use signer::Signer;

const NOW: u64 = 1_700_000_000;

pub(super) fn jwt_caller(name: &str, jwt: JwtCallerConfig) -> CallerConfig {
    CallerConfig {
        name: name.into(),
        jwt: Some(jwt),
        ..CallerConfig::default()
    }
}

fn key_caller(name: &str) -> CallerConfig {
    CallerConfig {
        name: name.into(),
        api_key: Some(Secret::new(format!("{name}-0123456789abcdef"))),
        ..CallerConfig::default()
    }
}

fn certificate_caller(name: &str, certificate: CertificateCallerConfig) -> CallerConfig {
    CallerConfig {
        name: name.into(),
        certificate: Some(certificate),
        ..CallerConfig::default()
    }
}

/// A token of the issuer that the tests believe.
pub(super) fn billing() -> JwtCallerConfig {
    JwtCallerConfig {
        issuer: "https://idp.example.org".into(),
        audience: "https://pdp.example.org".into(),
        subject: Some("billing".into()),
        jwks_file: Some("jwks.json".into()),
        ..JwtCallerConfig::default()
    }
}

pub(super) fn claims() -> Value {
    json!({ "iss": "https://idp.example.org", "aud": "https://pdp.example.org",
        "sub": "billing", "iat": NOW, "exp": NOW + 300 })
}

fn config(callers: Vec<CallerConfig>) -> PdpConfig {
    PdpConfig {
        callers,
        tls: Some(TlsConfig {
            certificate_file: "server.pem".into(),
            key_file: "server.key".into(),
            client_ca_file: Some("clients.pem".into()),
            client_crl_file: None,
        }),
        ..PdpConfig::default()
    }
}

/// Callers beside a file with a signer's key.
fn open(signers: &[&Signer], callers: Vec<CallerConfig>) -> Result<Callers, ConfigIssue> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jwks.json"), signer::jwks(signers)).unwrap();
    Callers::new(&config(callers), folder.path())
}

async fn identify(callers: &Callers, authorization: &[&str]) -> Result<Option<String>, Refusal> {
    let mut headers = HeaderMap::new();
    for value in authorization {
        headers.append("authorization", HeaderValue::from_str(value).unwrap());
    }
    let found = callers
        .identify(&headers, None, UnixTime::from_secs(NOW))
        .await;
    found.map(|caller| caller.map(|caller| caller.name.to_string()))
}

pub(super) fn refused(challenges: &[&'static str]) -> Result<Option<String>, Refusal> {
    Err(Refusal::Unknown(challenges.to_vec()))
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what is found")]
fn known(name: &str) -> Result<Option<String>, Refusal> {
    Ok(Some(name.to_owned()))
}

#[tokio::test]
async fn each_kind_of_caller_is_known_by_its_own_and_by_nothing_else() {
    let signer = Signer::es256("k1");
    let mut basic = key_caller("basic");
    basic.basic_user = Some("user".into());
    let callers = vec![key_caller("key"), basic, jwt_caller("billing", billing())];
    let callers = open(&[&signer], callers).unwrap();
    let token = signer.token(&claims());
    let password = "dXNlcjpiYXNpYy0wMTIzNDU2Nzg5YWJjZGVm";
    for (shown, expected) in [
        ("Bearer key-0123456789abcdef".to_owned(), Some("key")),
        (format!("Basic {password}"), Some("basic")),
        (format!("Bearer {token}"), Some("billing")),
        (format!("bEARER {token}"), Some("billing")),
        ("Bearer basic-0123456789abcdef".to_owned(), None),
        (format!("Basic {token}"), None),
        (format!("Bearer {password}"), None),
        ("Bearer".to_owned(), None),
        ("Bearer ..".to_owned(), None),
    ] {
        let found = identify(&callers, &[&shown]).await;
        match expected {
            Some(name) => assert_eq!(found, known(name), "{shown}"),
            None => assert_eq!(found, refused(&[INVALID, super::BASIC]), "{shown}"),
        }
    }
}

#[tokio::test]
async fn nothing_shown_is_asked_for_and_two_things_are_refused() {
    let signer = Signer::es256("k1");
    let callers = open(&[&signer], vec![jwt_caller("billing", billing())]).unwrap();
    let bearer = format!("Bearer {}", signer.token(&claims()));
    assert_eq!(identify(&callers, &[]).await, refused(&["Bearer"]));
    assert_eq!(
        identify(&callers, &["Digest x"]).await,
        refused(&["Bearer"])
    );
    let twice = identify(&callers, &[&bearer, &bearer]).await;
    assert_eq!(twice, refused(&[INVALID]));
    assert_eq!(identify(&callers, &[&bearer]).await, known("billing"));
}

fn certificate(dns_names: &[&str], uris: &[&str]) -> ClientCertificate {
    ClientCertificate {
        dns_names: dns_names.iter().map(|name| (*name).to_owned()).collect(),
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        sha256: [0xab; 32],
        is_trusted: true,
        ..ClientCertificate::default()
    }
}

const SPIFFE: &str = "spiffe://example.org/gateway";

#[tokio::test]
async fn a_certificate_is_known_by_a_whole_name_or_its_hash() {
    let by = |wanted: CertificateCallerConfig| {
        open(&[], vec![certificate_caller("gateway", wanted)]).unwrap()
    };
    let dns = by(CertificateCallerConfig {
        san_dns: Some("Gateway.internal".into()),
        ..Default::default()
    });
    let uri = by(CertificateCallerConfig {
        san_uri: Some(SPIFFE.into()),
        ..Default::default()
    });
    let hash = by(CertificateCallerConfig {
        sha256: Some(format!("{}ab", "AB:".repeat(31))),
        ..Default::default()
    });
    let other_hash = by(CertificateCallerConfig {
        sha256: Some("cd".repeat(32)),
        ..Default::default()
    });
    for (callers, shown, is_known) in [
        (&dns, certificate(&["x", "gateway.internal"], &[]), true),
        (&dns, certificate(&["*.internal"], &[]), false),
        (&dns, certificate(&["a.gateway.internal"], &[]), false),
        (&dns, certificate(&[], &["gateway.internal"]), false),
        (&uri, certificate(&[], &[SPIFFE]), true),
        (
            &uri,
            certificate(&[], &[SPIFFE, "spiffe://example.org/x"]),
            false,
        ),
        (
            &uri,
            certificate(&[], &["spiffe://example.org/gateway/x"]),
            false,
        ),
        (&uri, certificate(&[SPIFFE], &[]), false),
        (&hash, certificate(&[], &[]), true),
        (
            &other_hash,
            certificate(&["gateway.internal"], &[SPIFFE]),
            false,
        ),
    ] {
        let nothing = HeaderMap::new();
        let found = callers
            .identify(&nothing, Some(&shown), UnixTime::from_secs(NOW))
            .await;
        let found = found.map(|caller| caller.map(|caller| caller.name.to_string()));
        let expected = if is_known {
            known("gateway")
        } else {
            refused(&[super::CERTIFICATE])
        };
        assert_eq!(found, expected, "{shown:?}");
    }
}

#[tokio::test]
async fn what_is_sent_counts_before_a_certificate_and_nobody_is_two_callers() {
    let named = |san_dns: &str| CertificateCallerConfig {
        san_dns: Some(san_dns.into()),
        ..Default::default()
    };
    let callers = vec![
        key_caller("key"),
        certificate_caller("one", named("one.internal")),
        certificate_caller("two", named("two.internal")),
    ];
    let callers = open(&[], callers).unwrap();
    let one = certificate(&["one.internal"], &[]);
    let both = certificate(&["one.internal", "two.internal"], &[]);
    for (shown, authorization, expected) in [
        (&one, None, known("one")),
        (&one, Some("Bearer key-0123456789abcdef"), known("key")),
        (
            &one,
            Some("Bearer key-wrong-0123456789"),
            refused(&[INVALID]),
        ),
        (&both, None, refused(&["Bearer"])),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert("authorization", HeaderValue::from_static(value));
        }
        let found = callers
            .identify(&headers, Some(shown), UnixTime::from_secs(NOW))
            .await;
        assert_eq!(
            found.map(|caller| caller.map(|caller| caller.name.to_string())),
            expected
        );
    }
}

fn complaint(callers: Vec<CallerConfig>) -> String {
    let signer = Signer::es256("k1");
    open(&[&signer], callers).unwrap_err().to_string()
}

fn check(cases: Vec<(Vec<CallerConfig>, &str)>) {
    for (callers, part) in cases {
        let complaint = complaint(callers);
        assert!(complaint.contains(part), "{complaint} has no {part}");
    }
}

#[test]
fn a_caller_has_one_way_of_its_own_to_be_known() {
    let certificate = |wanted| certificate_caller("gateway", wanted);
    let dns = |name: &str| {
        certificate(CertificateCallerConfig {
            san_dns: Some(name.into()),
            ..Default::default()
        })
    };
    let hash = |text: &str| {
        certificate(CertificateCallerConfig {
            sha256: Some(text.into()),
            ..Default::default()
        })
    };
    let mut two_ways = key_caller("both");
    two_ways.jwt = Some(billing());
    let mut user_without_key = jwt_caller("user", billing());
    user_without_key.basic_user = Some("user".into());
    let mut nothing = key_caller("x");
    nothing.api_key = None;
    check(vec![
        (vec![two_ways], "one way"),
        (vec![user_without_key], "goes with a key"),
        (vec![nothing], "`api_key` is missing"),
        (vec![key_caller("a"), key_caller("a")], "another caller's"),
        (vec![dns("g"), dns("G")], "another caller's"),
        (vec![dns("*.internal")], "one DNS name"),
        (vec![hash("abc")], "64 hexadecimal digits"),
        (vec![hash(&"é".repeat(64))], "64 hexadecimal digits"),
        (
            vec![certificate(CertificateCallerConfig::default())],
            "exactly one of",
        ),
    ]);
}

fn jwt(change: impl FnOnce(&mut JwtCallerConfig)) -> CallerConfig {
    let mut jwt = billing();
    change(&mut jwt);
    jwt_caller("other", jwt)
}

#[test]
fn callers_by_token_are_told_apart_and_have_keys() {
    let pair = |other| vec![jwt_caller("billing", billing()), other];
    let file = |name: &str| Some(PathBuf::from(name));
    check(vec![
        (pair(jwt(|_| {})), "`billing`'s at once"),
        (pair(jwt(|jwt| jwt.scope = Some("ask".into()))), "at once"),
        (pair(jwt(|jwt| jwt.subject = None)), "at once"),
        (
            pair(jwt(|jwt| jwt.jwks_file = file("x.json"))),
            "has other keys",
        ),
        (
            vec![jwt(|jwt| jwt.jwks_file = None)],
            "where the issuer's keys are",
        ),
        (
            vec![jwt(|jwt| jwt.jwks_file = file("none.json"))],
            "none.json` cannot be read",
        ),
        (
            vec![jwt(|jwt| jwt.jwks_url = Some("https://x.example".into()))],
            "both given",
        ),
        (
            vec![jwt(|jwt| jwt.audience = String::new())],
            "`jwt.audience` is empty",
        ),
        (vec![jwt(|jwt| jwt.scope = Some("a b".into()))], "one scope"),
    ]);
}

#[test]
fn keys_are_fetched_where_nobody_can_change_them_on_the_way() {
    for (url, is_fine) in [
        ("https://idp.example.org/keys", true),
        ("http://127.0.0.1:1/keys", true),
        ("http://[::1]:1/keys", true),
        ("http://localhost:1/keys", true),
        ("http://idp.example.org/keys", false),
        ("http://localhost.example.org/keys", false),
        ("file:///etc/keys", false),
        ("keys", false),
    ] {
        let caller = jwt(|jwt| {
            jwt.jwks_file = None;
            jwt.jwks_url = Some(url.into());
        });
        assert_eq!(open(&[], vec![caller]).is_ok(), is_fine, "{url}");
    }
}

#[test]
fn others_of_one_issuer_are_told_apart_by_subject_client_or_audience() {
    let signer = Signer::es256("k1");
    for change in [
        (|jwt: &mut JwtCallerConfig| jwt.subject = Some("other".into()))
            as fn(&mut JwtCallerConfig),
        |jwt| jwt.audience = "https://other.example.org".into(),
    ] {
        let mut other = billing();
        change(&mut other);
        let callers = vec![jwt_caller("a", billing()), jwt_caller("b", other)];
        assert!(open(&[&signer], callers).is_ok());
    }
}

#[test]
fn certificates_need_authorities() {
    let caller = certificate_caller(
        "gateway",
        CertificateCallerConfig {
            san_dns: Some("g".into()),
            ..Default::default()
        },
    );
    let mut config = config(vec![caller]);
    config.tls.as_mut().unwrap().client_ca_file = None;
    for tls in [config.tls.clone(), None] {
        config.tls = tls;
        let issue = Callers::new(&config, &PathBuf::new()).unwrap_err();
        assert!(
            issue.to_string().contains("pdp.tls.client_ca_file"),
            "{issue}"
        );
    }
}
