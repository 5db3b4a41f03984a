//! Reads that are slow at one endpoint, and are asked of another one, too.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::Several;
use crate::fixture::{eventually, get, raw};
use crate::upstream::{Speaks, Upstream};

/// The first gets the first request.
async fn start(protocol: &str, settings: &str) -> Several {
    start_after(100, protocol, settings).await
}

/// The same; the other one is asked after so many milliseconds.
async fn start_after(after_ms: u64, protocol: &str, settings: &str) -> Several {
    let mut all = Vec::new();
    for _ in 0..2 {
        all.push(match protocol {
            "http2" => Upstream::start_speaking(Speaks::Http2).await,
            _ => Upstream::start().await,
        });
    }
    let settings = format!("protocol: {protocol}, hedge: {{ after_ms: {after_ms} }}, {settings}");
    let fixture = Several::setup(&all, &settings).await.start().await;
    Several { fixture, all }
}

const HEDGES: &str = "pep_upstream_retries_total{reason=\"hedge\",upstream=\"a\"} ";

fn hedged(several: &Several) -> String {
    let text = several.fixture.metrics.render();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(HEDGES));
    lines.next().unwrap().to_owned()
}

#[tokio::test]
async fn the_first_answer_counts_and_the_other_is_given_up() {
    for protocol in ["http1", "http2"] {
        let several = start(protocol, "").await;
        several.all[0].takes(3_000);
        let begin = Instant::now();
        let answer = several.fixture.get("/records/1", "at_alice").await;
        assert_eq!(answer.status(), 200);
        let took = begin.elapsed();
        assert!((100..900).contains(&took.as_millis()), "{took:?}");
        assert_eq!(several.counts(), [1, 1]);
        assert_eq!(hedged(&several), "1");
        eventually("it is given up", || several.all[0].given_up() == 1).await;
        // It is the same request.
        let [first, second] = [several.all[0].last(), several.all[1].last()];
        assert_eq!(first.headers, second.headers);
        // The first one may be the faster after all.
        let several = start(protocol, "").await;
        several.all[0].takes(400);
        several.all[1].takes(3_000);
        let begin = Instant::now();
        assert_eq!(
            several.fixture.get("/records/1", "at_alice").await.status(),
            200
        );
        assert!(begin.elapsed() < Duration::from_secs(1));
        eventually("it is given up", || several.all[1].given_up() == 1).await;
        assert_eq!(several.counts(), [1, 1]);
    }
}

#[tokio::test]
async fn what_is_fast_or_no_read_is_asked_once() {
    // So late that what is fast is fast on a busy machine, too.
    let several = start_after(500, "http1", "").await;
    assert_eq!(
        several.fixture.get("/records/1", "at_alice").await.status(),
        200
    );
    several.all[0].takes(1_000);
    several.all[1].takes(1_000);
    let with_body = "Content-Length: 2\r\nConnection: close\r\n\r\nhi";
    for request in [
        get("/public/ok", "x").replacen("GET", "POST", 1),
        get("/public/ok", "x").replacen("GET", "PUT", 1),
        get("/public/ok", "x").replace("Connection: close\r\n\r\n", with_body),
    ] {
        assert_eq!(several.fixture.raw(&request).await.status(), 200);
    }
    assert_eq!(several.counts().iter().sum::<usize>(), 4);
    assert_eq!(hedged(&several), "0");
}

/// SECURITY: as between two tries.
#[tokio::test]
async fn nobody_is_asked_for_who_may_not_go_on_meanwhile() {
    let several = start("http1", "").await;
    several.all[0].takes(1_500);
    let addr = several.fixture.addr;
    let asking = tokio::task::spawn(async move { raw(addr, &get("/records/1", "at_alice")).await });
    eventually("it is sent", || several.counts()[0] == 1).await;
    several.fixture.tokens.forget("at_alice");
    let event = json!({ "kind": "token_revoked", "token_ref": "ref_alice" });
    several.fixture.announce_and_wait(event).await;
    assert_eq!(asking.await.unwrap().status(), 401);
    assert_eq!(several.counts(), [1, 0]);
}

#[tokio::test]
async fn there_are_only_so_many() {
    let several = start(
        "http1",
        "retries: { budget_percent: 0, budget_min_per_second: 1 }",
    )
    .await;
    for one in &several.all {
        one.takes(400);
    }
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let addr = several.fixture.addr;
        asking.spawn(async move { raw(addr, &get("/records/1", "at_alice")).await.status() });
    }
    assert_eq!(asking.join_all().await, [200; 5]);
    assert_eq!(several.counts().iter().sum::<usize>(), 6);
    let beyond = "pep_upstream_retry_budget_exhausted_total";
    assert!(several.fixture.is(beyond, 4.0));
}

#[tokio::test]
async fn a_better_answer_is_waited_for_and_a_bad_one_is_better_than_none() {
    for (second, expected) in [(200, 200), (503, 503)] {
        let several = start("http1", "retries: { statuses: [503] }").await;
        several.all[0].answer_with(503);
        several.all[0].takes(300);
        several.all[1].answer_with(second);
        several.all[1].takes(600);
        let answer = several.fixture.get("/public/status", "x").await;
        assert_eq!(answer.status(), expected);
        assert_eq!(several.counts(), [1, 1]);
    }
}
