//! One view of a request: what random bytes make of a gateway in front of HTTP parsers of others.

use e2e::drills::h1::h1;

/// Of those that run here; by hand there are as many as one likes.
const CASES: usize = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_behind_the_gateway_gets_what_was_decided_upon_and_nothing_else() {
    let table = h1(CASES, 1).await;
    println!("{table}");
    assert!(table.failures.is_empty(), "{} failed", table.failures.len());
    assert!(table.has_tried(CASES / 20), "too few of some kind");
}
