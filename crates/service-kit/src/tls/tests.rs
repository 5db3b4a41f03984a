//! TLS over real sockets, with certificates that are made for the test.

mod any;
mod named;
mod revoked;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Extension;
use axum::routing::get;
use axum::{Router, response::IntoResponse};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::serve::Client;

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key as PEM.
struct Issued {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Issued {
        self.issue_with(names, usage, |_| {})
    }

    fn issue_with(
        &self,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn server(&self) -> Issued {
        self.issue(&["localhost"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn client(&self, name: &str) -> Issued {
        self.issue(&[name], ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// A folder with the files of a listener.
struct Files {
    folder: TempDir,
    config: TlsConfig,
}

impl Files {
    fn new(server: &Issued, clients: Option<&Authority>) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
            config: TlsConfig {
                certificate_file: "server.pem".into(),
                key_file: "server.key".into(),
                client_ca_file: clients.map(|_| "clients.pem".into()),
                client_crl_file: None,
            },
        };
        files.serve(server);
        if let Some(authority) = clients {
            files.write("clients.pem", &authority.pem());
        }
        files
    }

    fn serve(&self, server: &Issued) {
        self.write("server.key", &server.key);
        self.write("server.pem", &server.certificate);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn open(&self, clients: ClientCertificates) -> Result<Tls, ConfigIssue> {
        Tls::open("pdp.tls", &self.config, self.folder.path(), clients)
    }
}

async fn who(Extension(client): Extension<Client>) -> impl IntoResponse {
    client.certificate.map_or("nobody".to_owned(), |shown| {
        format!(
            "{:?} {:?} {}",
            shown.dns_names,
            shown.uris,
            shown.sha256.len()
        )
    })
}

/// Where it listens.
async fn start(tls: &Tls, tasks: &Tasks) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/", get(who));
    tls.follow_every(Duration::from_millis(20), tasks);
    tasks.spawn(crate::serve::serve_tls(
        listener,
        tls.clone(),
        router,
        tasks.clone(),
    ));
    port
}

async fn ask(
    port: u16,
    trusted: &Authority,
    identity: Option<&Issued>,
) -> Result<String, reqwest::Error> {
    let trusted = reqwest::Certificate::from_pem(trusted.pem().as_bytes()).unwrap();
    let mut client = reqwest::Client::builder()
        .tls_certs_only([trusted])
        .timeout(Duration::from_secs(10))
        .no_proxy();
    if let Some(issued) = identity {
        let pem = format!("{}{}", issued.certificate, issued.key);
        client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    let url = format!("https://localhost:{port}/");
    let mut answer = client.build().unwrap().get(url).send().await?;
    let mut text = String::new();
    while let Some(chunk) = answer.chunk().await? {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    Ok(text)
}

#[tokio::test]
async fn a_certificate_is_shown_to_the_handler_where_it_holds() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let files = Files::new(&authority.server(), Some(&authority));
    let (tls, tasks) = (
        files.open(ClientCertificates::Optional).unwrap(),
        Tasks::new(),
    );
    let port = start(&tls, &tasks).await;
    assert_eq!(ask(port, &authority, None).await.unwrap(), "nobody");
    let named = authority.client("Gateway.internal");
    let answer = ask(port, &authority, Some(&named)).await.unwrap();
    assert_eq!(answer, r#"["gateway.internal"] [] 32"#);
    let uri = |params: &mut CertificateParams| {
        let uri = "spiffe://example.org/gateway".try_into().unwrap();
        params.subject_alt_names = vec![SanType::URI(uri)];
    };
    let spiffe = authority.issue_with(&[], ExtendedKeyUsagePurpose::ClientAuth, uri);
    let answer = ask(port, &authority, Some(&spiffe)).await.unwrap();
    assert_eq!(answer, r#"[] ["spiffe://example.org/gateway"] 32"#);
    let expired = authority.issue_with(&["g"], ExtendedKeyUsagePurpose::ClientAuth, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let for_servers = authority.issue(&["g"], ExtendedKeyUsagePurpose::ServerAuth);
    for refused in [&stranger.client("gateway.internal"), &expired, &for_servers] {
        assert!(ask(port, &authority, Some(refused)).await.is_err());
    }
    // And the server must be one that the client believes.
    assert!(ask(port, &stranger, None).await.is_err());
    assert!(tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_required_certificate_cannot_be_left_out() {
    let authority = Authority::new();
    let files = Files::new(&authority.server(), Some(&authority));
    let (tls, tasks) = (
        files.open(ClientCertificates::Required).unwrap(),
        Tasks::new(),
    );
    let port = start(&tls, &tasks).await;
    assert!(ask(port, &authority, None).await.is_err());
    let answer = ask(port, &authority, Some(&authority.client("g"))).await;
    assert_eq!(answer.unwrap(), r#"["g"] [] 32"#);
}

#[tokio::test]
async fn changed_files_serve_the_next_connection_and_broken_ones_do_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::new(&old.server(), Some(&old));
    let (tls, tasks) = (
        files.open(ClientCertificates::Optional).unwrap(),
        Tasks::new(),
    );
    let port = start(&tls, &tasks).await;
    assert!(ask(port, &old, None).await.is_ok());
    // The key of another certificate, damaged text, nothing at all: the old one stays.
    let fresh = new.server();
    files.write("server.key", &fresh.key);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ask(port, &old, None).await.is_ok());
    files.write(
        "server.pem",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    );
    std::fs::remove_file(files.folder.path().join("clients.pem")).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ask(port, &old, Some(&old.client("g"))).await.is_ok());
    files.write("clients.pem", &new.pem());
    files.serve(&fresh);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while ask(port, &new, None).await.is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new certificate is not served"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(ask(port, &old, None).await.is_err());
    // The authorities of clients changed with it.
    assert!(ask(port, &new, Some(&old.client("g"))).await.is_err());
    assert!(ask(port, &new, Some(&new.client("g"))).await.is_ok());
    assert!(tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_silent_client_holds_up_nobody_and_is_hung_up_on() {
    let authority = Authority::new();
    let files = Files::new(&authority.server(), None);
    let (tls, tasks) = (
        files.open(ClientCertificates::Optional).unwrap(),
        Tasks::new(),
    );
    let port = start(&tls, &tasks).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let asked = ask(port, &authority, None);
    let answer = tokio::time::timeout(Duration::from_secs(3), asked).await;
    assert_eq!(answer.unwrap().unwrap(), "nobody");
    // Something that is not TLS is not answered as HTTP.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let mut nothing = [0];
    let ended = silent[0].read(&mut nothing);
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    assert!(tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn http_1_is_what_is_spoken() {
    let authority = Authority::new();
    let files = Files::new(&authority.server(), None);
    let (tls, tasks) = (
        files.open(ClientCertificates::Optional).unwrap(),
        Tasks::new(),
    );
    let port = start(&tls, &tasks).await;
    for (offered, spoken) in [
        (vec!["h2", "http/1.1"], Some(Some("http/1.1"))),
        (vec![], Some(None)),
        (vec!["h2"], None),
    ] {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
        roots.add(trusted).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let shaken = TlsConnector::from(Arc::new(client))
            .connect(name, stream)
            .await;
        let found = shaken.ok().map(|stream| {
            let protocol = stream.get_ref().1.alpn_protocol();
            protocol.map(|name| String::from_utf8(name.to_vec()).unwrap())
        });
        assert_eq!(
            found,
            spoken.map(|name| name.map(str::to_owned)),
            "{offered:?}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let authority = Authority::new();
    let (server, other) = (authority.server(), authority.server());
    let check = |change: &dyn Fn(&Path), part: &str| {
        let files = Files::new(&server, Some(&authority));
        change(files.folder.path());
        let issue = files
            .open(ClientCertificates::Optional)
            .unwrap_err()
            .to_string();
        assert!(issue.contains(part), "{issue} has no {part}");
        assert!(
            !issue.contains(server.key.lines().nth(1).unwrap()),
            "{issue}"
        );
    };
    let put = |folder: &Path, name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
    };
    for name in ["server.pem", "server.key", "clients.pem"] {
        let gone = |folder: &Path| std::fs::remove_file(folder.join(name)).unwrap();
        check(&gone, &format!("/{name}`: No such file"));
    }
    check(
        &|at| put(at, "server.pem", "x"),
        "`pdp.tls.certificate_file`: there is no certificate",
    );
    check(
        &|at| put(at, "server.pem", &server.key),
        "there is no certificate",
    );
    check(
        &|at| put(at, "server.key", &server.certificate),
        "`pdp.tls.key_file`: there is no private key",
    );
    check(
        &|at| put(at, "server.key", &other.key),
        "the key is not the certificate's",
    );
    check(
        &|at| put(at, "clients.pem", ""),
        "`pdp.tls.client_ca_file`: there is no certificate",
    );
    let damaged = server.certificate.replace("MII", "M!I");
    check(&|at| put(at, "clients.pem", &damaged), "damaged PEM");
    let cut = server.key.replace("-----END PRIVATE KEY-----", "");
    check(&|at| put(at, "server.key", &cut), "`pdp.tls.key_file`");
}
