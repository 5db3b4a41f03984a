//! Copies of permitted requests at a second upstream: as they are forwarded, with a JWT of their own or none, and never
//! in the way of the request itself.

use std::time::{Duration, Instant};

use http::Version;

use crate::fakes::OTHER_RESOURCE;
use crate::fixture::{Fixture, Setup, eventually};
use crate::upstream::{Speaks, Upstream};

const MIRRORED: &str = "
  - { match: '/plain/{id}', methods: [GET, POST], upstream: a, action: view, resource: 'Record/{id}', mirror: { upstream: b, body_bytes: 10 } }
  - match: '/own/{*rest}'
    methods: [GET]
    upstream: a
    action: view
    resource: 'Record/{rest}'
    rewrite: { path: '/moved/{*rest}' }
    request_headers: { set: { X-Env: prod } }
    mirror: { upstream: b, jwt: true, in_flight: 2 }
  - { match: '/few/{id}', methods: [GET], upstream: a, public: true, mirror: { upstream: b, percent: 20 } }
  - { match: '/dead/{id}', methods: [GET], upstream: a, public: true, mirror: { upstream: c } }
";

async fn fixture() -> (Fixture, Upstream) {
    let other = Upstream::start().await;
    let setup = Setup {
        upstream_settings: format!(
            "connections: 20 }}, b: {{ url: 'http://{}', resource: '{OTHER_RESOURCE}' }}, c: {{ url: 'http://127.0.0.1:9' ",
            other.addr
        ),
        more_routes: MIRRORED,
        ..Setup::new().await
    };
    (setup.start().await, other)
}

/// How many copies came to this.
fn copies(fixture: &Fixture, result: &str) -> usize {
    let name = format!("pep_mirrored_requests_total{{result=\"{result}\"}} ");
    let all = fixture.metrics.render();
    let value = all.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_copy_is_what_the_upstream_gets_without_its_jwt() {
    let (fixture, other) = fixture().await;
    let request = super::with(
        "/plain/1?a=b",
        "X-User-Id: evil\r\nX-A: 1\r\nCookie: a=b\r\n",
    );
    assert_eq!(fixture.raw(&request).await.status(), 200);
    eventually("the copy arrives", || other.seen().len() == 1).await;
    let (here, there) = (fixture.upstream.seen(), other.seen());
    let (here, there) = (&here[0], &there[0]);
    assert_eq!((&there.method, &there.target), (&here.method, &here.target));
    assert_eq!(there.headers.get("authorization"), None);
    assert_eq!(there.headers.get("x-user-id"), None);
    let host = there.headers["host"].to_str().unwrap();
    assert_eq!(host, other.addr.to_string());
    for name in here
        .headers
        .keys()
        .filter(|name| !["authorization", "host"].contains(&name.as_str()))
    {
        assert_eq!(there.headers.get(name), here.headers.get(name), "{name}");
    }
    let own = super::with("/own/a%20b/c", "X-Env: dev\r\n");
    assert_eq!(fixture.raw(&own).await.status(), 200);
    eventually("the copy arrives", || other.seen().len() == 2).await;
    let copy = other.seen()[1].clone();
    assert_eq!(copy.target, "/moved/a%20b/c");
    assert_eq!(copy.headers["x-env"], "prod");
    assert_eq!(copy.headers["authorization"], "Bearer jwt.alice.other");
    eventually("both are counted", || copies(&fixture, "sent") == 2).await;
}

#[tokio::test]
async fn a_copy_is_said_in_the_version_of_http_of_its_own_upstream() {
    for (own, copied) in [("http1", "http2"), ("http2", "http1"), ("http2", "http2")] {
        let start = async |protocol| match protocol {
            "http2" => Upstream::start_speaking(Speaks::Http2).await,
            _ => Upstream::start().await,
        };
        let other = start(copied).await;
        let setup = Setup {
            upstream: start(own).await,
            upstream_settings: format!(
                "protocol: {own} }}, b: {{ url: 'http://{}', resource: '{OTHER_RESOURCE}', protocol: {copied} }}, c: {{ url: 'http://127.0.0.1:9' ",
                other.addr
            ),
            more_routes: MIRRORED,
            ..Setup::new().await
        };
        let fixture = setup.start().await;
        let post = super::with("/plain/1?a=b", "TE: trailers\r\nContent-Length: 5\r\n");
        let post = format!("{}hello", post.replacen("GET", "POST", 1));
        assert_eq!(fixture.raw(&post).await.status(), 200);
        eventually("the copy arrives", || other.seen().len() == 1).await;
        let copy = other.last();
        assert_eq!(copy.body, "hello");
        let addr = other.addr;
        if copied == "http2" {
            assert_eq!(copy.version, Version::HTTP_2);
            assert_eq!(copy.target, format!("http://{addr}/plain/1?a=b"));
            assert!(!copy.headers.contains_key("host"));
        } else {
            assert_eq!(copy.version, Version::HTTP_11);
            assert_eq!(copy.target, "/plain/1?a=b");
            assert_eq!(copy.headers["host"], addr.to_string().as_str());
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_not_copied_and_bodies_are_bounded() {
    let (fixture, other) = fixture().await;
    assert_eq!(
        fixture.get("/plain/forbidden", "at_alice").await.status(),
        403
    );
    assert_eq!(fixture.get("/plain/1", "at_nobody").await.status(), 401);
    for (body, copied) in [("short", true), ("longer than that", false)] {
        let post = super::with("/plain/1", &format!("Content-Length: {}\r\n", body.len()));
        let post = format!("{}{body}", post.replacen("GET", "POST", 1));
        assert_eq!(fixture.raw(&post).await.status(), 200);
        if copied {
            eventually("the copy arrives", || other.seen().len() == 1).await;
            assert_eq!(other.seen()[0].body, body);
        }
    }
    eventually("the long one is counted", || copies(&fixture, "body") >= 1).await;
    assert_eq!(other.seen().len(), 1);
    assert_eq!(fixture.upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_slow_or_dead_mirror_is_in_nobodys_way() {
    let (fixture, other) = fixture().await;
    let began = Instant::now();
    for id in 0..6 {
        assert_eq!(
            fixture
                .get(&format!("/own/{id}"), "at_alice")
                .await
                .status(),
            200
        );
        assert_eq!(
            fixture
                .get(&format!("/dead/{id}"), "at_alice")
                .await
                .status(),
            200
        );
    }
    eventually("nobody is there", || copies(&fixture, "failed") == 6).await;
    assert!(began.elapsed() < Duration::from_secs(4));
    eventually("those were answered", || copies(&fixture, "sent") == 6).await;
    // Answered there late: two copies are under way, and more are dropped.
    let before = other.seen().len();
    let slow = (0..6).map(|_| fixture.get("/own/slower", "at_alice"));
    for answer in futures_util::future::join_all(slow).await {
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(copies(&fixture, "dropped"), 4);
    eventually("two went", || other.seen().len() == before + 2).await;
    for _ in 0..100 {
        assert_eq!(fixture.get("/few/1", "at_alice").await.status(), 200);
    }
    let few = || {
        other
            .seen()
            .iter()
            .filter(|seen| seen.target == "/few/1")
            .count()
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!((4..45).contains(&few()), "{}", few());
}
