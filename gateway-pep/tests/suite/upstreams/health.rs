//! Endpoints that are ejected because of what their requests come to, and those that say themselves that they are
//! not well.

use std::path::Path;
use std::time::Duration;

use service_kit::health::Status;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::Several;
use crate::fixture::{Fixture, eventually};
use crate::upstream::Upstream;

/// One endpoint that is well, with weight 3, and one where nobody listens.
async fn one_is_closed(settings: &str) -> (Fixture, Upstream) {
    let well = Upstream::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut other = well.clone();
    other.addr = closed.local_addr().unwrap();
    drop(closed);
    let setup = Several::setup(&[well.clone(), other], settings).await;
    (setup.start().await, well)
}

async fn statuses(fixture: &Fixture, path: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(fixture.get(path, "at_alice").await.status());
    }
    statuses
}

fn part(fixture: &Fixture) -> Option<Status> {
    fixture.health.parts().remove("upstream.a")
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_out_comes_back_and_is_left_out_for_longer() {
    let settings = "retries: { attempts: 0 }, outlier_detection: { consecutive_failures: 2, ejection_secs: 1 }";
    let (fixture, well) = one_is_closed(settings).await;
    assert_eq!(part(&fixture), Some(Status::Ready));
    let seen = statuses(&fixture, "/records/1", 8).await;
    assert_eq!(seen.iter().filter(|status| **status == 502).count(), 2);
    let ejections = || fixture.metric("pep_upstream_endpoint_ejections_total");
    eventually("it is ejected", || ejections() > 0.0).await;
    assert!(fixture.metric("pep_upstream_endpoint_up") < 2.0);
    let seen = statuses(&fixture, "/records/1", 8).await;
    assert!(seen.iter().all(|status| *status == 200), "{seen:?}");
    assert_eq!(well.seen().len(), 14);
    let Some(Status::Stale { reason }) = part(&fixture) else {
        panic!("{:?}", part(&fixture));
    };
    assert!(
        reason.starts_with("1 of 2 endpoints down (127."),
        "{reason}"
    );
    assert!(fixture.health.is_ready(), "other upstreams are well");
    eventually("it comes back", || part(&fixture) == Some(Status::Ready)).await;
    statuses(&fixture, "/records/1", 8).await;
    eventually("it is ejected again", || ejections() > 1.0).await;
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_ne!(part(&fixture), Some(Status::Ready), "for two seconds");
}

#[tokio::test]
async fn answers_count_only_where_that_is_said_and_in_a_row() {
    for (statuses_that_count, expected) in [("[]", false), ("[503]", true)] {
        let settings = format!(
            "outlier_detection: {{ consecutive_failures: 3, statuses: {statuses_that_count} }}"
        );
        let several = Several::start(2, &settings).await;
        several.all[1].answer_with(503);
        for _ in 0..4 {
            // A good answer in between: nobody fails three times in a row.
            let path = if several.counts()[1] == 2 {
                "/records/1"
            } else {
                "/records/status"
            };
            statuses(&several.fixture, path, 4).await;
        }
        let ejections = || {
            several
                .fixture
                .metric("pep_upstream_endpoint_ejections_total")
        };
        assert!(ejections() < 1.0);
        statuses(&several.fixture, "/records/status", 12).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(ejections() > 0.0, expected, "{statuses_that_count}");
    }
}

#[tokio::test]
async fn what_clients_break_off_or_do_not_send_ejects_nobody() {
    let settings = "outlier_detection: { consecutive_failures: 1 }";
    let all = [Upstream::start().await, Upstream::start().await];
    let mut setup = Several::setup(&all, settings).await;
    setup.gateway = "{ workers: 1, access_log: 'off', timeouts: { response_secs: 1 } }".into();
    let fixture = setup.start().await;
    for _ in 0..4 {
        let mut stream = TcpStream::connect(fixture.addr).await.unwrap();
        let head = "POST /public/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let head = "POST /public/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut bad = TcpStream::connect(fixture.addr).await.unwrap();
    bad.write_all(format!("{head}4\r\nhalf\r\n").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    bad.write_all(b"nonsense\r\n").await.unwrap();
    // Nothing more comes of it, and the answer is waited for in vain.
    let slow =
        fixture.raw("POST /public/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    assert_eq!(slow.await.status(), 504);
    assert!(fixture.metric("pep_upstream_endpoint_requests_total") >= 6.0);
    assert!(fixture.metric("pep_upstream_endpoint_ejections_total") < 1.0);
    // But one that has everything and does not answer is an outlier.
    assert_eq!(
        fixture.get("/records/never", "at_alice").await.status(),
        504
    );
    eventually("it is ejected", || {
        fixture.metric("pep_upstream_endpoint_ejections_total") > 0.0
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_says_that_it_is_not_well_gets_nothing_and_is_asked_once_for_all_workers()
{
    let settings = "health_check: { path: /healthz, interval_ms: 50, unhealthy_threshold: 2 }";
    let all = [Upstream::start().await, Upstream::start().await];
    let mut setup = Several::setup(&all, settings).await;
    setup.gateway = "{ workers: 3, access_log: 'off' }".into();
    let fixture = setup.start().await;
    all[1].answer_with(500);
    let up = || fixture.metric("pep_upstream_endpoint_up");
    eventually("it is down", || up() < 2.0).await;
    let before = all[1].seen().len();
    for status in statuses(&fixture, "/records/1", 12).await {
        assert_eq!(status, 200);
    }
    assert_eq!(all[1].seen().len(), before);
    assert!(matches!(part(&fixture), Some(Status::Stale { .. })));
    let (begun, asked) = (tokio::time::Instant::now(), all[0].checks());
    tokio::time::sleep(Duration::from_millis(600)).await;
    let rounds = begun.elapsed().as_millis() / 45 + 2;
    let asked = all[0].checks() - asked;
    assert!(
        asked >= 3 && (asked as u128) <= rounds,
        "{asked} of {rounds}"
    );
    all[1].answer_with(202);
    eventually("it is up", || up() > 1.0).await;
    statuses(&fixture, "/records/1", 24).await;
    assert!(all[1].seen().len() > before);
    assert_eq!(part(&fixture), Some(Status::Ready));
}

#[tokio::test]
async fn where_nobody_is_well_all_are_tried_or_the_answer_is_503() {
    for (threshold, expected) in [(50, 200), (0, 503)] {
        let settings = format!(
            "panic_threshold_percent: {threshold}, \
             health_check: {{ path: /healthz, interval_ms: 30, unhealthy_threshold: 1 }}"
        );
        let all = [Upstream::start().await];
        all[0].answer_with(500);
        let fixture = Several::setup(&all, &settings).await.start().await;
        eventually("it is down", || {
            matches!(part(&fixture), Some(Status::Stale { .. }))
        })
        .await;
        let answer = fixture.get("/records/1", "at_alice").await;
        assert_eq!(answer.status(), expected, "{answer:?}");
        let is_panic = fixture.metric("pep_upstream_panic");
        assert_eq!(is_panic > 0.0, expected == 200);
        if expected == 503 {
            assert!(answer.body().contains("upstream-unhealthy"), "{answer:?}");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
}

#[tokio::test]
async fn another_configuration_has_its_own_endpoints_and_of_those_before_nothing_is_left() {
    let (mut fixture, well) =
        one_is_closed("health_check: { path: /healthz, interval_ms: 30 }").await;
    eventually("one is down", || {
        matches!(part(&fixture), Some(Status::Stale { .. }))
    })
    .await;
    let gateway = "{ workers: 1, access_log: 'off' }";
    let other = Upstream::start().await;
    let settings = format!(
        "endpoints: ['{}', '{}'], load_balancing: least_request",
        other.addr, well.addr
    );
    let config = crate::fixture::config(gateway, ("http", well.addr), &settings, "");
    fixture
        .gateway
        .reload(&config, Path::new("."))
        .await
        .unwrap();
    eventually("all are up", || part(&fixture) == Some(Status::Ready)).await;
    for status in statuses(&fixture, "/records/1", 12).await {
        assert_eq!(status, 200);
    }
    assert!(!other.seen().is_empty() && !well.seen().is_empty());
    let up = fixture.metric("pep_upstream_endpoint_up");
    assert!((up - 2.0).abs() < 0.1, "{up}");
    // Nobody is asked any more by who was asked for before.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let asked = well.checks();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(well.checks(), asked);
    let config = crate::fixture::config(gateway, ("http", well.addr), "", "");
    fixture
        .gateway
        .reload(&config, Path::new("."))
        .await
        .unwrap();
    assert_eq!(part(&fixture), None);
    let text = fixture.metrics.render();
    assert!(!text.contains("endpoint=\""), "{text}");
}

#[tokio::test]
async fn a_configuration_that_is_refused_says_nothing_of_endpoints() {
    let checked = "health_check: { path: /healthz, interval_ms: 30 }";
    let (mut fixture, well) = one_is_closed(checked).await;
    let up = || fixture.metric("pep_upstream_endpoint_up");
    eventually("one is down", || (up() - 1.0).abs() < 0.1).await;
    let stale = part(&fixture);
    assert!(matches!(stale, Some(Status::Stale { .. })), "{stale:?}");
    let series = |fixture: &Fixture| {
        let all = fixture.metrics.render();
        let all = all
            .lines()
            .filter(|it| it.starts_with("pep_upstream_endpoint_up"));
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = series(&fixture);
    // The same endpoints and one more; refused before and after they were made.
    let other = Upstream::start().await;
    let closed = before
        .iter()
        .find(|it| it.ends_with(" 0"))
        .expect("one is down");
    let closed = closed
        .split("endpoint=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let settings = format!(
        "{checked}, endpoints: ['{closed}', '{}', '{}']",
        well.addr, other.addr
    );
    let file = "access_log: { file: /dev/null/access.jsonl }";
    let keys = "issuers: { corp: { jwt: { issuer: 'https://corp.test', jwks_uri: 'http://127.0.0.1:1' } } }";
    for gateway in [
        format!("{{ workers: 1, {file} }}"),
        format!("{{ workers: 1, access_log: 'off', {keys} }}"),
        "{ workers: 7, access_log: 'off' }".to_owned(),
    ] {
        let config = crate::fixture::config(&gateway, ("http", well.addr), &settings, "");
        let refused = fixture.gateway.reload(&config, Path::new(".")).await;
        assert!(refused.is_err(), "{gateway}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(series(&fixture), before, "{gateway}");
        assert_eq!(part(&fixture), stale, "{gateway}");
    }
}
