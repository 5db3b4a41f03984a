//! What is special about a file: reopening, one process at a time, damage, garbage.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use store::{Batch, RedbStore, Store, StoreConfig, StoreError, WallClock};
use tempfile::TempDir;

use crate::backends::{bounds, redb_at, wall_clock};
use crate::contract_suite::{bytes, scan_all};
use crate::event_suite::events;

const CHILD: &str = "CEDARGATE_TEST_LOCKED_FILE";

#[tokio::test]
async fn everything_but_counters_is_there_after_reopening() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.redb");
    let store = redb_at(&file);
    let start = store.tail("log").await.unwrap();
    store.put("a:1", bytes("v"), None).await.unwrap();
    store.append("log", bytes("first")).await.unwrap();
    drop(store);
    let store = redb_at(&file);
    assert_eq!(store.get("a:1").await.unwrap(), Some(bytes("v")));
    store.append("log", bytes("second")).await.unwrap();
    let page = store.follow("log", &start, Duration::ZERO).await.unwrap();
    assert_eq!(events(page).0, ["first", "second"].map(bytes));
}

#[tokio::test]
async fn the_file_and_its_folder_are_made_and_private() {
    let base = TempDir::new().unwrap();
    let config: StoreConfig =
        serde_json::from_str(r#"{"redb": {"path": "state/store.redb"}}"#).unwrap();
    let store = store::open(&config, base.path(), wall_clock())
        .await
        .unwrap();
    store.put("a:1", bytes("v"), None).await.unwrap();
    let mode = |path: &str| {
        let metadata = fs::metadata(base.path().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("state"), 0o700);
    assert_eq!(mode("state/store.redb"), 0o600);
}

#[tokio::test]
async fn a_second_process_is_told_which_file_is_taken() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.redb");
    let _held = redb_at(&file);
    let expected = format!(
        "the store failed: the file `{}` is already open in another process",
        file.display()
    );
    let here = RedbStore::open(&file, wall_clock(), bounds()).unwrap_err();
    assert_eq!(here.to_string(), expected);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "redb_file::child_that_opens_a_file"])
        .args(["--ignored", "--nocapture"])
        .env(CHILD, &file)
        .output()
        .unwrap();
    let there = String::from_utf8(child.stdout).unwrap();
    assert!(there.contains(&expected), "{there}");
}

/// Not a test: the second process of the test above.
#[test]
#[ignore = "started by the test that holds the file"]
fn child_that_opens_a_file() {
    let Ok(file) = std::env::var(CHILD) else {
        return;
    };
    match RedbStore::open(Path::new(&file), wall_clock(), bounds()) {
        Ok(_) => println!("\nopened"),
        Err(error) => println!("\n{error}"),
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    for (name, content) in [
        ("text", b"log:\n  level: info\n".repeat(20)),
        ("zeros", vec![0; 8192]),
        (
            "noise",
            (0..100_000u32).flat_map(u32::to_le_bytes).collect(),
        ),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, &content).unwrap();
        let message = refusal(&file);
        assert!(message.contains(&*file.to_string_lossy()), "{message}");
        assert!(message.contains("damaged or not a store"), "{message}");
        assert_eq!(fs::read(&file).unwrap(), content, "it was not touched");
    }
    let message = refusal(folder.path());
    assert!(message.contains("cannot open"), "a folder: {message}");
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_never_a_wrong_value() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.redb");
    let store = redb_at(&file);
    let records: Vec<(String, Bytes)> = (0..200u32)
        .map(|n| {
            (
                format!("a:{n}"),
                Bytes::from(format!("value {n} ").repeat(30)),
            )
        })
        .collect();
    let fill = records.iter().fold(Batch::new(), |batch, (key, value)| {
        batch.put(key, value.clone(), None)
    });
    assert!(store.commit(fill).await.unwrap().is_applied());
    drop(store);
    let whole = fs::read(&file).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for part in 0..40 {
        let mut damaged = whole.clone();
        let at = used * part / 40;
        for byte in &mut damaged[at..(at + 64).min(whole.len())] {
            *byte ^= 0x5a;
        }
        fs::write(&file, &damaged).unwrap();
        match RedbStore::open(&file, wall_clock(), bounds()) {
            Err(StoreError::Internal { .. }) => refused += 1,
            Err(other) => panic!("at {at}: {other:?}"),
            // The damage hit what is not in use.
            Ok(store) => {
                for (key, value) in &records {
                    let found = store.get(key).await.unwrap();
                    assert!(found.is_none() || found.as_ref() == Some(value), "at {at}");
                }
            }
        }
    }
    assert!(refused >= 10, "{refused} of 40 refused");
    fs::write(&file, &whole[..whole.len() / 3]).unwrap();
    refusal(&file);
}

#[tokio::test]
async fn expired_records_leave_the_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.redb");
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock: WallClock = {
        let now = Arc::clone(&now);
        Arc::new(move || now.load(Ordering::SeqCst))
    };
    let open = || RedbStore::open(&file, Arc::clone(&clock), bounds()).unwrap();
    let store = open();
    let ttl = |secs| Some(Duration::from_secs(secs));
    store.put("a:short", bytes("v"), ttl(10)).await.unwrap();
    store.put("a:long", bytes("v"), ttl(1000)).await.unwrap();
    store.put("a:renewed", bytes("v"), ttl(10)).await.unwrap();
    store.put("a:renewed", bytes("v"), ttl(1000)).await.unwrap();
    store.put("a:ever", bytes("v"), None).await.unwrap();
    drop(store);
    now.store(1_011_000, Ordering::SeqCst);
    // The writer sweeps when it starts, before it is asked anything.
    let store = open();
    store.ping().await.unwrap();
    drop(store);
    // Were it only hidden, it would come back with the clock.
    now.store(1_000_000, Ordering::SeqCst);
    let store: Arc<dyn Store> = Arc::new(open());
    let left = scan_all(&store, "", 10).await;
    assert_eq!(
        left,
        ["a:ever", "a:long", "a:renewed"].map(String::from).into()
    );
}

fn refusal(file: &Path) -> String {
    match RedbStore::open(file, wall_clock(), bounds()) {
        Err(error @ StoreError::Internal { .. }) => error.to_string(),
        other => panic!("{}: {other:?}", file.display()),
    }
}
