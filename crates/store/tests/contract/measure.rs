//! How fast, for a human to read: nothing is asserted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::Store;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backends::{memory, redb, redis};

const FOR: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: `bench/store` runs it"]
async fn measure_puts_and_gets() {
    for (name, backend) in [
        ("memory", memory()),
        ("redb", redb()),
        ("redis", redis().await),
    ] {
        let store = backend.store();
        for workers in [1, 64] {
            let puts = rate(&store, workers, false).await;
            let gets = rate(&store, workers, true).await;
            println!("{name:7} {workers:3} at once: put {puts}, get {gets}");
        }
        println!("{name:7} get beside 64 writers: {}", mixed(&store).await);
    }
}

async fn rate(store: &Arc<dyn Store>, workers: usize, get: bool) -> String {
    summary(run(store, workers, get).join_all().await)
}

async fn mixed(store: &Arc<dyn Store>) -> String {
    let writers = run(store, 64, false);
    let reads = run(store, 1, true).join_all().await;
    writers.join_all().await;
    summary(reads)
}

fn run(store: &Arc<dyn Store>, workers: usize, get: bool) -> JoinSet<Vec<Duration>> {
    let mut tasks = JoinSet::new();
    let end = Instant::now() + FOR;
    for worker in 0..workers {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let value = Bytes::from(vec![b'v'; 300]);
            let mut took = Vec::new();
            for n in 0.. {
                let key = format!("token:{worker}-{}", n % 1000);
                let one = Instant::now();
                if get {
                    store.get(&key).await.unwrap();
                } else {
                    store.put(&key, value.clone(), None).await.unwrap();
                }
                took.push(one.elapsed());
                if Instant::now() > end {
                    break;
                }
                // A store that never waits would never let the others run.
                tokio::task::yield_now().await;
            }
            took
        });
    }
    tasks
}

fn summary(took: Vec<Vec<Duration>>) -> String {
    let mut all: Vec<Duration> = took.into_iter().flatten().collect();
    all.sort_unstable();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100];
    format!(
        "{}/s (p50 {:?}, p99 {:?}, max {:?})",
        all.len() as u64 / FOR.as_secs(),
        at(50),
        at(99),
        at(100)
    )
}
