//! An upstream that runs in several places: who gets what, and what becomes of requests when one of them fails.

mod grpc;
mod health;
mod hedge;
mod http2;
mod others;

mod retries;
mod secure;
mod slow;
mod timeouts;
mod trailers;
mod zones;

use std::collections::BTreeMap;

use crate::fixture::{Fixture, Setup, eventually};
use crate::upstream::Upstream;

/// Places where the same service runs, beside the one of the fixture.
pub(crate) struct Several {
    pub(crate) fixture: Fixture,
    pub(crate) all: Vec<Upstream>,
}

impl Several {
    /// Weights are 3, 1, 1, … `settings`: of the upstream.
    pub(crate) async fn start(count: usize, settings: &str) -> Self {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Upstream::start().await);
        }
        let fixture = Self::setup(&all, settings).await.start().await;
        Self { fixture, all }
    }

    pub(crate) async fn setup(all: &[Upstream], settings: &str) -> Setup {
        let of_each: Vec<_> = (0..all.len())
            .map(|index| if index == 0 { "weight: 3" } else { "weight: 1" })
            .collect();
        Self::setup_each(all, &of_each, settings).await
    }

    /// `of_each`: settings of the endpoints.
    pub(crate) async fn setup_each(all: &[Upstream], of_each: &[&str], settings: &str) -> Setup {
        let endpoints: Vec<_> = all
            .iter()
            .zip(of_each)
            .map(|(one, own)| format!("{{ address: '{}', {own} }}", one.addr))
            .collect();
        Setup {
            upstream: all[0].clone(),
            upstream_settings: format!("endpoints: [{}], {settings}", endpoints.join(", ")),
            ..Setup::new().await
        }
    }

    pub(crate) fn counts(&self) -> Vec<usize> {
        self.all.iter().map(|one| one.seen().len()).collect()
    }
}

#[tokio::test]
async fn endpoints_get_their_shares_of_the_same_requests() {
    let several = Several::start(3, "").await;
    for _ in 0..10 {
        let answer = several.fixture.get("/records/1", "at_alice").await;
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(several.counts(), [6, 2, 2]);
    let url = several.all[0].addr.to_string();
    for one in &several.all {
        let seen = one.last();
        // What the upstream is called and whom the token is for, wherever it runs.
        assert_eq!(seen.headers["host"], url.as_str());
        assert_eq!(seen.headers["authorization"], "Bearer jwt.alice.signature");
        assert_eq!(seen.target, "/records/1");
    }
    let asked = several.fixture.tokens.count();
    assert_eq!(
        asked, 1,
        "the token is swapped for the upstream, not for a place"
    );
    let name =
        format!("pep_upstream_endpoint_requests_total{{endpoint=\"{url}\",upstream=\"a\"}} 6");
    let text = several.fixture.metrics.render();
    assert!(text.contains(&name), "{text}");
}

#[tokio::test]
async fn an_upstream_in_one_place_has_no_series_of_endpoints() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    let text = fixture.metrics.render();
    assert!(!text.contains("pep_upstream_endpoint"), "{text}");
}

#[tokio::test]
async fn whoever_has_less_to_do_gets_the_next_request() {
    let several = Several::start(2, "load_balancing: least_request").await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let addr = several.fixture.addr;
        waiting.spawn(async move {
            crate::fixture::raw(addr, &crate::fixture::get("/records/slow", "at_alice")).await
        });
    }
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let counts = several.counts();
    assert!((28..=32).contains(&counts[0]), "{counts:?}");
}

#[tokio::test]
async fn what_belongs_together_is_led_to_one_place() {
    // So many that each place has some, whatever their ports are.
    const VALUES: usize = 60;
    for hash_on in ["path:id", "subject", "header:x-t"] {
        let settings = format!("load_balancing: consistent_hash, hash_on: '{hash_on}'");
        let several = Several::start(3, &settings).await;
        for round in 0..2 {
            for n in 0..VALUES {
                let request = format!(
                    "GET /records/r{n} HTTP/1.1\r\nHost: a\r\nX-T: t{n}\r\nAuthorization: Bearer at_alice\r\nConnection: close\r\n\r\n"
                );
                let answer = several.fixture.raw(&request).await;
                assert_eq!(answer.status(), 200, "{round} {answer:?}");
            }
        }
        let mut places = BTreeMap::<String, Vec<usize>>::new();
        for (index, one) in several.all.iter().enumerate() {
            for seen in one.seen() {
                places.entry(seen.target).or_default().push(index);
            }
        }
        assert_eq!(places.len(), VALUES);
        for (target, at) in &places {
            assert!(at.len() == 2 && at[0] == at[1], "{target}: {at:?}");
        }
        let used = several.counts().iter().filter(|count| **count > 0).count();
        let expected = if hash_on == "subject" { 1 } else { 3 };
        assert_eq!(used, expected, "{hash_on}");
    }
}

#[tokio::test]
async fn connections_are_bounded_for_all_places_together() {
    let settings = "connections: 2, pending: 0, idle_connections: 2";
    let several = Several::start(3, settings).await;
    for _ in 0..10 {
        assert_eq!(
            several.fixture.get("/records/1", "at_alice").await.status(),
            200
        );
    }
    let open = several.fixture.metric("pep_upstream_connects_total");
    // More than there may be are not kept: somebody had to make room.
    assert!(open >= 3.0, "{open}");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let addr = several.fixture.addr;
        waiting.spawn(async move {
            crate::fixture::raw(addr, &crate::fixture::get("/records/slow", "at_alice")).await
        });
    }
    let mut statuses = Vec::new();
    while let Some(answer) = waiting.join_next().await {
        statuses.push(answer.unwrap().status());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503]);
}

#[tokio::test]
async fn a_name_is_where_its_addresses_are() {
    let upstream = Upstream::start().await;
    let port = upstream.addr.port();
    let setup = Setup {
        upstream_settings: format!("endpoints: ['localhost:{port}'], dns: {{ refresh_secs: 1 }}"),
        upstream,
        ..Setup::new().await
    };
    let fixture = setup.start().await;
    let resolved = || fixture.metric("pep_upstream_resolutions_total");
    eventually("the name is resolved again", || resolved() > 1.0).await;
    assert_eq!(fixture.get("/records/1", "at_alice").await.status(), 200);
    let host = format!("127.0.0.1:{port}");
    assert_eq!(fixture.upstream.last().headers["host"], host.as_str());
    let text = fixture.metrics.render();
    assert!(text.contains(&format!("endpoint=\"{host}\"")), "{text}");
    assert!(!text.contains("endpoint=\"localhost"), "{text}");
}
