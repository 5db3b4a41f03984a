//! A listener that takes any certificate, and says what each is worth.

use rcgen::{DistinguishedName, DnType};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::*;

async fn told(Extension(client): Extension<Client>) -> impl IntoResponse {
    client.certificate.map_or("nobody".to_owned(), |shown| {
        let vouched = if shown.is_trusted { "trusted" } else { "alone" };
        format!(
            "{vouched} {:?} {:?} {:?} {:?}",
            shown.dns_names, shown.ips, shown.emails, shown.subject
        )
    })
}

/// Where it listens.
async fn start_any(tls: &Tls, tasks: &Tasks) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/", get(told));
    tasks.spawn(crate::serve::serve_tls(
        listener,
        tls.clone(),
        router,
        tasks.clone(),
    ));
    port
}

fn self_signed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Issued {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
}

fn early(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2090, 1, 1);
}

#[tokio::test]
async fn any_certificate_is_taken_and_only_an_authoritys_is_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let whole = authority.issue_with(
        &["A.example", "::1", "10.0.0.7"],
        client.clone(),
        |params| {
            let email = "jobs@a.example".try_into().unwrap();
            params.subject_alt_names.push(SanType::Rfc822Name(email));
            let name = &mut params.distinguished_name;
            *name = DistinguishedName::new();
            name.push(DnType::OrganizationName, "Example, Inc.");
            name.push(DnType::CommonName, "a");
        },
    );
    let subject: super::super::DistinguishedName = "CN=a,O=Example\\, Inc.".parse().unwrap();
    let read = format!(r#"["a.example"] [::1, 10.0.0.7] ["jobs@a.example"] Some({subject:?})"#);
    let files = Files::new(&authority.server(), Some(&authority));
    let (tls, tasks) = (files.open(ClientCertificates::Any).unwrap(), Tasks::new());
    let port = start_any(&tls, &tasks).await;
    let alone = r#"alone ["a"] [] [] None"#.to_owned();
    for (identity, expected) in [
        (None, "nobody".to_owned()),
        (Some(whole), format!("trusted {read}")),
        (Some(self_signed("a", |_| {})), alone),
        (Some(self_signed("a", expired)), "nobody".into()),
        (Some(self_signed("a", early)), "nobody".into()),
        (
            Some(authority.issue_with(&["a"], client.clone(), expired)),
            "nobody".into(),
        ),
    ] {
        let answer = ask(port, &authority, identity.as_ref()).await.unwrap();
        assert_eq!(answer, expected);
    }
    // Of another authority, or for something else.
    for identity in [
        stranger.client("a"),
        authority.issue(&["a"], ExtendedKeyUsagePurpose::ServerAuth),
    ] {
        let answer = ask(port, &authority, Some(&identity)).await.unwrap();
        assert!(answer.starts_with("alone "), "{answer}");
    }
    assert!(tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn without_authorities_nobody_is_trusted() {
    let authority = Authority::new();
    let files = Files::new(&authority.server(), None);
    let (tls, tasks) = (files.open(ClientCertificates::Any).unwrap(), Tasks::new());
    let port = start_any(&tls, &tasks).await;
    let answer = ask(port, &authority, Some(&authority.client("a"))).await;
    assert!(answer.unwrap().starts_with("alone "));
    assert_eq!(ask(port, &authority, None).await.unwrap(), "nobody");
}

#[tokio::test]
async fn nobody_shows_a_certificate_of_which_another_has_the_key() {
    let authority = Authority::new();
    let files = Files::new(&authority.server(), Some(&authority));
    let (tls, tasks) = (files.open(ClientCertificates::Any).unwrap(), Tasks::new());
    let port = start_any(&tls, &tasks).await;
    let (found, own) = (authority.client("a"), authority.client("thief"));
    let certificate = CertificateDer::from_pem_slice(found.certificate.as_bytes()).unwrap();
    for (key, is_answered) in [(&found.key, true), (&own.key, false)] {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let key = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(key);
        let pair = CertifiedKey::new(vec![certificate.clone()], key.unwrap());
        for versions in [[&rustls::version::TLS12], [&rustls::version::TLS13]] {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
                .unwrap();
            let provider = Arc::new(aws_lc_rs::default_provider());
            let client = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&versions)
                .unwrap()
                .with_root_certificates(roots)
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.clone())));
            let answer = exchange(port, client).await;
            assert_eq!(
                answer.contains("trusted"),
                is_answered,
                "{versions:?} {answer}"
            );
        }
    }
}

/// What comes back, if anything does.
async fn exchange(port: u16, client: ClientConfig) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let Ok(mut stream) = connector.connect(name, stream).await else {
        return String::new();
    };
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() {
        let _ = stream.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}
