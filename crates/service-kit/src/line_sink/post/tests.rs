//! A receiver that fails, hangs, dies and comes back.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::line_sink::{LineSink, LineTarget};

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    Fails,
    Hangs,
}

#[derive(Debug)]
struct Peer {
    mood: Mutex<Mood>,
    lines: Mutex<Vec<String>>,
    requests: AtomicU64,
}

/// A real server of its own thread.
fn peer(mood: Mood) -> (String, Arc<Peer>) {
    let peer = Arc::new(Peer {
        mood: Mutex::new(mood),
        lines: Mutex::default(),
        requests: AtomicU64::new(0),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/logs", listener.local_addr().unwrap());
    let state = peer.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let handler = move |headers: http::HeaderMap, body: String| {
                let state = state.clone();
                async move {
                    assert_eq!(headers["content-type"], "application/x-ndjson");
                    assert_eq!(headers["authorization"], "Bearer s3cret");
                    state.requests.fetch_add(1, Ordering::Relaxed);
                    let mood = *state.mood.lock().unwrap();
                    match mood {
                        Mood::Fails => http::StatusCode::INTERNAL_SERVER_ERROR,
                        Mood::Hangs => {
                            tokio::time::sleep(Duration::from_mins(1)).await;
                            http::StatusCode::OK
                        }
                        Mood::Takes => {
                            let lines = body.lines().map(str::to_owned);
                            state.lines.lock().unwrap().extend(lines);
                            http::StatusCode::OK
                        }
                    }
                }
            };
            let router = axum::Router::new().route("/logs", axum::routing::post(handler));
            let tasks = crate::Tasks::new();
            crate::serve::serve(listener, router, tasks).await;
        });
    });
    (url, peer)
}

fn target(folder: &Path, url: &str) -> PostTarget {
    let secret = folder.join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    PostTarget {
        url: url.to_owned(),
        bearer_file: Some(secret),
        spool: folder.join("spool"),
        max_spool_bytes: 1 << 20,
        batch_bytes: 4096,
        flush_ms: 20,
        timeout_ms: 300,
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread is the test's own")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        pause(Duration::from_millis(25));
    }
    panic!("{what}");
}

fn numbers(peer: &Peer) -> BTreeSet<usize> {
    let lines = peer.lines.lock().unwrap();
    lines.iter().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn nothing_is_lost_by_a_receiver_that_is_away_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let (url, peer) = peer(Mood::Fails);
    let target = LineTarget::Http(target(folder.path(), &url));
    let (sink, writer) = LineSink::open(&target).unwrap();
    let send = |from: usize, to: usize| {
        for number in from..to {
            sink.send(format!("{number}\n").into_bytes());
        }
    };
    send(0, 2000);
    eventually("it is asked", || peer.requests.load(Ordering::Relaxed) > 0);
    *peer.mood.lock().unwrap() = Mood::Hangs;
    send(2000, 4000);
    pause(Duration::from_millis(400));
    assert!(numbers(&peer).is_empty());
    *peer.mood.lock().unwrap() = Mood::Takes;
    eventually("all arrive", || numbers(&peer).len() == 4000);
    send(4000, 4001);
    drop(sink);
    writer.join();
    assert_eq!(
        numbers(&peer),
        (0..4001).collect(),
        "the last one is sent at the end"
    );
    assert!(
        files(&folder.path().join("spool"), "lines")
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_a_dead_receiver_did_not_take_is_sent_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let dead = LineTarget::Http(target(folder.path(), "http://127.0.0.1:9/"));
    let (sink, writer) = LineSink::open(&dead).unwrap();
    sink.send(b"7\n8\n".to_vec());
    drop(sink);
    writer.join();
    let (url, peer) = peer(Mood::Takes);
    let alive = LineTarget::Http(target(folder.path(), &url));
    let (sink, writer) = LineSink::open(&alive).unwrap();
    sink.send(b"9\n".to_vec());
    drop(sink);
    writer.join();
    assert_eq!(*peer.lines.lock().unwrap(), ["7", "8", "9"], "in order");
}

#[test]
fn a_full_folder_drops_the_oldest_and_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut small = target(folder.path(), "http://127.0.0.1:9/");
    small.max_spool_bytes = 20_000;
    let (sink, writer) = LineSink::open(&LineTarget::Http(small)).unwrap();
    for number in 0..4000 {
        sink.send(format!("{number:019}\n").into_bytes());
        if number % 100 == 0 {
            pause(Duration::from_millis(5));
        }
    }
    let counter = sink.clone();
    drop(sink);
    let dropped = || usize::try_from(counter.dropped()).unwrap();
    eventually("some are dropped", || dropped() > 1000);
    drop(counter.clone());
    let dropped_before_end = dropped();
    drop(counter);
    writer.join();
    let left = files(&folder.path().join("spool"), "lines").unwrap();
    let text: String = left
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&3999));
    assert!(numbers.len() <= 4000 - dropped_before_end);
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "the oldest went"
    );
}
