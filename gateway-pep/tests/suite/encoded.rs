//! Encoded characters that some readers would decode: taken where a route says so, and counted everywhere.

use std::path::Path;

use gateway_pep::GatewayError;
use serde_json::json;

use crate::fixture::{Fixture, Setup, config};
use crate::forward_auth::{DIALECTS, LISTENERS};

const ROUTES: &str = "  - { match: '/projects/{id}', methods: [GET], upstream: a, action: view, resource: 'Project/{id}', encoded_characters: [slash] }
  - { match: '/projects/{id}/files/{name}', methods: [GET], upstream: a, action: view, resource: 'File/{name}', resource_properties: { project: 'path:id' }, encoded_characters: [slash, percent, semicolon, backslash] }
  - { match: '/open/{name}', methods: [GET], upstream: a, public: true, encoded_characters: [percent] }
";

async fn fixture() -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', {LISTENERS} }}"),
        more_routes: ROUTES,
        ..Setup::new().await
    };
    setup.start().await
}

impl Fixture {
    fn encoded(&self, route: &str, character: &str, result: &str) -> u64 {
        self.metric_of(
            "pep_encoded_characters_total",
            &[
                ("http_route", route),
                ("character", character),
                ("result", result),
            ],
        )
    }
}

#[tokio::test]
async fn a_route_takes_what_it_says_and_the_question_is_about_the_decoded_name() {
    let fixture = fixture().await;
    let answer = fixture
        .get("/projects/group%2fname?x=%2F", "at_alice")
        .await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(
        fixture.upstream.last().target,
        "/projects/group%2Fname?x=%2F"
    );
    let asked = fixture.pdp.last();
    assert_eq!(asked.resource.id, "group/name");
    assert_eq!(asked.context["path"], "/projects/group%2Fname");
    let path = "/projects/a%2Fb/files/100%25%3bv%5c1";
    let answer = fixture.get(path, "at_alice").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(
        fixture.upstream.last().target,
        "/projects/a%2Fb/files/100%25%3Bv%5C1"
    );
    let asked = fixture.pdp.last();
    assert_eq!(asked.resource.id, "100%;v\\1");
    assert_eq!(asked.resource.properties["project"], json!("a/b"));
    assert_eq!(fixture.get("/open/5%25", "").await.status(), 200);
    assert_eq!(fixture.encoded("/projects/{id}", "slash", "accepted"), 1);
    for character in ["slash", "percent", "semicolon", "backslash"] {
        let route = "/projects/{id}/files/{name}";
        assert_eq!(fixture.encoded(route, character, "accepted"), 1);
        assert_eq!(fixture.encoded(route, character, "refused"), 0);
    }
}

#[tokio::test]
async fn nothing_else_takes_it_and_each_refusal_is_counted() {
    let fixture = fixture().await;
    for path in [
        "/projects/a%3Bb",
        "/projects/a%2Fb%5Cc",
        "/projects/a%25",
        "/records/a%2Fb",
        "/public/a%2Fb",
        "/open/a%2Fb",
        "/nowhere%2Fx",
        "/records%2F1",
        "/projects/a%2F..%2Fb",
        "/projects/..%2Fb",
        "/projects/%2Fb",
        "/projects/a%2F",
        "/projects/a%252fb",
        "/open/a%2500",
        "/projects/a%2F%00",
    ] {
        let answer = fixture.get(path, "at_alice").await;
        assert_eq!(answer.status(), 400, "{path} {answer:?}");
        for dialect in DIALECTS {
            let answer = dialect
                .ask(&fixture, "GET", path, "Authorization: Bearer at_alice\r\n")
                .await;
            let status = answer.status();
            assert_eq!(status, dialect.status(400), "{dialect:?} {path} {answer:?}");
        }
    }
    assert!(fixture.upstream.seen().is_empty() && fixture.pdp.count() == 0);
    // Each was asked about in five ways.
    for (route, character, times) in [
        ("/projects/{id}", "semicolon", 1),
        ("/projects/{id}", "slash", 1),
        ("/projects/{id}", "backslash", 1),
        ("/projects/{id}", "percent", 1),
        ("/records/{id}", "slash", 1),
        ("/public/{*rest}", "slash", 1),
        ("/open/{name}", "slash", 1),
        ("", "slash", 2),
    ] {
        let refused = fixture.encoded(route, character, "refused");
        assert_eq!(refused, times * 5, "{route} {character}");
        assert_eq!(fixture.encoded(route, character, "accepted"), 0);
    }
    let kind = |kind| fixture.metric_of("pep_ambiguous_requests_total", &[("kind", kind)]);
    assert!(kind("encoded_delimiter") > 0 && kind("dot_segment") > 0);
    assert!(kind("empty_segment") > 0);
}

/// One that asks in another proxy's place is told the same.
#[tokio::test]
async fn other_proxies_are_told_yes_where_the_route_takes_it() {
    let fixture = fixture().await;
    for dialect in DIALECTS {
        let path = "/projects/group%2Fname";
        let answer = dialect
            .ask(&fixture, "GET", path, "Authorization: Bearer at_alice\r\n")
            .await;
        assert_eq!(answer.status(), 200, "{dialect:?} {answer:?}");
        assert_eq!(fixture.pdp.last().resource.id, "group/name");
    }
}

#[tokio::test]
async fn a_route_that_could_not_tell_two_paths_apart_does_not_start() {
    let mut fixture = Fixture::start().await;
    for (route, why) in [
        (
            "match: '/files/{*rest}', action: view, resource: 'File/{rest}'",
            "takes many segments",
        ),
        (
            "match: '/files/{*rest}', public: true",
            "takes many segments",
        ),
        (
            "match: '/files/{a}/{b}', action: view, resource: 'File/{a}/{b}'",
            "several parameters",
        ),
        (
            "match: '/files/{a}', action: view, resource: 'File/{a}/{query:b}'",
            "several parameters",
        ),
    ] {
        let line = format!(
            "  - {{ {route}, methods: [GET], upstream: a, encoded_characters: [slash] }}\n"
        );
        let config = config(
            "{ workers: 1, access_log: 'off' }",
            ("http", fixture.upstream.addr),
            "",
            &line,
        );
        let refused = fixture.gateway.reload(&config, Path::new(".")).await;
        let Err(GatewayError::Config(issues)) = refused else {
            panic!("{route}: {refused:?}");
        };
        assert!(
            issues.iter().any(|it| it.to_string().contains(why)),
            "{route}"
        );
    }
}
