//! Proxies in front: what they say of the client counts, and what anybody else says does not.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::certificates::TlsClient;
use crate::fixture::{Answer, Fixture, Setup, get};
use crate::http2;
use crate::tls::{Tls, exchange};

/// Asks as a proxy in front would; `more`: header lines.
async fn ask(fixture: &Fixture, path: &str, more: &str) -> Answer {
    fixture
        .raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer at_alice\r\n{more}Connection: close\r\n\r\n"
        ))
        .await
}

async fn fixture(gateway: &str) -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {gateway} }}"),
        ..Setup::new().await
    };
    setup.start().await
}

const SAID: &str = "X-Forwarded-For: 6.6.6.6, 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: 6f9619ff-8b86-d011-b42d-00cf4fc964ff\r\n";

#[tokio::test]
async fn what_a_trusted_proxy_says_is_what_policies_and_upstreams_hear() {
    let fixture = fixture("proxies: [127.0.0.0/8]").await;
    let answer = ask(&fixture, "/records/1", SAID).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let asked = serde_json::to_value(fixture.pdp.last()).unwrap();
    assert_eq!(asked["context"]["client_ip"], "198.51.100.7");
    assert_eq!(asked["context"]["scheme"], "https");
    assert_eq!(asked["context"]["host"], "gw.test");
    let seen = fixture.upstream.last();
    assert_eq!(seen.headers["x-forwarded-for"], "198.51.100.7");
    assert_eq!(seen.headers["x-forwarded-proto"], "https");
    assert_eq!(seen.headers["x-forwarded-host"], "gw.test");
    assert!(!seen.headers.contains_key("x-real-ip"));
    let id = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";
    assert_eq!(seen.headers["x-request-id"], id);
    let trace = seen.headers["traceparent"].to_str().unwrap();
    assert!(
        trace.contains("6f9619ff8b86d011b42d00cf4fc964ff"),
        "{trace}"
    );
    // What is refused is told by the same name.
    let refused = ask(&fixture, "/nowhere", SAID).await;
    let problem: Value = serde_json::from_str(refused.body()).unwrap();
    assert_eq!(problem["instance"], json!(id));
    // One that says nothing of a client speaks for itself.
    assert_eq!(ask(&fixture, "/records/2", "").await.status(), 200);
    assert_eq!(
        fixture.upstream.last().headers["x-forwarded-for"],
        "127.0.0.1"
    );
}

#[tokio::test]
async fn nobody_is_trusted_unless_the_configuration_says_so() {
    for gateway in ["", "proxies: [10.0.0.0/8, '127.0.0.2/32']"] {
        let fixture = fixture(gateway).await;
        let answer = ask(&fixture, "/records/1", SAID).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let asked = serde_json::to_value(fixture.pdp.last()).unwrap();
        assert_eq!(asked["context"]["client_ip"], "127.0.0.1");
        assert_eq!(asked["context"]["scheme"], "http");
        let seen = fixture.upstream.last();
        assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(seen.headers["x-forwarded-proto"], "http");
        assert_eq!(seen.headers["x-request-id"].len(), 32);
        let bad = ask(&fixture, "/records/1", "X-Forwarded-For: nonsense\r\n").await;
        assert_eq!(bad.status(), 200, "it is nobody's word");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_understood_is_refused_before_anything_is_asked() {
    let fixture = fixture("proxies: [127.0.0.0/8]").await;
    for more in [
        "X-Forwarded-For: nonsense\r\n",
        "X-Forwarded-For: 198.51.100.7,\r\n",
        "X-Forwarded-Proto: https, http\r\n",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n",
    ] {
        let answer = ask(&fixture, "/records/1", more).await;
        assert_eq!(answer.status(), 400, "{more} {answer:?}");
    }
    assert!(fixture.upstream.seen().is_empty() && fixture.pdp.count() == 0);
    let kind = [("kind", "forwarded")];
    assert_eq!(fixture.metric_of("pep_ambiguous_requests_total", &kind), 4);
}

/// One header may not be read as the other's.
#[tokio::test]
async fn the_header_that_was_agreed_on_counts_alone() {
    let fixture = fixture("proxies: [127.0.0.0/8], proxy_headers: forwarded").await;
    let more = "Forwarded: for=6.6.6.6, for=198.51.100.7;proto=https\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n";
    assert_eq!(ask(&fixture, "/records/1", more).await.status(), 200);
    let seen = fixture.upstream.last();
    assert_eq!(seen.headers["x-forwarded-for"], "198.51.100.7");
    assert_eq!(seen.headers["x-forwarded-proto"], "https");
    assert!(!seen.headers.contains_key("forwarded"));
    assert!(!seen.headers.contains_key("x_forwarded_for"));
}

/// The decision for one client of a proxy is not that for another, though both come by one connection.
#[tokio::test]
async fn clients_of_one_connection_are_told_apart() {
    let fixture = fixture("proxies: [127.0.0.0/8]").await;
    let mut asked = Vec::new();
    for client in ["198.51.100.7", "198.51.100.8", "198.51.100.7"] {
        let more = format!("X-Forwarded-For: {client}\r\n");
        assert_eq!(ask(&fixture, "/records/1", &more).await.status(), 200);
        asked.push(fixture.pdp.count());
        assert_eq!(fixture.upstream.last().headers["x-forwarded-for"], client);
    }
    assert_eq!(asked, [1, 2, 2], "the second is another question");
}

#[tokio::test]
async fn a_proxy_may_have_more_connections_than_a_client() {
    for (proxies, open) in [("", 2), ("proxies: [127.0.0.0/8], ", 6)] {
        let gateway = format!("{proxies}limits: {{ connections_per_address: 2 }}");
        let fixture = fixture(&gateway).await;
        let mut kept = Vec::new();
        for _ in 0..6 {
            let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
            let request = b"GET /public/x HTTP/1.1\r\nHost: gw.test\r\n\r\n";
            let _ = stream.write_all(request).await;
            let mut buffer = [0; 12];
            let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut buffer).await;
            if read.is_ok() {
                kept.push(stream);
            }
        }
        assert_eq!(kept.len(), open, "{proxies}");
    }
}

#[tokio::test]
async fn a_stream_of_http_2_has_a_client_of_its_own() {
    let fixture = http2::start(", proxies: [127.0.0.0/8]").await;
    let mut frames = http2::connect(&fixture).await;
    for (stream, client) in [(1, "198.51.100.7"), (3, "198.51.100.8")] {
        let mut fields = http2::with_token("/records/1");
        fields.push(("x-forwarded-for", client));
        fields.push(("x-forwarded-proto", "https"));
        // Its own hop, or what it says of the client's.
        let scheme = fields.iter_mut().find(|(name, _)| *name == ":scheme");
        scheme.unwrap().1 = if stream == 1 { "http" } else { "https" };
        assert!(frames.headers(stream, &fields, true).await);
        let outcome = frames.outcome(stream).await;
        assert_eq!(outcome.status(), Some(200), "{outcome:?}");
        let seen = fixture.upstream.last();
        assert_eq!(seen.headers["x-forwarded-for"], client);
        assert_eq!(seen.headers["x-forwarded-proto"], "https");
    }
}

/// The certificate of the connection is the proxy's, and says nothing of its clients.
#[tokio::test]
async fn no_client_is_known_by_the_certificate_of_a_proxy() {
    for (proxies, status) in [("", 200), (", proxies: [127.0.0.0/8]", 401)] {
        let more =
            format!(", issuers: {{ mesh: {{ certificate: {{ name: san_dns }} }} }}{proxies}");
        let tls = Tls::set_up(", client_ca_file: 'CLIENTS'", &more, |setup| {
            setup.more_routes = "  - { match: '/mesh/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [mesh] }\n";
        })
        .await;
        let proxy = tls.authority.issue(&["proxy.test"], |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        });
        let client = TlsClient::new(&tls.authority, Some(&proxy));
        let client = client.connect(tls.fixture.addr, "gw.test").await.unwrap();
        let request = get("/mesh/1", "").replace("Authorization: Bearer \r\n", "");
        let answer = exchange(client, &request).await;
        assert_eq!(answer.status(), status, "{proxies} {answer:?}");
    }
}

/// Bytes that a load balancer passes on, after it has said for whom.
async fn passed_on(fixture: &Fixture, header: &[u8], request: &str) -> Answer {
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    // It may be refused before that was sent.
    let _ = stream.write_all(header).await;
    exchange(stream, request).await
}

const LINE: &[u8] = b"PROXY TCP4 198.51.100.7 192.0.2.1 50000 443\r\n";

/// The same, version 2; `tls`: the client has come by TLS.
fn binary(tls: bool) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x14".to_vec();
    header.extend([198, 51, 100, 7, 192, 0, 2, 1, 0xc3, 0x50, 0x01, 0xbb]);
    header.extend([0x20, 0, 5, u8::from(tls), 0, 0, 0, 0]);
    header
}

const PASSED_ON: &str = "proxies: [127.0.0.0/8], proxy_protocol: true";

#[tokio::test]
async fn a_load_balancer_says_for_whom_it_passes_bytes_on() {
    let fixture = fixture(PASSED_ON).await;
    for (number, (header, client, scheme)) in [
        (LINE.to_vec(), "198.51.100.7", "http"),
        (binary(false), "198.51.100.7", "http"),
        (binary(true), "198.51.100.7", "https"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", "http"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = get(&format!("/records/{number}"), "at_alice");
        // The client itself may say what it likes.
        let request = request.replace(
            "Host:",
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nHost:",
        );
        let answer = passed_on(&fixture, &header, &request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let asked = serde_json::to_value(fixture.pdp.last()).unwrap();
        assert_eq!(asked["context"]["client_ip"], client);
        assert_eq!(asked["context"]["scheme"], scheme);
        let seen = fixture.upstream.last();
        assert_eq!(seen.headers["x-forwarded-for"], client);
        assert_eq!(seen.headers["x-forwarded-proto"], scheme);
    }
}

#[tokio::test]
async fn bytes_of_nobody_are_not_looked_at() {
    let fixture = fixture(PASSED_ON).await;
    let request = get("/records/1", "at_alice");
    for header in [&b""[..], b"PROXY TCP4 198.51.100.7\r\n", b"\r\n"] {
        let answer = passed_on(&fixture, header, &request).await;
        assert_eq!(answer.status(), 0, "{answer:?}");
    }
    let refused = [("reason", "proxy_protocol")];
    let count = || fixture.metric_of("pep_connections_refused_total", &refused);
    assert_eq!(count(), 3);
    // A look whether somebody is there is none.
    drop(TcpStream::connect(fixture.addr).await.unwrap());
    let answer = passed_on(&fixture, LINE, &request).await;
    assert_eq!((answer.status(), count()), (200, 3));
    assert_eq!(fixture.pdp.count(), 1);
}

#[tokio::test]
async fn nobody_else_says_for_whom_they_are() {
    for gateway in [
        "proxies: [10.0.0.0/8], proxy_protocol: true",
        "proxies: [127.0.0.0/8]",
        "",
    ] {
        let fixture = fixture(gateway).await;
        let answer = passed_on(&fixture, LINE, &get("/records/1", "at_alice")).await;
        assert_eq!(answer.status(), 400, "{gateway} {answer:?}");
        let answer = fixture.get("/records/1", "at_alice").await;
        assert_eq!(answer.status(), 200, "{gateway} {answer:?}");
    }
}

#[tokio::test]
async fn a_client_of_a_load_balancer_has_the_connections_of_a_client() {
    let gateway = format!("{PASSED_ON}, limits: {{ connections_per_address: 2 }}");
    let fixture = fixture(&gateway).await;
    let mut kept = Vec::new();
    for (header, is_kept) in [
        (LINE.to_vec(), true),
        (binary(false), true),
        (LINE.to_vec(), false),
        (
            b"PROXY TCP4 198.51.100.8 192.0.2.1 50000 443\r\n".to_vec(),
            true,
        ),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(), true),
    ] {
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        let request = b"GET /public/x HTTP/1.1\r\nHost: gw.test\r\n\r\n";
        let _ = stream.write_all(&[&header[..], request].concat()).await;
        let mut buffer = [0; 12];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut buffer).await;
        assert_eq!(read.is_ok(), is_kept, "{header:?}");
        kept.push(stream);
    }
    let refused = [("reason", "address")];
    assert_eq!(
        fixture.metric_of("pep_connections_refused_total", &refused),
        1
    );
    // Who has gone leaves a place.
    drop(kept);
    crate::fixture::eventually("they are gone", || fixture.is("pep_connections", 0.0)).await;
    let answer = passed_on(&fixture, LINE, &get("/records/1", "at_alice")).await;
    assert_eq!(answer.status(), 200);
}

/// TLS, and HTTP/2 in it, come after it; the certificate is the client's, who is known by it.
#[tokio::test]
async fn what_a_load_balancer_passes_on_is_the_clients_own() {
    let more =
        format!(", issuers: {{ mesh: {{ certificate: {{ name: san_dns }} }} }}, {PASSED_ON}");
    let tls = Tls::set_up(", client_ca_file: 'CLIENTS'", &more, |setup| {
        setup.more_routes = "  - { match: '/mesh/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [mesh] }\n";
    })
    .await;
    let own = tls.authority.issue(&["client.test"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let client = TlsClient::new(&tls.authority, Some(&own));
    let mut stream = TcpStream::connect(tls.fixture.addr).await.unwrap();
    stream.write_all(&binary(false)).await.unwrap();
    let stream = client.over(stream, "gw.test").await.unwrap();
    let request = get("/mesh/1", "").replace("Authorization: Bearer \r\n", "");
    let answer = exchange(stream, &request).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let seen = tls.fixture.upstream.last();
    assert_eq!(seen.headers["x-forwarded-for"], "198.51.100.7");
    assert_eq!(seen.headers["x-forwarded-proto"], "https");

    let fixture = http2::start(&format!(", {PASSED_ON}")).await;
    let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
    stream.write_all(LINE).await.unwrap();
    let mut frames = crate::http2_frames::Frames::begin(stream).await;
    let fields = http2::with_token("/records/1");
    assert!(frames.headers(1, &fields, true).await);
    assert_eq!(frames.outcome(1).await.status(), Some(200));
    let seen = fixture.upstream.last();
    assert_eq!(seen.headers["x-forwarded-for"], "198.51.100.7");
}
