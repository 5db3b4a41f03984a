//! The contract of the event log, clause by clause.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{Batch, EventPage, Position, Store};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::backends::MAX_EVENTS;
use crate::contract_suite::bytes;

type Shared = Arc<dyn Store>;

pub(crate) async fn events_come_in_order_and_once(store: Shared) {
    store.append("log", bytes("before")).await.unwrap();
    let start = store.tail("log").await.unwrap();
    let same = store.tail("log").await.unwrap();
    assert_eq!(start, same, "asking for the tail does not move it");
    for n in 0..5 {
        store
            .append("log", Bytes::from(n.to_string()))
            .await
            .unwrap();
    }
    let (first, next) = now(&store, &start).await;
    assert_eq!(first, ["0", "1", "2", "3", "4"].map(bytes));
    store.append("log", bytes("5")).await.unwrap();
    let (second, next) = now(&store, &next).await;
    assert_eq!(second, [bytes("5")]);
    assert_eq!(now(&store, &next).await.0, [] as [Bytes; 0]);
    let (again, _) = now(&store, &start).await;
    assert_eq!(again.len(), 6, "a position can be asked from again");
    assert_eq!(store.tail("log").await.unwrap(), next);
}

pub(crate) async fn a_long_log_comes_in_pages(store: Shared) {
    let start = store.tail("log").await.unwrap();
    append_many(&store, 0..1500).await;
    let seen = follow_to_the_end(&store, start).await;
    assert_eq!(seen, numbers(0..1500));
}

pub(crate) async fn a_follower_is_woken_by_an_append(store: Shared) {
    let start = store.tail("log").await.unwrap();
    let began = Instant::now();
    let follower = {
        let store = Arc::clone(&store);
        async move { store.follow("log", &start, Duration::from_secs(20)).await }
    };
    let appender = async {
        sleep(Duration::from_millis(150)).await;
        store.append("log", bytes("wake")).await.unwrap();
    };
    let (page, ()) = tokio::join!(follower, appender);
    assert_eq!(events(page.unwrap()).0, [bytes("wake")]);
    assert!(began.elapsed() < Duration::from_secs(10), "not woken");
    assert!(began.elapsed() >= Duration::from_millis(150));
}

pub(crate) async fn a_follower_hears_nothing_of_other_logs(store: Shared) {
    let start = store.tail("log").await.unwrap();
    let follower = store.follow("log", &start, Duration::from_millis(600));
    let appender = async {
        for _ in 0..5 {
            sleep(Duration::from_millis(30)).await;
            store.append("other", bytes("noise")).await.unwrap();
            store.put("log:x", bytes("noise"), None).await.unwrap();
        }
        sleep(Duration::from_millis(50)).await;
        store.append("log", bytes("mine")).await.unwrap();
    };
    let (page, ()) = tokio::join!(follower, appender);
    assert_eq!(events(page.unwrap()).0, [bytes("mine")]);
}

pub(crate) async fn an_empty_page_comes_when_the_wait_is_over(store: Shared) {
    let start = store.tail("log").await.unwrap();
    let began = Instant::now();
    let wait = Duration::from_millis(1200);
    let page = store.follow("log", &start, wait).await.unwrap();
    assert!(began.elapsed() >= wait, "after {:?}", began.elapsed());
    let (seen, next) = events(page);
    assert_eq!(seen, [] as [Bytes; 0]);
    store.append("log", bytes("later")).await.unwrap();
    assert_eq!(now(&store, &next).await.0, [bytes("later")]);
}

pub(crate) async fn the_events_of_a_batch_stay_together(store: Shared) {
    let start = store.tail("log").await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let batch = ["a", "b", "c"]
                .into_iter()
                .fold(Batch::new(), |batch, part| {
                    batch.append("log", Bytes::from(format!("{n}{part}")))
                });
            assert!(store.commit(batch).await.unwrap().is_applied());
        });
    }
    tasks.join_all().await;
    let seen = follow_to_the_end(&store, start).await;
    assert_eq!(seen.len(), 60);
    for batch in seen.chunks(3) {
        let n = batch[0].strip_suffix(b"a").expect("the first of a batch");
        let expected = ["a", "b", "c"].map(|part| [n, part.as_bytes()].concat());
        assert_eq!(batch, expected);
    }
}

pub(crate) async fn all_followers_see_the_same_order(store: Shared) {
    const ALL: usize = 400;
    let start = store.tail("log").await.unwrap();
    let mut followers = JoinSet::new();
    for _ in 0..4 {
        let (store, start) = (Arc::clone(&store), start.clone());
        followers.spawn(async move {
            let (mut seen, mut at) = (Vec::new(), start);
            while seen.len() < ALL {
                let page = store.follow("log", &at, Duration::from_secs(20)).await;
                let (mut more, next) = events(page.unwrap());
                assert!(!more.is_empty(), "stuck after {}", seen.len());
                seen.append(&mut more);
                at = next;
            }
            seen
        });
    }
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0..ALL / 8 {
                let event = Bytes::from(format!("{writer}-{n}"));
                store.append("log", event).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let seen = followers.join_all().await;
    assert!(seen.iter().all(|one| one == &seen[0]), "orders differ");
    for writer in 0..8 {
        let own = format!("{writer}-");
        let own: Vec<_> = seen[0]
            .iter()
            .filter(|event| event.starts_with(own.as_bytes()))
            .cloned()
            .collect();
        let written: Vec<_> = (0..ALL / 8).map(|n| format!("{writer}-{n}")).collect();
        assert_eq!(own, written, "what one wrote in turn comes in turn");
    }
}

pub(crate) async fn a_follower_that_was_left_behind_sees_a_gap(store: Shared) {
    store.append("log", bytes("seen")).await.unwrap();
    let start = store.tail("log").await.unwrap();
    // Redis trims by whole nodes of its stream, so it keeps a little more than asked.
    let outrun = MAX_EVENTS + 500;
    append_many(&store, 0..outrun).await;
    let page = store.follow("log", &start, Duration::from_secs(5)).await;
    let EventPage::Gap { next } = page.unwrap() else {
        panic!("{outrun} events later, some must be missing");
    };
    store.append("log", bytes("on")).await.unwrap();
    assert_eq!(now(&store, &next).await.0, [bytes("on")]);
}

pub(crate) async fn a_follower_that_keeps_up_sees_no_gap(store: Shared) {
    let mut at = store.tail("log").await.unwrap();
    for n in 0..6 {
        let range = n * 500..(n + 1) * 500;
        append_many(&store, range.clone()).await;
        let (seen, next) = now(&store, &at).await;
        assert_eq!(seen, numbers(range));
        at = next;
    }
}

/// The events of a page that is no gap, and where to go on.
pub(crate) fn events(page: EventPage) -> (Vec<Bytes>, Position) {
    match page {
        EventPage::Events { events, next } => (events, next),
        EventPage::Gap { .. } => panic!("an unexpected gap"),
    }
}

async fn now(store: &Shared, at: &Position) -> (Vec<Bytes>, Position) {
    events(store.follow("log", at, Duration::ZERO).await.unwrap())
}

async fn follow_to_the_end(store: &Shared, mut at: Position) -> Vec<Bytes> {
    let mut seen = Vec::new();
    loop {
        let (mut more, next) = now(store, &at).await;
        if more.is_empty() {
            return seen;
        }
        seen.append(&mut more);
        at = next;
    }
}

async fn append_many(store: &Shared, range: std::ops::Range<u64>) {
    for chunk in numbers(range).chunks(250) {
        let batch = chunk
            .iter()
            .cloned()
            .fold(Batch::new(), |batch, event| batch.append("log", event));
        assert!(store.commit(batch).await.unwrap().is_applied());
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(|n| Bytes::from(n.to_string())).collect()
}
