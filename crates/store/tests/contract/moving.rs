//! A file that goes from one process to another and back while it is written to: every verb is answered, nothing is
//! lost, and nothing happens twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{MovableStore, Position, Store, serve_relay};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::backends::movable_at;
use crate::contract_suite::{bytes, scan_all};
use crate::event_suite::events;

const PATIENCE: Duration = Duration::from_secs(5);

/// Writes until it is told to stop; how often each counted up, and all of it acknowledged.
fn writers(store: &MovableStore, stop: &Arc<AtomicBool>) -> JoinSet<Vec<String>> {
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let (store, stop) = (store.clone(), stop.clone());
        writers.spawn(async move {
            let mut written = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let key = format!("a:{writer}-{}", written.len());
                assert!(
                    store.put_new(&key, bytes("v"), None).await.unwrap(),
                    "twice"
                );
                store.append("log", bytes(&key)).await.unwrap();
                assert_eq!(store.get(&key).await.unwrap(), Some(bytes("v")));
                written.push(key);
            }
            written
        });
    }
    writers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_while_the_file_moves_waits_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.redb");
    let store = movable_at(&file).await;
    let start = store.tail("log").await.unwrap();
    let stop = Arc::<AtomicBool>::default();
    let mut writers = writers(&store, &stop);
    let mut heard = follow_in_the_background(&store, start);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.let_go(PATIENCE).await.unwrap();
        // The other process did not come up.
        store.take_back().await.unwrap();
    }
    // Two others, one after the other, while the first still finishes what it has begun.
    let mut tasks = JoinSet::new();
    let mut last = store.clone();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        last.let_go(PATIENCE).await.unwrap();
        let next = movable_at(&file).await;
        let (ours, theirs) = UnixStream::pair().unwrap();
        tasks.spawn(serve_relay(Arc::new(next.clone()), theirs));
        tasks.spawn(last.go_on_by(ours));
        last = next;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::SeqCst);
    let mut written = BTreeSet::new();
    while let Some(keys) = writers.join_next().await {
        written.extend(keys.unwrap());
    }
    assert!(written.len() > 40, "{}", written.len());
    let kept = scan_all(&(Arc::new(store.clone()) as Arc<dyn Store>), "a:", 100).await;
    assert_eq!(kept, written);
    store.append("log", bytes("end")).await.unwrap();
    let heard = heard.join_next().await.unwrap().unwrap();
    assert_eq!(heard.len(), written.len(), "each once");
    assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), written);
}

/// Hears what is appended until the end is.
fn follow_in_the_background(store: &MovableStore, start: Position) -> JoinSet<Vec<String>> {
    let store = store.clone();
    let mut following = JoinSet::new();
    following.spawn(async move {
        let (mut heard, mut at) = (Vec::new(), start);
        loop {
            let page = store.follow("log", &at, Duration::from_mins(1)).await;
            let (events, next) = events(page.unwrap());
            at = next;
            for event in events {
                if event == bytes("end") {
                    return heard;
                }
                heard.push(String::from_utf8(event.to_vec()).unwrap());
            }
        }
    });
    following
}

#[tokio::test]
async fn whoever_only_waits_for_events_is_in_nobodys_way() {
    let folder = TempDir::new().unwrap();
    let store = movable_at(&folder.path().join("store.redb")).await;
    assert!(store.path().ends_with("store.redb"));
    let at = store.tail("log").await.unwrap();
    let waiting = {
        let (store, at) = (store.clone(), at.clone());
        let mut waiting = JoinSet::new();
        waiting.spawn(async move { store.follow("log", &at, PATIENCE).await.map(|_| ()) });
        tokio::time::sleep(Duration::from_millis(20)).await;
        waiting
    };
    store.let_go(PATIENCE).await.unwrap();
    assert!(store.let_go(PATIENCE).await.is_err(), "it is not here");
    drop(waiting);
    store.take_back().await.unwrap();
    store.put("a:1", bytes("v"), None).await.unwrap();
}

#[tokio::test]
async fn what_went_with_the_other_process_is_an_error_until_the_file_is_taken_back() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.redb");
    let store = movable_at(&file).await;
    store.put("a:1", bytes("v"), None).await.unwrap();
    store.let_go(PATIENCE).await.unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(store.go_on_by(ours));
    drop(theirs);
    let failed = store.get("a:1").await.unwrap_err();
    assert!(failed.is_transient(), "{failed}");
    store.take_back().await.unwrap();
    assert_eq!(store.get("a:1").await.unwrap(), Some(bytes("v")));
}
