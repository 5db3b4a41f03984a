//! A listener that is reached by several names.

use tokio_rustls::client;

use super::*;

/// A folder with `NAME.pem` and `NAME.key` of each certificate.
struct Named {
    folder: TempDir,
    config: NamedTlsConfig,
}

impl Named {
    fn new(issued: &[&Issued]) -> Self {
        let named = Self {
            folder: tempfile::tempdir().unwrap(),
            config: NamedTlsConfig {
                certificates: (0..issued.len())
                    .map(|index| CertificateConfig {
                        certificate_file: format!("{index}.pem").into(),
                        key_file: format!("{index}.key").into(),
                    })
                    .collect(),
                min_version: TlsVersion::default(),
                client_ca_file: None,
                client_crl_file: None,
                client_certificates: None,
            },
        };
        for (index, issued) in issued.iter().enumerate() {
            named.write(index, issued);
        }
        named
    }

    fn write(&self, index: usize, issued: &Issued) {
        let put = |name: String, text: &str| {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        };
        put(format!("{index}.key"), &issued.key);
        put(format!("{index}.pem"), &issued.certificate);
    }

    fn open(&self) -> Result<Tls, ConfigIssue> {
        Tls::open_named("gateway.tls", &self.config, self.folder.path(), None)
    }
}

/// A handshake with this name, if any: the certificate that was shown, and what the server makes of it.
async fn shake(
    tls: &Tls,
    name: Option<&str>,
    change: impl FnOnce(&mut ClientConfig),
) -> Option<(Vec<u8>, TlsSession)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    change(&mut config);
    config.enable_sni = name.is_some();
    let connecting = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(name.unwrap_or("none.test").to_owned()).unwrap();
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
        shaken.await
    };
    let accepting = async { tls.accept(listener.accept().await.unwrap().0).await };
    let (client, server) = tokio::join!(connecting, accepting);
    let (client, (_, session)): (client::TlsStream<_>, _) = (client.ok()?, server.ok()?);
    let shown = client.get_ref().1.peer_certificates().unwrap();
    Some((shown[0].to_vec(), session))
}

#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let provider = aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn der(issued: &Issued) -> Vec<u8> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes())
        .unwrap()
        .to_vec()
}

fn server(authority: &Authority, names: &[&str]) -> Issued {
    authority.issue(names, ExtendedKeyUsagePurpose::ServerAuth)
}

#[tokio::test]
async fn a_name_has_its_certificate_and_hosts_belong_to_the_one_that_was_shown() {
    let authority = Authority::new();
    let wild = server(&authority, &["api.test", "*.api.test", "127.0.0.1", "::1"]);
    let admin = server(&authority, &["Admin.api.test"]);
    let tls = Named::new(&[&wild, &admin]).open().unwrap();
    for (name, shown) in [
        (Some("api.test"), Some(&wild)),
        (Some("API.test"), Some(&wild)),
        (Some("x.api.test"), Some(&wild)),
        (Some("admin.api.test"), Some(&admin)),
        (Some("x.admin.api.test"), None),
        (Some("x.y.api.test"), None),
        (Some("other.test"), None),
        (None, Some(&wild)),
    ] {
        let found = shake(&tls, name, |_| {}).await;
        let found = found.map(|(shown, _)| shown);
        assert_eq!(found, shown.map(der), "{name:?}");
    }
    let (_, session) = shake(&tls, Some("x.api.test"), |_| {}).await.unwrap();
    for host in [
        "api.test",
        "x.api.test",
        "y.api.test",
        "127.0.0.1",
        "[::1]",
        "[0:0::1]",
    ] {
        assert!(session.stands_for(host), "{host}");
    }
    // The wildcard would do, but a handshake for that name would have shown another.
    for host in [
        "admin.api.test",
        "other.test",
        "a.b.api.test",
        ".api.test",
        "127.0.0.2",
        "::2",
        "",
    ] {
        assert!(!session.stands_for(host), "{host}");
    }
    let (_, session) = shake(&tls, Some("admin.api.test"), |_| {}).await.unwrap();
    assert!(session.stands_for("admin.api.test") && !session.stands_for("api.test"));
}

#[tokio::test]
async fn http_2_is_spoken_to_those_who_want_it_and_nothing_is_resumed_or_early() {
    let authority = Authority::new();
    let tls = Named::new(&[&server(&authority, &["a.test"])])
        .open()
        .unwrap();
    for (offered, is_http2) in [
        (vec!["h2", "http/1.1"], Some(true)),
        (vec!["http/1.1", "h2"], Some(true)),
        (vec!["http/1.1"], Some(false)),
        (vec![], Some(false)),
        (vec!["spdy/3"], None),
    ] {
        let offer = |config: &mut ClientConfig| {
            config.alpn_protocols = offered.iter().map(|it| it.as_bytes().to_vec()).collect();
            config.enable_early_data = true;
        };
        let found = shake(&tls, Some("a.test"), offer).await;
        let found = found.map(|(_, session)| session.speaks_http2());
        assert_eq!(found, is_http2, "{offered:?}");
    }
    let server = Arc::clone(&tls.0.current.load().server);
    assert_eq!(
        (server.max_early_data_size, server.send_tls13_tickets),
        (0, 0)
    );
}

#[tokio::test]
async fn an_older_version_than_the_least_is_turned_away() {
    let authority = Authority::new();
    let mut named = Named::new(&[&server(&authority, &["a.test"])]);
    for (least, is_taken) in [(TlsVersion::V1_2, true), (TlsVersion::V1_3, false)] {
        named.config.min_version = least;
        let tls = named.open().unwrap();
        let old = |config: &mut ClientConfig| {
            let provider = Arc::new(aws_lc_rs::default_provider());
            *config = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS12])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anything))
                .with_no_client_auth();
        };
        let found = shake(&tls, Some("a.test"), old).await;
        assert_eq!(found.is_some(), is_taken, "{least:?}");
        assert!(shake(&tls, Some("a.test"), |_| {}).await.is_some());
    }
}

#[tokio::test]
async fn one_changed_pair_of_several_is_served_and_names_that_collide_are_not() {
    let authority = Authority::new();
    let (first, second) = (
        server(&authority, &["a.test"]),
        server(&authority, &["b.test"]),
    );
    let named = Named::new(&[&first, &second]);
    let tls = named.open().unwrap();
    let fresh = server(&authority, &["b.test", "c.test"]);
    named.write(1, &fresh);
    assert!(tls.look().unwrap());
    for (name, shown) in [("a.test", &first), ("b.test", &fresh), ("c.test", &fresh)] {
        let (found, _) = shake(&tls, Some(name), |_| {}).await.unwrap();
        assert_eq!(found, der(shown), "{name}");
    }
    named.write(1, &server(&authority, &["a.test"]));
    let issue = tls.look().unwrap_err().to_string();
    assert!(
        issue.contains("is for `a.test`, as one before it"),
        "{issue}"
    );
    let (found, _) = shake(&tls, Some("b.test"), |_| {}).await.unwrap();
    assert_eq!(found, der(&fresh));
}

#[test]
fn what_is_wrong_is_said_with_the_certificates_place() {
    let authority = Authority::new();
    let (good, nameless) = (server(&authority, &["a.test"]), server(&authority, &[]));
    let check = |issued: &[&Issued], change: &dyn Fn(&mut Named), part: &str| {
        let mut named = Named::new(issued);
        change(&mut named);
        let issue = named.open().unwrap_err().to_string();
        assert!(issue.contains(part), "{issue} has no {part}");
    };
    check(&[], &|_| {}, "`gateway.tls.certificates` is empty");
    check(&[&good, &nameless], &|_| {}, "has no name");
    check(
        &[&good, &good],
        &|_| {},
        "`gateway.tls.certificates[1].certificate_file`: the certificate in",
    );
    check(
        &[&good, &nameless],
        &|named| std::fs::remove_file(named.folder.path().join("1.key")).unwrap(),
        "`gateway.tls.certificates[1].key_file`: cannot read",
    );
    for clients in [ClientCertificates::Optional, ClientCertificates::Required] {
        check(
            &[&good],
            &|named| named.config.client_certificates = Some(clients),
            "`gateway.tls.client_certificates` needs `client_ca_file`",
        );
    }
}
