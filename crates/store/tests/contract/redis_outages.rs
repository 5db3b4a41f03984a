//! A Redis that dies, hangs, forgets or goes back in time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use store::{Batch, EventPage, Position, RedisConfig, Store, StoreError};
use tokio::time::{Instant, sleep};

use crate::backends::{redis_at, redis_with};
use crate::contract_suite::bytes;
use crate::event_suite::events;
use crate::redis_server::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_fail_at_once_while_redis_is_down_and_work_at_once_when_it_is_back() {
    let mut server = RedisServer::start().await;
    let store: Arc<dyn Store> = Arc::new(redis_at(&server));
    store.put("a:1", bytes("v"), None).await.unwrap();
    let at = store.tail("log").await.unwrap();
    for _ in 0..3 {
        server.kill();
        let began = Instant::now();
        for error in every_verb(&store, &at).await {
            let error = error.expect_err("nobody is there");
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(1), "slow to fail");
        server.start_again().await;
        let found = store.get("a:1").await.unwrap();
        assert_eq!(found, Some(bytes("v")), "the first verb works");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_time_out_while_redis_hangs_and_work_when_it_goes_on() {
    let server = RedisServer::start().await;
    let mut config = RedisConfig::at(server.url());
    config.timeout_ms = 200;
    let store: Arc<dyn Store> = Arc::new(redis_with(&config));
    let at = store.tail("log").await.unwrap();
    server.freeze();
    let began = Instant::now();
    let asked = every_verb(&store, &at).await;
    let (took, count) = (began.elapsed(), u32::try_from(asked.len()).unwrap());
    for error in asked {
        let error = error.expect_err("nobody answers");
        assert!(error.is_transient(), "{error:?}");
    }
    assert!(took < Duration::from_millis(400) * count, "took {took:?}");
    server.thaw();
    sleep(Duration::from_millis(100)).await;
    store.ping().await.unwrap();
    store.put("a:1", bytes("v"), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_may_be_opened_before_its_redis_is_there() {
    let mut server = RedisServer::start().await;
    server.kill();
    let store = redis_at(&server);
    assert!(store.ping().await.unwrap_err().is_transient());
    server.start_again().await;
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_follower_misses_nothing_over_a_restart() {
    let mut server = RedisServer::start().await;
    let store = Arc::new(redis_at(&server));
    store.append("log", bytes("before")).await.unwrap();
    let mut at = store.tail("log").await.unwrap();
    for round in 0..3 {
        let waiting = {
            let (store, at) = (Arc::clone(&store), at.clone());
            let wait = Duration::from_secs(30);
            tokio::task::JoinSet::from_iter([async move { store.follow("log", &at, wait).await }])
        };
        sleep(Duration::from_millis(200)).await;
        let died = Instant::now();
        server.kill();
        let page = waiting.join_all().await.remove(0);
        let error = page.expect_err("it must not wait on for a dead server");
        assert!(error.is_transient(), "{error:?}");
        assert!(died.elapsed() < Duration::from_secs(2), "noticed late");
        server.start_again().await;
        let event = bytes(&format!("after {round}"));
        store.append("log", event.clone()).await.unwrap();
        let page = store.follow("log", &at, Duration::from_secs(5)).await;
        let (seen, next) = events(page.unwrap());
        assert_eq!(seen, [event], "round {round}");
        at = next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_is_a_gap_whenever_it_comes() {
    let server = RedisServer::start().await;
    let store = redis_at(&server);
    let follow = async |at: &Position| {
        let began = Instant::now();
        let page = store.follow("log", at, Duration::from_secs(20)).await;
        assert!(began.elapsed() < Duration::from_secs(4), "seen late");
        match page.unwrap() {
            EventPage::Gap { next } => next,
            page @ EventPage::Events { .. } => panic!("no gap: {page:?}"),
        }
    };
    // From the start of a log that never had an event.
    let at = store.tail("log").await.unwrap();
    server.command(&["FLUSHALL"]).await;
    let at = follow(&at).await;
    // Before the follower asks, with events lost.
    store.append("log", bytes("lost")).await.unwrap();
    sleep(Duration::from_millis(5)).await;
    server.command(&["FLUSHALL"]).await;
    let at = follow(&at).await;
    // With new events after it, which must not pass for the next ones.
    store.append("log", bytes("lost")).await.unwrap();
    sleep(Duration::from_millis(5)).await;
    server.command(&["FLUSHALL"]).await;
    store.append("log", bytes("new")).await.unwrap();
    let at = follow(&at).await;
    // While the follower waits.
    let flush = async {
        sleep(Duration::from_millis(300)).await;
        server.command(&["FLUSHALL"]).await;
    };
    let (at, ()) = tokio::join!(follow(&at), flush);
    store.append("log", bytes("on")).await.unwrap();
    let page = store.follow("log", &at, Duration::ZERO).await.unwrap();
    assert_eq!(events(page).0, [bytes("on")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_a_gap() {
    let mut server = RedisServer::start().await;
    let store = redis_at(&server);
    store.append("log", bytes("in the backup")).await.unwrap();
    let files = server.folder().join("appendonlydir");
    let backup = server.folder().join("backup");
    copy(&files, &backup);
    store.append("log", bytes("since")).await.unwrap();
    let at = store.tail("log").await.unwrap();
    server.kill();
    fs::remove_dir_all(&files).unwrap();
    copy(&backup, &files);
    server.start_again().await;
    let page = store.follow("log", &at, Duration::from_secs(5)).await;
    let EventPage::Gap { next } = page.unwrap() else {
        panic!("the follower has seen what the log no longer knows");
    };
    store.append("log", bytes("on")).await.unwrap();
    let page = store.follow("log", &next, Duration::ZERO).await.unwrap();
    assert_eq!(events(page).0, [bytes("on")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_are_sent_again_where_the_server_forgot_them() {
    let server = RedisServer::start().await;
    let store = redis_at(&server);
    for round in 1..3 {
        store.put("a:1", bytes("v"), None).await.unwrap();
        let count = store.count("a:1", Duration::from_mins(1)).await.unwrap();
        assert_eq!(count, round);
        server.command(&["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_followers_hold_up_nobody() {
    let server = RedisServer::start().await;
    let store = Arc::new(redis_at(&server));
    let at = store.tail("log").await.unwrap();
    let mut followers = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let (store, at) = (Arc::clone(&store), at.clone());
        followers.spawn(async move {
            let page = store.follow("log", &at, Duration::from_secs(20)).await;
            events(page.unwrap()).0
        });
    }
    sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    for _ in 0..100 {
        store.get("a:1").await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(1), "gets wait");
    store.append("log", bytes("go")).await.unwrap();
    for seen in followers.join_all().await {
        assert_eq!(seen, [bytes("go")]);
    }
}

/// Every verb once; what each had to say.
async fn every_verb(store: &Arc<dyn Store>, at: &Position) -> Vec<Result<(), StoreError>> {
    vec![
        store.get("a:1").await.map(drop),
        store.take("a:none").await.map(drop),
        store.commit(Batch::new().delete("a:none")).await.map(drop),
        store.scan("a:", None, 10).await.map(drop),
        store.count("a:1", Duration::from_secs(1)).await.map(drop),
        store.tail("log").await.map(drop),
        store
            .follow("log", at, Duration::from_secs(9))
            .await
            .map(drop),
        store.ping().await,
    ]
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(status.unwrap().success());
}
