//! Certificates that gateways get themselves, from Pebble: by both kinds of challenge, once for all gateways, renewed
//! while they serve; and what is answered where there is none.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use e2e::Site;
use e2e::http::get;
use e2e::pebble::{Looks, Pebble};
use e2e::process::own_address;
use e2e::site::eventually;
use e2e::tokens;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 2] = ["a.gw.test", "b.gw.test"];

/// What the second authority has given us: it makes no accounts for strangers.
const EXTERNAL_KEY: &str = "b3VyIGFjY291bnQgYXQgdGhlIGF1dGhvcml0eSBvZiB0ZXN0cw";

/// A gateway's file with certificates from an authority.
fn with_acme(text: &str, pebble: &Pebble, more: &str) -> String {
    let acme = format!(
        "\ngateway:\n  tls: {{}}\n  acme:\n    directory: {}\n    ca_file: {}\n    \
         terms_of_service_agreed: true\n    contacts: ['mailto:ops@gw.test']\n    \
         secret: a secret of the tests that seals what is kept\n    \
         certificates: [{{ names: [{}] }}, {{ names: [other.gw.test] }}]\n    {more}\n",
        pebble.directory(),
        pebble.ca_file().display(),
        NAMES.join(", ")
    );
    assert!(text.contains("\ngateway:\n"));
    text.replacen("\ngateway:\n", &acme, 1)
}

/// A site whose gateway gets its certificates from an authority of its own. `more`: of `gateway.acme`, by where the
/// gateway is.
fn start(folder: &Path, looks: Looks, more: impl FnOnce(&str) -> String) -> (Site, Pebble) {
    let mut pebble = None;
    let site = Site::split_prepared(|of_site| {
        let file = of_site.join("config/gateway.yaml");
        let text = std::fs::read_to_string(&file).expect("gateway.yaml");
        let host = e2e::site::host(&text);
        let address = host.parse().expect("address");
        let started = Pebble::start(own_address(), address, folder, looks);
        std::fs::write(file, with_acme(&text, &started, &more(&host))).expect("write");
        pebble = Some(started);
    });
    (site, pebble.expect("started"))
}

/// Shakes hands; the certificate that was shown, and the answer to a request for records.
async fn ask(
    host: Ipv4Addr,
    name: &str,
    root: &CertificateDer<'static>,
    token: &str,
) -> Result<(Vec<u8>, String), String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("root");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect((host, 8080)).await.expect("connects");
    let server = ServerName::try_from(name.to_owned()).expect("name");
    let shaken = TlsConnector::from(Arc::new(config)).connect(server, stream);
    let mut stream = shaken.await.map_err(|error| error.to_string())?;
    let shown = stream.get_ref().1.peer_certificates().expect("certificate");
    let shown = shown[0].to_vec();
    let request = format!(
        "GET /records/1001 HTTP/1.1\r\nHost: {name}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("write");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Ok((shown, String::from_utf8_lossy(&answer).into_owned()))
}

async fn metrics(host: Ipv4Addr) -> String {
    get(&format!("http://{host}:9901/metrics"), None).await.body
}

/// What a client gets that offers nothing but to look at a challenge.
async fn look_at(host: Ipv4Addr, name: &str) -> Result<(), String> {
    let mut config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let stream = TcpStream::connect((host, 8080)).await.expect("connects");
    let server = ServerName::try_from(name.to_owned()).expect("name");
    let shaken = TlsConnector::from(Arc::new(config)).connect(server, stream);
    shaken.await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_orders_by_tls_and_all_have_the_certificates_and_renew_them() {
    let folder = tempfile::tempdir().expect("folder");
    let looks = Looks {
        http_port: 5002,
        tls_port: 8080,
        secs: 45,
        external_account: None,
    };
    let (site, mut pebble) = start(folder.path(), looks, |_| String::new());
    let root = pebble.root().await;
    let alice = tokens::access_token(&site, "alice").await;
    let has = async |host: Ipv4Addr, name: &str| ask(host, name, &root, &alice).await;
    eventually("there are certificates", PATIENCE, || async {
        has(site.host, NAMES[1]).await.is_ok() && has(site.host, "other.gw.test").await.is_ok()
    })
    .await;
    let (first, answer) = has(site.host, NAMES[0]).await.expect("a certificate");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let told = metrics(site.host).await;
    assert!(
        told.contains("pep_acme_orders_total{result=\"ok\"} 2"),
        "{told}"
    );
    // Of a name that is nobody's there is no handshake, nor of a challenge that nobody asked for.
    assert!(has(site.host, "c.gw.test").await.is_err());
    let nobody = look_at(site.host, "c.gw.test").await.expect_err("nothing");
    assert!(!nobody.contains("UnknownIssuer"), "{nobody}");

    // Another gateway has them, and has ordered none.
    let (second, _process) = site.second_gateway();
    eventually("the other has them", PATIENCE, || async {
        has(second, NAMES[0]).await.is_ok()
    })
    .await;
    let told = metrics(second).await;
    assert!(
        told.contains("pep_acme_orders_total{result=\"ok\"} 0"),
        "{told}"
    );

    // Renewed while it holds, and shown by both: at no time is there none.
    let renewed = async |host: Ipv4Addr| {
        let (shown, _) = has(host, NAMES[0]).await.expect("always one");
        shown != first
    };
    eventually("it is renewed", PATIENCE, || async {
        renewed(site.host).await
    })
    .await;
    eventually("there, too", PATIENCE, || async { renewed(second).await }).await;

    // Without the authority they serve on, also after a restart, as long as they hold; and no longer.
    pebble.kill();
    let (third, _third) = site.another_gateway("gateway-3", |text| text);
    assert!(has(third, NAMES[0]).await.is_ok(), "at once");
    // The client would not have it any more, either; but it is not shown.
    eventually("it is over", PATIENCE * 2, || async {
        let refused = has(third, NAMES[0]).await.err();
        refused.is_some_and(|error| error.contains("alert"))
    })
    .await;
    let told = metrics(third).await;
    let none = "pep_acme_certificate_not_after_seconds{name=\"a.gw.test\"} 0";
    assert!(told.contains(none), "{told}");
    let ready = get(&format!("http://{third}:9901/readyz"), None).await;
    assert!(ready.body.contains("no certificate for"), "{}", ready.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_http_challenges_are_answered_and_nothing_else_is_there_of_an_account_that_is_ours() {
    let folder = tempfile::tempdir().expect("folder");
    let looks = Looks {
        http_port: 5002,
        tls_port: 1,
        secs: 600,
        external_account: Some(("ours", EXTERNAL_KEY)),
    };
    let (site, pebble) = start(folder.path(), looks, |host| {
        format!(
            "challenge: http-01\n    http_listen: {host}:5002\n    \
             external_account: {{ key_id: ours, key: {EXTERNAL_KEY} }}"
        )
    });
    let root = pebble.root().await;
    let alice = tokens::access_token(&site, "alice").await;
    eventually("there is a certificate", PATIENCE, || async {
        ask(site.host, NAMES[0], &root, &alice).await.is_ok()
    })
    .await;
    let output = pebble.output();
    let asked = output
        .lines()
        .filter(|line| line.contains("acme-challenge"));
    let asked: Vec<_> = asked.collect();
    assert!(!asked.is_empty(), "{output}");
    let log = site.gateway.as_ref().expect("a gateway").output();
    assert!(!log.contains(EXTERNAL_KEY), "{log}");
    let plain = SocketAddr::from((site.host, 5002));
    for path in [
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/nobody-has-asked-for-this-one-at-all",
        "/.well-known/acme-challenge/..%2f..%2frecords",
        "/.well-known/acme-challenge/../../records/1001",
        "/records/1001",
        "/livez",
        "/metrics",
        "/",
    ] {
        let answer = get(&format!("http://{plain}{path}"), Some(&alice)).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
    // The authority wants the first one renewed: who hears of it orders, and its challenge is answered by the other.
    let (first, _) = ask(site.host, NAMES[0], &root, &alice).await.expect("one");
    pebble.wants_renewed(&first).await;
    let own = format!("{}:5002", site.host);
    let (second, _process) = site.another_gateway("gateway-2", |text| {
        assert!(text.contains(&own));
        text.replace(&own, "127.0.0.1:0")
    });
    eventually("it is renewed for both", PATIENCE, || async {
        let shown = ask(site.host, NAMES[0], &root, &alice).await;
        shown.expect("always one").0 != first
    })
    .await;
    let told = metrics(second).await;
    assert!(
        told.contains("pep_acme_orders_total{result=\"ok\"} 1"),
        "{told}"
    );
    // The other kind is not answered here.
    assert!(
        look_at(site.host, NAMES[0])
            .await
            .is_err_and(|it| !it.contains("UnknownIssuer"))
    );
}
