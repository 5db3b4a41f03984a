//! `kill -9` while writing: whatever was acknowledged is there afterwards, and no batch is half
//! there, acknowledged or not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use store::{Batch, EventPage, Position, Store};
use tokio::task::JoinSet;

use crate::backends::{redb_at, redis_at};
use crate::contract_suite::{bytes, scan_all};
use crate::redis_server::RedisServer;

const ROUNDS: usize = 5;
const WRITERS: usize = 8;
const ACKNOWLEDGED_A_ROUND: usize = 150;
const CHILD: &str = "CEDARGATE_TEST_REDB_FILE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redb_acknowledged_survives_the_death_of_its_process() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("store.redb");
    let mut acknowledged = BTreeSet::new();
    let start = redb_at(&file).tail("log").await.unwrap();
    for round in 0..ROUNDS {
        let told = write_in_a_child_and_kill_it(&file, round);
        assert!(told.len() >= ACKNOWLEDGED_A_ROUND, "{} told", told.len());
        acknowledged.extend(told);
        let store: Arc<dyn Store> = Arc::new(redb_at(&file));
        check(&store, &start, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_acknowledged_survives_the_death_of_the_server() {
    let mut server = RedisServer::start().await;
    let store: Arc<dyn Store> = Arc::new(redis_at(&server));
    let start = store.tail("log").await.unwrap();
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    for round in 0..ROUNDS {
        let before = acknowledged.lock().unwrap().len();
        let mut writers = writers(&store, round, {
            let acknowledged = Arc::clone(&acknowledged);
            move |what| acknowledged.lock().unwrap().push(what)
        });
        while acknowledged.lock().unwrap().len() < before + ACKNOWLEDGED_A_ROUND {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        while writers.join_next().await.is_some() {}
        server.start_again().await;
        let told = acknowledged.lock().unwrap().iter().cloned().collect();
        check(&store, &start, &told).await;
    }
}

/// Not a test: what the test above runs in a process of its own, to be killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test that kills it"]
async fn child_that_writes_until_it_is_killed() {
    let Ok(setting) = std::env::var(CHILD) else {
        return;
    };
    let (round, file) = setting.split_once(' ').unwrap();
    let store: Arc<dyn Store> = Arc::new(redb_at(Path::new(file)));
    println!();
    let mut writers = writers(&store, round.parse().unwrap(), |what| {
        println!("ack {what}");
    });
    while writers.join_next().await.is_some() {}
}

fn write_in_a_child_and_kill_it(file: &Path, round: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_writes_until_it_is_killed"])
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{round} {}", file.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut told, mut line, mut killed) = (Vec::new(), String::new(), false);
    // To the end of the pipe: what stands in it was acknowledged before the kill.
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some(what) = line.strip_prefix("ack ")
            && let Some(what) = what.strip_suffix('\n')
        {
            told.push(what.to_owned());
        }
        line.clear();
        if told.len() >= ACKNOWLEDGED_A_ROUND && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself");
    told
}

/// Each writes as a token service would: a rotation (conditions, a record, an event), and a
/// code that is put and taken. They end when the store fails.
fn writers(
    store: &Arc<dyn Store>,
    round: usize,
    acknowledge: impl Fn(String) + Clone + Send + 'static,
) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, acknowledge) = (Arc::clone(store), acknowledge.clone());
        let name = format!("{round}-{writer}");
        writers.spawn(async move {
            let chain = format!("chain:{name}");
            let mut last: Option<Bytes> = None;
            for n in 0.. {
                let (this, now) = (format!("{name}-{n}"), Bytes::from(n.to_string()));
                let batch = match last {
                    None => Batch::new().put_new(&chain, now.clone(), None),
                    Some(last) => Batch::new().replace(&chain, last, now.clone(), None),
                }
                .put_new(format!("record:{this}"), now.clone(), None)
                .append("log", Bytes::from(this.clone()));
                match store.commit(batch).await {
                    Ok(commit) => assert!(commit.is_applied(), "{this}"),
                    Err(_) => return,
                }
                acknowledge(format!("rotated {this}"));
                last = Some(now);
                let code = format!("code:{this}");
                if store.put(&code, bytes("code"), None).await.is_err() {
                    return;
                }
                match store.take(&code).await {
                    Ok(taken) => assert_eq!(taken, Some(bytes("code")), "{this}"),
                    Err(_) => return,
                }
                acknowledge(format!("took {this}"));
            }
        });
    }
    writers
}

async fn check(store: &Arc<dyn Store>, start: &Position, acknowledged: &BTreeSet<String>) {
    let records = scan_all(store, "record:", 1000).await;
    let records: BTreeSet<&str> = records
        .iter()
        .map(|key| key.strip_prefix("record:").unwrap())
        .collect();
    let codes = scan_all(store, "code:", 1000).await;
    let events = all_events(store, start).await;
    for what in acknowledged {
        match what.split_once(' ').unwrap() {
            ("rotated", this) => assert!(records.contains(this), "`{this}` is lost"),
            (_, this) => {
                let code = format!("code:{this}");
                assert!(!codes.contains(&code), "`{code}` can be taken twice");
            }
        }
    }
    let unique: BTreeSet<&str> = events.iter().map(String::as_str).collect();
    assert_eq!(
        unique, records,
        "records and events came in the same batches"
    );
    assert_eq!(unique.len(), events.len(), "an event came twice");
    // The chain stands exactly at the last record: all three parts of each batch, or none.
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for record in &records {
        let (writer, n) = record.rsplit_once('-').unwrap();
        let highest = last.entry(writer).or_default();
        *highest = n.parse::<u64>().unwrap().max(*highest);
    }
    for (writer, n) in last {
        let chain = store.get(&format!("chain:{writer}")).await.unwrap();
        assert_eq!(chain, Some(Bytes::from(n.to_string())), "{writer}");
    }
}

async fn all_events(store: &Arc<dyn Store>, start: &Position) -> Vec<String> {
    let (mut all, mut at) = (Vec::new(), start.clone());
    loop {
        match store.follow("log", &at, Duration::ZERO).await.unwrap() {
            EventPage::Gap { .. } => panic!("a gap in a log that nobody trimmed"),
            EventPage::Events { events, .. } if events.is_empty() => return all,
            EventPage::Events { events, next } => {
                let text = |event: Bytes| String::from_utf8(event.to_vec()).unwrap();
                all.extend(events.into_iter().map(text));
                at = next;
            }
        }
    }
}
