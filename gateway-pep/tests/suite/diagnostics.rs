//! What answers say about how they came to be, where they are to, and nowhere else.

use crate::fixture::{Answer, Fixture, Setup};

async fn start(diagnostics: &str, routes: &'static str) -> Fixture {
    let setup = Setup {
        gateway: format!("{{ workers: 1, access_log: 'off', diagnostics: {diagnostics} }}"),
        more_routes: routes,
        ..Setup::new().await
    };
    setup.start().await
}

const ALL: &str = "{ server_timing: true, cache_status: true, proxy_status: true }";

#[track_caller]
fn check(answer: &Answer, caches: Option<&str>, proxy: Option<&str>) {
    assert_eq!(answer.header("cache-status"), caches, "{answer:?}");
    assert_eq!(answer.header("proxy-status"), proxy, "{answer:?}");
}

/// Names and descriptions; how long each took must be a number.
fn timing(answer: &Answer) -> Vec<String> {
    let timing = answer.header("server-timing").unwrap();
    let items = timing.split(", ").map(|item| {
        let mut parts = item.split(';');
        let name = parts.next().unwrap().to_owned();
        let took = parts.next().unwrap().strip_prefix("dur=").unwrap();
        assert!(took.parse::<f64>().unwrap() >= 0.0, "{item}");
        parts.fold(name, |text, part| text + ";" + part)
    });
    items.collect()
}

#[tokio::test]
async fn an_answer_says_how_it_came_to_be() {
    let fixture = start(ALL, "").await;
    let first = fixture.get("/records/1", "at_alice").await;
    check(
        &first,
        Some("cedargate-tokens; fwd=miss, cedargate-decisions; fwd=miss"),
        None,
    );
    assert_eq!(
        timing(&first),
        [
            "swap;desc=\"remote\"",
            "decision;desc=\"remote\"",
            "upstream",
            "total"
        ]
    );
    let second = fixture.get("/records/1", "at_alice").await;
    check(
        &second,
        Some("cedargate-tokens; hit, cedargate-decisions; hit"),
        None,
    );
    assert_eq!(
        timing(&second),
        [
            "swap;desc=\"l1\"",
            "decision;desc=\"l1\"",
            "upstream",
            "total"
        ]
    );
    let public = fixture.get("/public/1", "at_alice").await;
    check(&public, None, None);
    assert_eq!(timing(&public), ["upstream", "total"]);
}

#[tokio::test]
async fn the_gateways_own_answers_say_what_went_wrong() {
    let fixture = start(ALL, "").await;
    for (path, token, status, error) in [
        ("/nowhere", "at_alice", 404, "destination_not_found"),
        ("/records/1", "at_nobody", 401, "http_request_denied"),
        ("/records/forbidden", "at_alice", 403, "http_request_denied"),
        ("/records/%00", "at_alice", 400, "http_request_error"),
    ] {
        let answer = fixture.get(path, token).await;
        assert_eq!(answer.status(), status, "{answer:?}");
        let expected = format!("cedargate; error={error}");
        assert_eq!(answer.header("proxy-status"), Some(&*expected), "{path}");
    }
    fixture
        .pdp
        .down
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = fixture.get("/records/2", "at_alice").await;
    check(
        &answer,
        Some("cedargate-tokens; hit"),
        Some("cedargate; error=proxy_internal_error"),
    );
    let mut setup = Setup::new().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    setup.upstream.addr = nowhere.local_addr().unwrap();
    drop(nowhere);
    setup.gateway = format!("{{ workers: 1, access_log: 'off', diagnostics: {ALL} }}");
    let fixture = setup.start().await;
    let answer = fixture.get("/records/1", "at_alice").await;
    assert_eq!(
        answer.header("proxy-status"),
        Some("cedargate; error=connection_refused")
    );
}

#[tokio::test]
async fn a_route_says_for_itself_and_nothing_is_said_unasked() {
    let told = "  - { match: '/told', methods: [GET], upstream: a, public: true, diagnostics: { server_timing: true } }\n  \
                - { match: '/quiet', methods: [GET], upstream: a, public: true, diagnostics: {} }\n";
    let quiet = Setup {
        more_routes: told,
        ..Setup::new().await
    };
    let quiet = quiet.start().await;
    for path in ["/records/1", "/nowhere", "/public/x", "/records/forbidden"] {
        let answer = quiet.get(path, "at_alice").await;
        check(&answer, None, None);
        assert_eq!(answer.header("server-timing"), None, "{answer:?}");
    }
    let answer = quiet.get("/told", "at_alice").await;
    check(&answer, None, None);
    assert_eq!(timing(&answer), ["upstream", "total"]);
    let loud = start(ALL, told).await;
    let answer = loud.get("/quiet", "at_alice").await;
    check(&answer, None, None);
    assert_eq!(answer.header("server-timing"), None);
}
