//! Endpoints in several zones, and how much one of them may have to do.

use tokio::task::JoinSet;

use super::Several;
use crate::fixture::{Fixture, Setup, eventually, get, raw};
use crate::upstream::{Speaks, Upstream};

const GATEWAY: &str = "{ workers: 1, access_log: 'off', zone: here }";

async fn start(of_each: &[&str], settings: &str) -> Several {
    let mut all = Vec::new();
    for _ in of_each {
        all.push(Upstream::start().await);
    }
    let setup = Setup {
        gateway: GATEWAY.into(),
        ..Several::setup_each(&all, of_each, settings).await
    };
    Several {
        fixture: setup.start().await,
        all,
    }
}

const ZONES: [&str; 4] = ["zone: here", "zone: here", "zone: there", "weight: 9"];

async fn ask(fixture: &Fixture, times: usize) {
    for n in 0..times {
        let request = get(&format!("/records/r{n}"), "at_alice");
        assert_eq!(fixture.raw(&request).await.status(), 200);
    }
}

#[tokio::test]
async fn those_that_are_near_get_all_requests_however_they_are_chosen() {
    for how in [
        "load_balancing: round_robin",
        "load_balancing: least_request",
        "load_balancing: consistent_hash, hash_on: 'path:id'",
    ] {
        let several = start(&ZONES, how).await;
        ask(&several.fixture, 20).await;
        let counts = several.counts();
        assert!(counts[0] > 0 && counts[1] > 0, "{how} {counts:?}");
        assert_eq!(counts[2..], [0, 0], "{how} {counts:?}");
    }
}

#[tokio::test]
async fn others_get_some_where_too_few_of_them_are_up() {
    let check = "health_check: { path: /healthz, interval_ms: 30, unhealthy_threshold: 1 }, \
                 panic_threshold_percent: 0";
    for (threshold, are_needed) in [(70, true), (50, false)] {
        let settings = format!("{check}, zone_threshold_percent: {threshold}");
        let several = start(&ZONES, &settings).await;
        several.all[0].answer_with(503);
        eventually("it is down", || {
            several.fixture.is("pep_upstream_endpoint_up", 3.0)
        })
        .await;
        ask(&several.fixture, 22).await;
        let counts = several.counts();
        assert_eq!(counts[0], 0);
        let far = counts[2] + counts[3];
        assert_eq!(far > 0, are_needed, "{counts:?}");
        // None is left.
        several.all[1].answer_with(503);
        eventually("it is down", || {
            several.fixture.is("pep_upstream_endpoint_up", 2.0)
        })
        .await;
        let before = several.counts()[2];
        ask(&several.fixture, 20).await;
        assert!(several.counts()[2] > before);
    }
}

#[tokio::test]
async fn a_request_that_failed_near_goes_on_far_away() {
    let several = start(
        &["zone: here", "zone: there"],
        "retries: { statuses: [503] }",
    )
    .await;
    several.all[0].answer_with(503);
    let answer = several.fixture.get("/public/status", "x").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(several.counts(), [1, 1]);
}

#[tokio::test]
async fn where_nobody_says_it_or_all_are_far_zones_mean_nothing() {
    let several = start(&["zone: there", "zone: elsewhere"], "").await;
    ask(&several.fixture, 4).await;
    assert_eq!(several.counts(), [2, 2]);
}

/// Statuses of so many at once.
async fn at_once(fixture: &Fixture, count: usize) -> Vec<u16> {
    let mut asking = JoinSet::new();
    for _ in 0..count {
        let addr = fixture.addr;
        asking.spawn(async move { raw(addr, &get("/records/slow", "at_alice")).await.status() });
    }
    let mut statuses = asking.join_all().await;
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn an_endpoint_gets_no_more_than_it_may_and_others_get_the_rest() {
    let of_each = ["zone: here, connections: 2", "zone: there, connections: 1"];
    let several = start(&of_each, "pending: 0").await;
    assert_eq!(
        at_once(&several.fixture, 5).await,
        [200, 200, 200, 503, 503]
    );
    assert_eq!(several.counts(), [2, 1]);
    let several = start(&of_each, "pending: 2").await;
    assert_eq!(
        at_once(&several.fixture, 6).await,
        [200, 200, 200, 200, 200, 503]
    );
    let counts = several.counts();
    assert_eq!(counts.iter().sum::<usize>(), 5);
    // With HTTP/2, too, where there is a connection for many.
    let mut all = Vec::new();
    for _ in 0..2 {
        all.push(Upstream::start_speaking(Speaks::Http2).await);
    }
    let of_each = ["connections: 2", "connections: 1"];
    let setup = Several::setup_each(&all, &of_each, "protocol: http2, pending: 0").await;
    let several = Several {
        fixture: setup.start().await,
        all,
    };
    assert_eq!(
        at_once(&several.fixture, 5).await,
        [200, 200, 200, 503, 503]
    );
    assert_eq!(several.counts(), [2, 1]);
}
