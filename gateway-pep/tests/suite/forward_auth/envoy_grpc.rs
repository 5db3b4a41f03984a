//! Calls over gRPC that are none, or that no Envoy would make: never OK, and always an answer.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::calls::{CHECK, Check, call, field, fields, framed, send};
use super::{ALICE, Dialect, fixture};
use crate::fixture::{Fixture, Setup, eventually, get};
use crate::http2_frames::{Frames, Outcome, PING, SETTINGS, WINDOW_UPDATE, frame};

async fn code(fixture: &Fixture, body: Vec<u8>, more: &[(&str, &str)]) -> String {
    let called = call(Dialect::EnvoyGrpc.addr(fixture), CHECK, body, more).await;
    assert_eq!(called.status, 200, "{called:?}");
    assert!(called.body.is_empty(), "{called:?}");
    assert_eq!(called.headers["content-type"], "application/grpc");
    called.code().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_that_is_not_in_order_has_a_status_and_no_decision() {
    let fixture = fixture().await;
    let good = Check::new("GET", "/records/1", ALICE).message();
    let large = vec![0; 300 << 10];
    let mut announced = framed(&good);
    announced[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    for (body, expected) in [
        (vec![], "13"),
        (vec![0, 0, 0], "13"),
        (framed(&good)[..20].to_vec(), "13"),
        ([framed(&good), framed(&good)].concat(), "13"),
        ([framed(&good), vec![0]].concat(), "13"),
        ([&[1], &framed(&good)[1..]].concat(), "12"),
        ([&[128], &framed(&good)[1..]].concat(), "13"),
        (framed(&large), "8"),
        (announced, "8"),
        (framed(b"\xff\xff\xff"), "3"),
        (framed(&good[..good.len() - 1]), "3"),
        // Nothing is asked.
        (framed(b""), "3"),
        (framed(&field(1, field(4, ""))), "3"),
    ] {
        assert_eq!(
            code(&fixture, body.clone(), &[]).await,
            expected,
            "{body:?}"
        );
    }
    let body = framed(&good);
    for timeout in ["1", "x", "123456789S", "-5S"] {
        assert_eq!(
            code(&fixture, body.clone(), &[("grpc-timeout", timeout)]).await,
            "13"
        );
    }
    let address = Dialect::EnvoyGrpc.addr(&fixture);
    for path in [
        "/",
        "/envoy.service.auth.v2.Authorization/Check",
        "/records/1",
    ] {
        let called = call(address, path, body.clone(), &[]).await;
        assert_eq!(called.code(), Some("12"), "{path}");
    }
    for kind in [
        "application/json",
        "application/grpc-web",
        "application/grpc+json",
        "",
    ] {
        let called = call(address, CHECK, body.clone(), &[("content-type", kind)]).await;
        assert_eq!((called.status, called.code()), (415, None), "{kind}");
    }
    let request = Request::get(format!("http://auth.test{CHECK}"))
        .header("content-type", "application/grpc")
        .body(Full::default());
    let called = send(address, request.unwrap()).await;
    assert_eq!((called.status, called.code()), (405, None));
    assert_eq!(fixture.pdp.count(), 0);
    // And it is still there.
    let yes = Check::new("GET", "/records/1", ALICE).ask(address).await;
    assert_eq!(yes.status(), 200);
}

#[tokio::test]
async fn what_envoy_would_never_say_is_no_question() {
    let fixture = fixture().await;
    let refused = async |change: fn(&mut Check)| {
        let mut check = Check::new("GET", "/records/1", ALICE);
        change(&mut check);
        code(&fixture, framed(&check.message()), &[]).await
    };
    // Of nobody, or of one who has no address.
    assert_eq!(refused(|it| it.source = Vec::new()).await, "3");
    assert_eq!(
        refused(|it| it.source = field(1, field(1, field(2, field(1, "/run/x"))))).await,
        "3"
    );
    let named = |it: &mut Check| it.source = field(1, field(1, field(1, field(2, "localhost"))));
    assert_eq!(refused(named).await, "3");
    assert_eq!(refused(|it| it.scheme = String::new()).await, "3");
    assert_eq!(refused(|it| it.scheme = "gopher".into()).await, "3");
    assert_eq!(refused(|it| it.more = field(7, "a=b")).await, "3");
    assert_eq!(refused(|it| it.more = field(8, "x")).await, "3");
    // The same headers in both forms, one of which says something else.
    let twice = |it: &mut Check| it.more = field(3, [field(1, "x-a"), field(2, "b")].concat());
    assert_eq!(refused(twice).await, "3");
    let two_values = |it: &mut Check| {
        let both = [field(1, "x-a"), field(2, "b"), field(3, "c")].concat();
        it.more = field(13, field(1, both));
    };
    assert_eq!(refused(two_values).await, "3");
    let many = |it: &mut Check| {
        it.headers
            .extend((0..500).map(|n| (format!("a{n}"), vec![b'x'])));
    };
    assert_eq!(refused(many).await, "8");
    let long = |it: &mut Check| it.headers.push(("a".into(), vec![b'x'; 100 << 10]));
    assert_eq!(refused(long).await, "8");
    assert_eq!(fixture.pdp.count(), 0);
}

#[tokio::test]
async fn what_a_client_can_bring_about_is_refused_as_the_gateway_would() {
    let fixture = fixture().await;
    let address = Dialect::EnvoyGrpc.addr(&fixture);
    let refused = async |change: fn(&mut Check)| {
        for raw in [true, false] {
            let mut check = Check::new("GET", "/records/1", ALICE);
            check.raw = raw;
            change(&mut check);
            let answer = check.ask(address).await;
            assert_eq!(answer.status(), 400, "{check:?} {answer:?}");
            assert_eq!(answer.header("connection"), None);
        }
    };
    // Of a token that stands there twice, one is joined by a comma and the other is not.
    refused(|it| it.headers.push(it.headers[0].clone())).await;
    refused(|it| it.headers[0].1.extend_from_slice(b",Bearer at_bob")).await;
    refused(|it| {
        it.headers
            .push(("Authorization".into(), b"Bearer at_bob".to_vec()));
    })
    .await;
    refused(|it| it.headers.push((":path".into(), b"/public/x".to_vec()))).await;
    refused(|it| {
        it.headers
            .push((":authority".into(), b"admin.gw.test".to_vec()));
    })
    .await;
    refused(|it| it.headers.push((":method".into(), b"POST".to_vec()))).await;
    refused(|it| it.headers.push((":scheme".into(), b"https".to_vec()))).await;
    refused(|it| it.headers.push((":protocol".into(), b"websocket".to_vec()))).await;
    refused(|it| it.headers.push(("host".into(), b"gw.test".to_vec()))).await;
    refused(|it| it.headers.push(("x y".into(), b"z".to_vec()))).await;
    refused(|it| it.headers.push((String::new(), b"z".to_vec()))).await;
    refused(|it| it.headers.push(("x".into(), b"a\r\nb: c".to_vec()))).await;
    refused(|it| it.headers.push(("x".into(), b"a\0".to_vec()))).await;
    refused(|it| it.method = String::new()).await;
    refused(|it| it.method = "GET /".into()).await;
    refused(|it| it.host = String::new()).await;
    refused(|it| it.host = "gw.test\r\nx: y".into()).await;
    refused(|it| it.host = "user@gw.test".into()).await;
    refused(|it| it.path = String::new()).await;
    refused(|it| it.path = "http://gw.test/records/1".into()).await;
    assert_eq!(fixture.pdp.count(), 0);
    let mut bytes = Check::new("GET", "/records/1", ALICE);
    bytes.headers.push(("x-name".into(), b"caf\xe9".to_vec()));
    assert_eq!(bytes.ask(address).await.status(), 200);
}

/// Headers that clients send, good and bad, any of them more than once.
fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        Just("x-user"),
        Just("x_user"),
        Just("x-forwarded-for"),
        Just("x-forwarded-host"),
        Just("x-request-id"),
        Just("x-envoy-retry-on"),
        Just("proxy-authorization"),
        Just("dpop"),
        Just("traceparent"),
        Just("tracestate"),
        Just("cookie"),
        Just("accept"),
        Just("x-own"),
        Just("content-type"),
    ];
    prop::collection::vec((name.prop_map(str::to_owned), "[a-z0-9,;= -]{0,12}"), 0..6)
}

/// With Envoy, the upstream gets the headers that it gets from the gateway.
#[test]
fn the_upstream_gets_the_same_headers_by_either_way() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let fixture = runtime.block_on(fixture());
    let config = Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&headers(), |headers| {
            for path in ["/records/1", "/public/x"] {
                runtime.block_on(same_headers(&fixture, path, &headers))?;
            }
            Ok(())
        })
        .unwrap();
}

async fn same_headers(
    fixture: &Fixture,
    path: &str,
    headers: &[(String, String)],
) -> Result<(), TestCaseError> {
    let lines = headers.iter();
    let lines = lines.map(|(name, value)| format!("{name}: {}\r\n", value.trim()));
    let lines = lines.collect::<Vec<_>>().concat();
    let request = get(path, "at_alice").replace("Connection:", &format!("{lines}Connection:"));
    let forwarded = fixture.raw(&request).await;
    prop_assert_eq!(forwarded.status(), 200, "{}", request);
    let mut expected = fixture.upstream.seen().last().unwrap().headers.clone();
    let check = Check::new("GET", path, &format!("{ALICE}{lines}"));
    let called = call(
        Dialect::EnvoyGrpc.addr(fixture),
        CHECK,
        framed(&check.message()),
        &[],
    )
    .await;
    let mut actual = HeaderMap::new();
    for (name, value) in &check.headers {
        let name: http::HeaderName = name.parse().unwrap();
        actual.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    apply(&called.body[5..], &mut actual);
    // Each way has its own.
    for name in [
        "host",
        "x-request-id",
        "traceparent",
        "x-forwarded-for",
        "connection",
    ] {
        expected.remove(name);
        actual.remove(name);
    }
    prop_assert_eq!(actual, expected);
    Ok(())
}

/// What Envoy does by a permit.
fn apply(response: &[u8], headers: &mut HeaderMap) {
    let ok = fields(response).into_iter().find(|(tag, _)| *tag == 3);
    for (tag, value) in fields(&ok.expect("a permit").1) {
        match tag {
            2 => {
                let option = fields(&value);
                let header = fields(&option[0].1);
                let name: http::HeaderName = String::from_utf8(header[0].1.clone())
                    .unwrap()
                    .parse()
                    .unwrap();
                let value = header.get(1).map(|it| it.1.clone()).unwrap_or_default();
                let value = HeaderValue::from_bytes(&value).unwrap();
                match option.get(1) {
                    Some((3, action)) if action[7] == 2 => drop(headers.insert(name, value)),
                    None => drop(headers.append(name, value)),
                    other => panic!("{other:?}"),
                }
            }
            5 => drop(headers.remove(String::from_utf8(value).unwrap())),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_scheme_and_the_client_are_those_of_the_question() {
    let fixture = fixture().await;
    let mut check = Check::new("GET", "/records/1", ALICE);
    check.scheme = "https".into();
    check
        .headers
        .push(("x-forwarded-for".into(), b"203.0.113.9".to_vec()));
    let yes = check.ask(Dialect::EnvoyGrpc.addr(&fixture)).await;
    assert_eq!(yes.status(), 200, "{yes:?}");
    assert_eq!(yes.header("x-forwarded-proto"), Some("https"));
    assert_eq!(yes.header("x-forwarded-for"), Some("198.51.100.7"));
    assert_eq!(yes.header("x-forwarded-host"), Some("gw.test"));
    check.path = "/todos/1".into();
    for (scheme, host, expected) in [
        ("https", "gw.test:443", 200),
        ("http", "gw.test:80", 200),
        ("https", "gw.test:0443", 400),
    ] {
        (check.scheme, check.host) = (scheme.into(), host.into());
        let answer = check.ask(Dialect::EnvoyGrpc.addr(&fixture)).await;
        assert_eq!(answer.status(), expected, "{scheme} {host}");
        if expected == 200 {
            // As for one who speaks with the gateway itself.
            let asked = fixture.pdp.last().resource.properties;
            assert_eq!(asked["hostname"], "gw.test");
            assert_eq!(asked["uri"], format!("{scheme}://gw.test/todos/1"));
        }
    }
}

#[tokio::test]
async fn whoever_waits_no_longer_is_told_so() {
    let fixture = fixture().await;
    *fixture.pdp.delay.lock().unwrap() = Duration::from_secs(3);
    let body = framed(&Check::new("GET", "/records/1", ALICE).message());
    let asked = tokio::time::Instant::now();
    assert_eq!(code(&fixture, body, &[("grpc-timeout", "200m")]).await, "4");
    assert!(asked.elapsed() < Duration::from_secs(2));
    // What was asked for is there for the next.
    *fixture.pdp.delay.lock().unwrap() = Duration::ZERO;
    let yes = Check::new("GET", "/records/2", ALICE)
        .ask(Dialect::EnvoyGrpc.addr(&fixture))
        .await;
    assert_eq!(yes.status(), 200);
}

#[tokio::test]
async fn who_may_not_call_is_told_so_before_the_question_is_read() {
    let gateway = "{ workers: 1, access_log: 'off', forward_auth: [
      { listen: '127.0.0.1:0', dialect: envoy_grpc, proxies: [10.0.0.0/8] } ] }";
    let setup = Setup {
        gateway: gateway.into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let address = fixture.gateway.forward_auth()[0];
    for body in [
        framed(&Check::new("GET", "/public/x", "").message()),
        vec![1, 2, 3],
    ] {
        let called = call(address, CHECK, body, &[]).await;
        assert_eq!(called.code(), Some("7"), "{called:?}");
    }
    assert!((fixture.metric("pep_rejected_requests_total") - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn its_health_can_be_asked_for() {
    let fixture = fixture().await;
    let address = Dialect::EnvoyGrpc.addr(&fixture);
    let health = "/grpc.health.v1.Health/Check";
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        let called = call(address, health, framed(&field(1, service)), &[]).await;
        assert_eq!(
            (called.code(), &called.body[..]),
            (Some("0"), &[0, 0, 0, 0, 2, 8, 1][..])
        );
    }
    let called = call(address, health, framed(&field(1, "other")), &[]).await;
    assert_eq!(called.code(), Some("5"));
    let called = call(address, "/grpc.health.v1.Health/Watch", framed(b""), &[]).await;
    assert_eq!(called.code(), Some("12"));
}

/// Bytes that are no HTTP/2, or a hostile one.
#[tokio::test]
async fn hostile_bytes_end_their_connection_and_nothing_else() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let fixture = fixture().await;
    let address = Dialect::EnvoyGrpc.addr(&fixture);
    let with = |bytes: &[u8]| [PREFACE, &settings, bytes].concat();
    // Headers that never end, in frames without end.
    let mut continued = vec![0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
    for _ in 0..20_000 {
        continued.extend_from_slice(&[0, 0, 1, 9, 0, 0, 0, 0, 1, 0x82]);
    }
    // Calls that are taken back at once, very many of them.
    let mut resets = Vec::new();
    for stream in (1_u32..20_000).step_by(2) {
        resets.extend_from_slice(&[0, 0, 1, 1, 4]);
        resets.extend_from_slice(&stream.to_be_bytes());
        resets.push(0x82);
        resets.extend_from_slice(&[0, 0, 4, 3, 0]);
        resets.extend_from_slice(&stream.to_be_bytes());
        resets.extend_from_slice(&[0, 0, 0, 8]);
    }
    for bytes in [
        b"GET /records/1 HTTP/1.1\r\nHost: gw.test\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n".to_vec(),
        vec![0x16, 3, 1, 2, 0],
        with(&[0xff; 64]),
        with(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
        with(&[0, 0, 0, 0, 0, 0, 0, 0, 0]),
        with(&continued),
        with(&resets),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
        assert!(read.await.is_ok(), "{:?}", &bytes[..bytes.len().min(80)]);
    }
    let yes = Check::new("GET", "/records/1", ALICE).ask(address).await;
    assert_eq!(yes.status(), 200);
    eventually("connections end", || {
        fixture.metric("pep_connections") < 1.0
    })
    .await;
}

#[tokio::test]
async fn whoever_connects_and_says_nothing_is_cut_off() {
    let gateway = "{ workers: 1, access_log: 'off', timeouts: { head_secs: 1 }, forward_auth: [
      { listen: '127.0.0.1:0', dialect: envoy_grpc } ] }";
    let setup = Setup {
        gateway: gateway.into(),
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let mut stream = TcpStream::connect(fixture.gateway.forward_auth()[0])
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(4), stream.read_to_end(&mut answer));
    assert!(read.await.is_ok());
}

/// Whatever is changed in the bytes of a call: never a yes that the question without the change would not have.
#[test]
fn no_mutation_of_a_refused_call_is_a_yes() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let fixture = runtime.block_on(fixture());
    let address = Dialect::EnvoyGrpc.addr(&fixture);
    let good = framed(&Check::new("GET", "/scoped", "").message());
    let length = good.len();
    let changes = prop::collection::vec((0..length, any::<u8>()), 1..5);
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&changes, |changes| {
            let mut bytes = good.clone();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let called = runtime.block_on(call(address, CHECK, bytes, &[]));
            let code = called.code().unwrap();
            let is_no = code != "0" || fields(&called.body[5..]).iter().any(|(tag, _)| *tag == 2);
            prop_assert!(is_no, "{:?}", called);
            Ok(())
        })
        .unwrap();
    assert_eq!(fixture.pdp.asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn frames_that_ask_nothing_are_a_flood() {
    let fixture = fixture().await;
    let address = Dialect::EnvoyGrpc.addr(&fixture);
    for one in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    ] {
        let mut frames = Frames::begin(TcpStream::connect(address).await.unwrap()).await;
        let outcome = frames.flood(&one).await;
        assert!(
            matches!(outcome, Outcome::GoAway(_) | Outcome::Closed),
            "{outcome:?}"
        );
    }
    // Many calls on one connection are none.
    for _ in 0..3 {
        let yes = Check::new("GET", "/records/1", ALICE).ask(address).await;
        assert_eq!(yes.status(), 200);
    }
}
