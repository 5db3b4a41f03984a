//! Clients that come by TLS: what they are shown, which hosts their connection is for, and what is
//! said of it to others.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use gateway_pep::{Config, Gateway, GatewayConfig};
use service_kit::Variables;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::certificates::{Authority, Files, TlsClient};
use crate::fixture::{Answer, Fixture, PATIENCE, Setup, eventually, get};
use crate::http2_frames::{Frames, Outcome};

/// A gateway for `gw.test` and `b.gw.test` by one certificate, and `admin.gw.test` by another.
pub(crate) struct Tls {
    pub(crate) authority: Authority,
    pub(crate) files: Files,
    pub(crate) fixture: Fixture,
}

impl Tls {
    async fn start(more: &str) -> Self {
        Self::start_with("", more).await
    }

    async fn start_with(of_tls: &str, more: &str) -> Self {
        Self::set_up(of_tls, more, |_| {}).await
    }

    pub(crate) async fn set_up(of_tls: &str, more: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let (authority, files) = (Authority::new(), Files::new());
        let clients = files.put("clients.pem", &authority.pem());
        let revoked = files.put("revoked.pem", &authority.revocations(&[], 2060));
        let of_tls = of_tls
            .replace("CLIENTS", &clients.display().to_string())
            .replace("REVOKED", &revoked.display().to_string());
        let pairs = [
            files.pair(
                "gw",
                &authority.server(&["gw.test", "b.gw.test", "127.0.0.1"]),
            ),
            files.pair("admin", &authority.server(&["admin.gw.test"])),
        ];
        let mut setup = Setup {
            gateway: format!(
                "{{ workers: 1, access_log: 'off', tls: {{ certificates: [{}]{of_tls} }}{more} }}",
                pairs.join(", ")
            ),
            ..Setup::new().await
        };
        change(&mut setup);
        Self {
            fixture: setup.start().await,
            authority,
            files,
        }
    }

    fn client(&self) -> TlsClient {
        TlsClient::new(&self.authority, None)
    }

    async fn ask(&self, name: &str, request: &str) -> Answer {
        let stream = self
            .client()
            .connect(self.fixture.addr, name)
            .await
            .unwrap();
        exchange(stream, request).await
    }
}

pub(crate) async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> Answer {
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(3), reading).await;
    Answer(String::from_utf8_lossy(&answer).into_owned())
}

fn public(host: &str) -> String {
    format!("GET /public/ok HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn upstream_and_decision_point_hear_that_it_was_https() {
    let tls = Tls::start("").await;
    let request = get("/records/1001", "at_alice").replace("gw.test", "GW.test:443");
    let answer = tls.ask("gw.test", &request).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let seen = tls.fixture.upstream.last();
    assert_eq!(seen.headers["x-forwarded-proto"], "https");
    assert_eq!(seen.headers["x-forwarded-host"], "gw.test");
    let asked = tls.fixture.pdp.last();
    assert_eq!(asked.context["scheme"], "https");
    tls.ask("gw.test", &get("/todos/7", "at_alice")).await;
    let asked = tls.fixture.pdp.last();
    assert_eq!(asked.resource.properties["uri"], "https://gw.test/todos/7");
    assert_eq!(asked.resource.properties["schema"], "https");
    // The port of the other scheme is a port like any other.
    tls.ask("gw.test", &public("gw.test:80")).await;
    let seen = tls.fixture.upstream.last();
    assert_eq!(seen.headers["x-forwarded-host"], "gw.test:80");
    for (target, status) in [("https://gw.test", 200), ("http://gw.test", 400)] {
        let request = public("gw.test").replace("/public", &format!("{target}/public"));
        assert_eq!(
            tls.ask("gw.test", &request).await.status(),
            status,
            "{target}"
        );
    }
    // What a client says of it is no matter.
    let spoofed = public("gw.test").replace("\r\n\r\n", "\r\nX-Forwarded-Proto: http\r\n\r\n");
    tls.ask("gw.test", &spoofed).await;
    let seen = tls.fixture.upstream.last();
    assert_eq!(seen.headers["x-forwarded-proto"], "https");
}

#[tokio::test]
async fn a_host_is_answered_on_a_connection_that_is_for_it_and_nowhere_else() {
    let tls = Tls::start("").await;
    for (name, host, status) in [
        ("gw.test", "gw.test", 200),
        ("gw.test", "b.gw.test", 200),
        ("b.gw.test", "gw.test", 200),
        ("admin.gw.test", "admin.gw.test", 200),
        ("gw.test", "127.0.0.1", 200),
        ("gw.test", "admin.gw.test", 421),
        ("gw.test", "ADMIN.gw.test.:443", 421),
        ("admin.gw.test", "gw.test", 421),
        ("gw.test", "other.test", 421),
        ("gw.test", "127.0.0.2", 421),
        ("gw.test", "[::1]", 421),
    ] {
        let answer = tls.ask(name, &public(host)).await;
        assert_eq!(answer.status(), status, "{name} {host}");
        let in_time = public(host).replace("close", "keep-alive") + &public(name);
        let answers = tls.ask(name, &in_time).await;
        let statuses: Vec<_> = answers.0.matches("HTTP/1.1 ").collect();
        assert_eq!(statuses.len(), 2, "the connection serves on: {answers:?}");
    }
    // Whatever may be done there, nobody was asked.
    let before = tls.fixture.pdp.count();
    let request = get("/only", "at_alice").replace("gw.test", "admin.gw.test");
    assert_eq!(tls.ask("gw.test", &request).await.status(), 421);
    assert_eq!(
        (tls.fixture.pdp.count(), tls.fixture.tokens.count()),
        (before, 0)
    );
    assert_eq!(tls.ask("admin.gw.test", &request).await.status(), 200);
    // Without a name it is the first certificate's.
    let client = tls.client().nameless();
    for (host, status) in [("gw.test", 200), ("admin.gw.test", 421)] {
        let stream = client.connect(tls.fixture.addr, "gw.test").await.unwrap();
        let answer = exchange(stream, &public(host)).await;
        assert_eq!(answer.status(), status, "{host}");
    }
    let unknown = tls.client().connect(tls.fixture.addr, "other.test").await;
    assert!(unknown.is_err());
}

#[tokio::test]
async fn http_2_is_spoken_where_the_client_wants_it() {
    let tls = Tls::start("").await;
    let client = tls.client().speaking("h2");
    let stream = client.connect(tls.fixture.addr, "gw.test").await.unwrap();
    let mut frames = Frames::begin(stream).await;
    for (number, scheme, authority, expected) in [
        (1, "https", "gw.test", Some(200)),
        (3, "https", "gw.test:443", Some(200)),
        (5, "https", "b.gw.test", Some(200)),
        (7, "https", "admin.gw.test", Some(421)),
        (9, "http", "gw.test", Some(400)),
        (11, "https", "gw.test", Some(200)),
    ] {
        let fields = [
            (":method", "GET"),
            (":scheme", scheme),
            (":authority", authority),
            (":path", "/public/ok"),
        ];
        frames.headers(number, &fields, true).await;
        let outcome = frames.outcome(number).await;
        assert_eq!(
            outcome.status(),
            expected,
            "{scheme} {authority} {outcome:?}"
        );
    }
    let seen = tls.fixture.upstream.last();
    assert_eq!(seen.headers["x-forwarded-proto"], "https");
    // Who agreed on the other protocol is not understood by this one.
    let client = tls.client().speaking("http/1.1");
    let stream = client.connect(tls.fixture.addr, "gw.test").await.unwrap();
    let mut frames = Frames::begin(stream).await;
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "gw.test"),
        (":path", "/public/ok"),
    ];
    frames.headers(1, &fields, true).await;
    let outcome = frames.outcome(1).await;
    assert!(outcome.status().is_none(), "{outcome:?}");
}

#[tokio::test]
async fn a_websocket_passes() {
    let tls = Tls::start("").await;
    let stream = tls
        .client()
        .connect(tls.fixture.addr, "gw.test")
        .await
        .unwrap();
    let request = http::Request::builder()
        .uri("wss://gw.test/ws")
        .header("host", "gw.test")
        .header("authorization", "Bearer at_alice")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    socket.send("hello".into()).await.unwrap();
    let echoed = socket.next().await.unwrap().unwrap();
    assert_eq!(echoed.into_text().unwrap().as_str(), "hello");
}

#[tokio::test]
async fn a_changed_certificate_serves_new_connections_and_old_ones_go_on() {
    let tls = Tls::start("").await;
    let mut old = tls
        .client()
        .connect(tls.fixture.addr, "gw.test")
        .await
        .unwrap();
    let fresh = Authority::new();
    tls.files.pair("gw", &fresh.server(&["gw.test"]));
    let new = TlsClient::new(&fresh, None);
    let begin = Instant::now();
    while new.connect(tls.fixture.addr, "gw.test").await.is_err() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "it is not served"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What it stood for, it stands for.
    for host in ["gw.test", "b.gw.test"] {
        let request = public(host).replace("close", "keep-alive");
        old.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 4096];
        let length = old.read(&mut buffer).await.unwrap();
        assert!(buffer[..length].starts_with(b"HTTP/1.1 200"), "{host}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The other one was not touched.
    assert_eq!(
        tls.ask("admin.gw.test", &public("admin.gw.test"))
            .await
            .status(),
        200
    );
    // Half a pair is told and not taken.
    tls.files
        .put("gw.key", &tls.authority.server(&["gw.test"]).key);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(new.connect(tls.fixture.addr, "gw.test").await.is_ok());
}

#[tokio::test]
async fn what_is_no_tls_is_not_answered_and_who_is_slow_is_hung_up_on() {
    let tls = Tls::start(", timeouts: { head_secs: 1 }").await;
    let answer = tls.fixture.raw(&public("gw.test")).await;
    assert!(!answer.0.contains("HTTP"), "{answer:?}");
    let mut silent = TcpStream::connect(tls.fixture.addr).await.unwrap();
    let mut half = TcpStream::connect(tls.fixture.addr).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok());
    }
    // Who has hung up counts it, and may be a moment late.
    let counted = || tls.fixture.metric("pep_tls_handshakes_total") > 2.5;
    eventually("all three are counted", counted).await;
    assert!(tls.fixture.upstream.seen().is_empty());
}

#[tokio::test]
async fn shutdown_waits_for_requests_and_for_no_handshake_that_does_not_end() {
    let tls = Tls::start("").await;
    let mut shaking = TcpStream::connect(tls.fixture.addr).await.unwrap();
    shaking.write_all(&[22, 3, 1]).await.unwrap();
    let stream = tls
        .client()
        .connect(tls.fixture.addr, "gw.test")
        .await
        .unwrap();
    let asking = tokio::task::spawn(async move {
        exchange(
            stream,
            &get("/records/slow", "at_alice").replace("Connection: close\r\n", ""),
        )
        .await
    });
    let h2 = tls.client().speaking("h2");
    let mut frames = Frames::begin(h2.connect(tls.fixture.addr, "gw.test").await.unwrap()).await;
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "gw.test"),
        (":path", "/public/slow"),
    ];
    frames.headers(1, &fields, true).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let finishing = tokio::task::spawn(tls.fixture.gateway.finish(PATIENCE));
    assert_eq!(
        frames.outcome(1).await,
        Outcome::Answer(200, b"{\"slow\":true}".to_vec())
    );
    while frames.next().await.is_some() {}
    let answer = asking.await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("connection")),
        (200, Some("close"))
    );
    assert!(finishing.await.unwrap());
}

#[tokio::test]
async fn older_clients_than_the_configuration_wants_are_turned_away() {
    for (least, is_taken) in [("", true), (", min_version: '1.3'", false)] {
        let tls = Tls::start_with(least, "").await;
        assert_eq!(tls.ask("gw.test", &public("gw.test")).await.status(), 200);
        let old = TlsClient::of_versions(&tls.authority, None, &[&rustls::version::TLS12]);
        let shaken = old.connect(tls.fixture.addr, "gw.test").await;
        assert_eq!(shaken.is_ok(), is_taken, "{least}");
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_with_the_file() {
    let (authority, files) = (Authority::new(), Files::new());
    let good = files.pair("gw", &authority.server(&["gw.test"]));
    let check = |gateway: &str, part: &str| {
        let gateway: GatewayConfig =
            service_kit::config::parse(gateway, &Variables::default()).unwrap();
        let config = Config {
            gateway,
            ..Config::default()
        };
        let issues = Gateway::check(&config, std::path::Path::new("/nowhere"));
        let issues: Vec<_> = issues.iter().map(ToString::to_string).collect();
        assert!(
            issues.iter().any(|issue| issue.contains(part)),
            "{issues:?} has no {part}"
        );
    };
    check(
        "tls: { certificates: [{ certificate_file: tls/a.pem, key_file: tls/a.key }] }",
        "`gateway.tls.certificates[0].certificate_file`: cannot read `/nowhere/tls/a.pem`",
    );
    check(
        "tls: { certificates: [] }",
        "`gateway.tls.certificates` is empty",
    );
    check(
        &format!("tls: {{ certificates: [{good}, {good}] }}"),
        "is for `gw.test`, as one before it",
    );
    check(
        &format!("h2c: true\ntls: {{ certificates: [{good}] }}"),
        "`gateway.h2c` is for listeners without TLS",
    );
    check(
        "limits: { streams: 0 }",
        "`gateway.limits.streams` must not be 0",
    );
}
