//! Searches find exactly what evaluation permits, and do not look at everything for it.

mod world;

use std::collections::BTreeSet;

use authzen::{DecisionPoint as _, SearchKind, SearchRequest};
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Bounds, PageFound, Waiter};
use crate::Pdp;
use crate::fixture::{Fixture, busy};
use world::{POLICIES, SCHEMA};
pub(crate) use world::{World, all_pages, worlds};

#[test]
fn every_policy_of_the_pool_is_valid() {
    for (n, policy) in POLICIES.iter().enumerate() {
        let fixture = Fixture::empty();
        fixture.write("schema.cedarschema", SCHEMA);
        fixture.write("policies.cedar", &format!("@id(\"{n}\") {policy}"));
        if let Err(error) = fixture.try_open() {
            panic!("{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_search_finds_exactly_what_evaluation_permits(world in worlds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_fixture, pdp) = world.open();
            for kind in [SearchKind::Subject, SearchKind::Resource, SearchKind::Action] {
                let found = all_pages(&pdp, kind, world.question(), world.limit).await.unwrap();
                let once: BTreeSet<_> = found.iter().cloned().collect();
                prop_assert_eq!(found.len(), once.len(), "found twice: {:?}", found);
                prop_assert_eq!(once, world.permitted(&pdp, kind).await, "{:?}", kind);
            }
            Ok(())
        })?;
    }
}

/// `count` documents: every hundredth is ann's, in the folder `hers`, and big.
fn many(count: usize, policy: &str) -> Pdp {
    world_of_many(count, policy).open()
}

fn world_of_many(count: usize, policy: &str) -> Fixture {
    let fixture = Fixture::empty();
    fixture.write("schema.cedarschema", SCHEMA);
    fixture.write("policies.cedar", &format!("@id(\"p\") {policy}"));
    let mut entities = vec![
        json!({ "uid": { "type": "User", "id": "ann" }, "attrs": { "level": 1 }, "parents": [] }),
        json!({ "uid": { "type": "User", "id": "ben" }, "attrs": { "level": 1, "manager": { "type": "User", "id": "ann" } }, "parents": [] }),
        json!({ "uid": { "type": "Folder", "id": "hers" }, "attrs": {}, "parents": [] }),
    ];
    for n in 0..count {
        let is_hers = n % 100 == 0;
        let (owner, parents, size) = if is_hers {
            ("ben", json!([{ "type": "Folder", "id": "hers" }]), 5)
        } else {
            ("zoe", json!([]), 1)
        };
        entities.push(json!({ "uid": { "type": "Doc", "id": format!("d{n:06}") },
            "attrs": { "owner": { "type": "User", "id": owner }, "readers": [], "meta": {},
                "public": false, "size": size }, "parents": parents }));
    }
    fixture.write("entities.json", &Value::from(entities).to_string());
    fixture
}

/// So many candidates were decided in all.
fn decided(fixture: &Fixture) -> usize {
    let rendered = fixture.metrics.render();
    let mut lines = rendered.lines();
    let count = lines.find_map(|line| line.strip_prefix("pdp_search_decisions_total "));
    count.unwrap().parse().unwrap()
}

fn hers() -> SearchRequest {
    let body = json!({ "subject": { "type": "User", "id": "ann" }, "action": { "name": "read" },
        "resource": { "type": "Doc" } });
    SearchRequest::from_json(SearchKind::Resource, body.to_string().as_bytes()).unwrap()
}

fn first_page(pdp: &Pdp, limit: usize, decisions: usize, after: Option<&str>) -> PageFound {
    let waiter = Waiter::default();
    let bounds = Bounds {
        results: limit,
        decisions,
        waited: &waiter.waited(),
    };
    let snapshot = pdp.0.snapshot.load_full();
    let (question, now) = (
        hers().question.unwrap(),
        service_kit::UnixTime::from_secs(0),
    );
    let asking = pdp.0.providers.asking(None);
    let found = snapshot.search(&question, now, after, bounds, &asking);
    found.now_or_never().unwrap().unwrap()
}

#[test]
fn only_what_the_residual_leaves_open_is_decided() {
    for (policy, decided) in [
        // The links lead to the 20 of 2 000.
        (
            "permit (principal, action, resource is Doc) when { resource.owner has manager && resource.owner.manager == principal };",
            20,
        ),
        (
            "permit (principal, action, resource in Folder::\"hers\");",
            20,
        ),
        (
            "permit (principal, action, resource is Doc) when { resource.size > 3 && resource in Folder::\"hers\" };",
            20,
        ),
        // Known before any candidate is looked at.
        (
            "permit (principal, action, resource is Doc) when { principal == User::\"zoe\" };",
            0,
        ),
        ("forbid (principal, action, resource);", 0),
        (
            "permit (principal, action == Action::\"write\", resource);",
            0,
        ),
        // Nothing but the documents' own size tells.
        (
            "permit (principal, action, resource is Doc) when { resource.size > 3 };",
            2000,
        ),
    ] {
        let pdp = many(2000, policy);
        let found = first_page(&pdp, 1000, 10_000, None);
        assert_eq!(found.decided, decided, "{policy}");
        assert_eq!(found.results.len(), decided.min(20), "{policy}");
        assert_eq!(found.next, None, "{policy}");
    }
}

#[test]
fn a_page_that_used_up_its_work_goes_on_later() {
    let pdp = many(
        1000,
        "permit (principal, action, resource is Doc) when { resource.size > 3 };",
    );
    let (mut found, mut pages, mut after) = (0, 0, None::<String>);
    loop {
        let page = first_page(&pdp, 4, 150, after.as_deref());
        assert!(page.decided <= 150);
        found += page.results.len();
        pages += 1;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, 10);
    assert!(pages > 5, "{pages}");
}

/// Each of the 2 000 documents is decided where nothing ends the page.
const OF_ALL: &str = "permit (principal, action, resource is Doc) when { resource.size > 3 };";

#[test]
fn a_page_that_nobody_waits_for_ends_at_the_next_candidate() {
    let fixture = world_of_many(2000, OF_ALL);
    let pdp = fixture.open();
    let (runtime, free) = busy();
    let request = hers();
    runtime.block_on(async {
        let soon = std::time::Duration::from_millis(50);
        let left = tokio::time::timeout(soon, pdp.search(&request)).await;
        assert!(left.is_err(), "{left:?}");
        free.send(()).unwrap();
        // There is one thread: what was begun before has ended when this is done.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    });
    assert_eq!(decided(&fixture), 1);
    let whole = runtime.block_on(pdp.search(&request)).unwrap();
    assert_eq!(whole.page.next_token, "");
    assert_eq!(decided(&fixture), 2001);
}

#[test]
fn so_does_one_that_only_looks_at_candidates() {
    let waiter = Waiter::default();
    let bounds = Bounds {
        results: 10,
        decisions: 10,
        waited: &waiter.waited(),
    };
    let mut page = super::Pager::new(bounds);
    assert!(!page.look("d1"));
    drop(waiter);
    assert!(page.look("d2"));
    assert_eq!(page.done().next.as_deref(), Some("d2"));
}

#[test]
fn a_process_that_drains_answers_with_what_is_found_by_then_and_says_where_to_go_on() {
    let fixture = world_of_many(2000, OF_ALL);
    let pdp = fixture.open();
    let (runtime, free) = busy();
    let request = hers();
    let page = runtime.block_on(async {
        let mut searching = pdp.search(&request);
        let soon = std::time::Duration::from_millis(50);
        let early = tokio::time::timeout(soon, &mut searching).await;
        assert!(early.is_err(), "{early:?}");
        fixture.tasks.drain();
        let early = tokio::time::timeout(soon, &mut searching).await;
        assert!(early.is_err(), "{early:?}");
        free.send(()).unwrap();
        searching.await.unwrap()
    });
    assert_eq!(decided(&fixture), 1);
    assert_ne!(page.page.next_token, "");
}
