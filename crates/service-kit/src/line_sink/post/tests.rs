//! A receiver that fails, hangs, dies and comes back.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batches::files;
use super::*;
use crate::line_sink::{LineSink, LineTarget};

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Takes,
    /// Takes in the end, but not soon.
    Dawdles,
    Fails,
    Hangs,
    /// Refuses what holds the line `poison`, and takes the rest.
    Chooses,
    /// Says at each second request that there are too many.
    IsBusy,
    /// Says so of whoever it is.
    Answers(u16),
}

#[derive(Debug)]
struct Peer {
    mood: Mutex<Mood>,
    /// Nobody else may post.
    token: Mutex<&'static str>,
    lines: Mutex<Vec<String>>,
    requests: AtomicU64,
}

/// A real server of its own thread.
fn peer(mood: Mood) -> (String, Arc<Peer>) {
    let peer = Arc::new(Peer {
        mood: Mutex::new(mood),
        token: Mutex::new("s3cret"),
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
                    let before = state.requests.fetch_add(1, Ordering::Relaxed);
                    let token = format!("Bearer {}", state.token.lock().unwrap());
                    if headers["authorization"] != token.as_str() {
                        return http::StatusCode::UNAUTHORIZED;
                    }
                    let mood = *state.mood.lock().unwrap();
                    if mood == Mood::Dawdles {
                        tokio::time::sleep(Duration::from_millis(250)).await;
                    }
                    match mood {
                        Mood::Chooses if body.contains("poison") => {
                            http::StatusCode::UNPROCESSABLE_ENTITY
                        }
                        Mood::IsBusy if before.is_multiple_of(2) => {
                            http::StatusCode::TOO_MANY_REQUESTS
                        }
                        Mood::Answers(status) => http::StatusCode::from_u16(status).unwrap(),
                        Mood::Fails => http::StatusCode::INTERNAL_SERVER_ERROR,
                        Mood::Hangs => {
                            tokio::time::sleep(Duration::from_mins(1)).await;
                            http::StatusCode::OK
                        }
                        Mood::Takes | Mood::Dawdles | Mood::Chooses | Mood::IsBusy => {
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
            sink.send(format!("{number}\n").as_bytes());
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
    sink.send(b"7\n8\n");
    drop(sink);
    writer.join();
    let (url, peer) = peer(Mood::Takes);
    let alive = LineTarget::Http(target(folder.path(), &url));
    let (sink, writer) = LineSink::open(&alive).unwrap();
    sink.send(b"9\n");
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
        sink.send(format!("{number:019}\n").as_bytes());
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

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    let length = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().metadata().ok();
    entries.filter_map(length).map(|file| file.len()).sum()
}

#[test]
fn a_slow_receiver_does_not_let_the_folder_grow() {
    let folder = tempfile::tempdir().unwrap();
    let (url, peer) = peer(Mood::Dawdles);
    let mut slow = target(folder.path(), &url);
    slow.max_spool_bytes = 20_000;
    slow.timeout_ms = 2000;
    let (spool, bound) = (slow.spool.clone(), slow.max_spool_bytes);
    // The batch that is written now, and the line that fills it.
    let one_batch = slow.batch_bytes as u64 + 20;
    let (sink, writer) = LineSink::open(&LineTarget::Http(slow)).unwrap();
    let counts = sink.counts.clone();
    sink.send(b"0\n");
    eventually("it is asked", || peer.requests.load(Ordering::Relaxed) > 0);
    let mut largest = 0;
    let sent = 40_000;
    for number in 1..sent {
        sink.send(format!("{number:019}\n").as_bytes());
        if number % 100 == 0 {
            pause(Duration::from_millis(4));
            // A look is no snapshot: what comes and goes meanwhile may be seen beside each other.
            largest = largest.max(size(&spool).min(size(&spool)));
        }
    }
    assert!(largest <= bound + one_batch, "{largest}");
    assert!(
        largest >= bound - one_batch,
        "no more is dropped than must be: {largest}"
    );
    assert!(size(&spool) <= bound + one_batch);
    *peer.mood.lock().unwrap() = Mood::Takes;
    drop(sink);
    writer.join();
    let arrived = numbers(&peer);
    assert_eq!(
        arrived.first(),
        Some(&0),
        "what is being sent is not dropped"
    );
    assert_eq!(arrived.last(), Some(&(sent - 1)), "the newest is kept");
    assert_eq!(peer.lines.lock().unwrap().len(), arrived.len());
    assert!(arrived.len() > 1000, "{} arrived", arrived.len());
    let dropped = usize::try_from(counts.dropped()).unwrap();
    assert_eq!(
        arrived.len() + dropped,
        sent,
        "each line arrived or is counted"
    );
}

#[test]
fn a_batch_that_is_refused_for_good_does_not_hold_up_those_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (url, peer) = peer(Mood::Chooses);
    let target = LineTarget::Http(target(folder.path(), &url));
    let (sink, writer) = LineSink::open(&target).unwrap();
    sink.send(b"poison\n7\n8\n");
    eventually("it is asked", || peer.requests.load(Ordering::Relaxed) > 0);
    sink.send(b"9\n");
    eventually("the next arrives", || numbers(&peer).contains(&9));
    assert_eq!(sink.dropped(), 3);
    assert_eq!(
        peer.requests.load(Ordering::Relaxed),
        6,
        "patience has an end"
    );
    drop(sink);
    writer.join();
    assert_eq!(size(&folder.path().join("spool")), 0);
}

#[test]
fn a_token_that_is_refused_loses_nothing_and_another_one_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let (url, peer) = peer(Mood::Takes);
    *peer.token.lock().unwrap() = "another";
    let target = LineTarget::Http(target(folder.path(), &url));
    let (sink, writer) = LineSink::open(&target).unwrap();
    // A batch that is new is a reason to try again at once.
    let sent = AtomicU64::new(0);
    let send = || sink.send(format!("{}\n", sent.fetch_add(1, Ordering::Relaxed)).as_bytes());
    let asked = |times| {
        send();
        peer.requests.load(Ordering::Relaxed) >= times
    };
    eventually("more often than is enough to give a batch up", || asked(8));
    *peer.token.lock().unwrap() = "s3cret";
    // Other ways to say that what is posted is not to blame.
    for status in [403, 425] {
        *peer.mood.lock().unwrap() = Mood::Answers(status);
        let before = peer.requests.load(Ordering::Relaxed);
        eventually("it is asked again", || asked(before + 7));
    }
    *peer.token.lock().unwrap() = "new";
    *peer.mood.lock().unwrap() = Mood::Takes;
    std::fs::write(folder.path().join("secret"), "new\n").unwrap();
    send();
    let all = usize::try_from(sent.load(Ordering::Relaxed)).unwrap();
    eventually("it has all", || numbers(&peer).len() == all);
    assert_eq!(sink.dropped(), 0);
    drop(sink);
    writer.join();
}

#[test]
fn a_receiver_that_has_too_much_to_do_gets_all_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (url, peer) = peer(Mood::IsBusy);
    let target = LineTarget::Http(target(folder.path(), &url));
    let (sink, writer) = LineSink::open(&target).unwrap();
    for number in 0..1500 {
        sink.send(format!("{number:019}\n").as_bytes());
    }
    eventually("all arrive", || numbers(&peer).len() == 1500);
    assert!(peer.requests.load(Ordering::Relaxed) > 10, "many batches");
    assert!(peer.lines.lock().unwrap().is_sorted());
    assert_eq!(sink.dropped(), 0);
    drop(sink);
    writer.join();
}

#[test]
fn a_folder_that_is_cleared_away_costs_what_was_in_it_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (url, peer) = peer(Mood::Fails);
    let target = LineTarget::Http(target(folder.path(), &url));
    let (sink, writer) = LineSink::open(&target).unwrap();
    sink.send(b"1\n2\n");
    eventually("it is asked", || peer.requests.load(Ordering::Relaxed) > 0);
    std::fs::remove_dir_all(folder.path().join("spool")).unwrap();
    *peer.mood.lock().unwrap() = Mood::Takes;
    eventually("it is missed", || sink.dropped() == 2);
    sink.send(b"3\n");
    eventually("the next arrives", || numbers(&peer).contains(&3));
    assert_eq!(numbers(&peer).len(), 1);
    assert_eq!(sink.dropped(), 2);
    drop(sink);
    writer.join();
}
