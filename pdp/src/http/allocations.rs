//! What a request allocates: what is read stands in an arena that the thread keeps, what is logged in a
//! buffer of its own, and a question's entities take what they need to last longer than its body.

use ::http::Request;
use allocation_counter::measure;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use service_kit::line_sink::{LineTarget, RotatingTarget};
use service_kit::serve::Client;

use crate::fixture::Fixture;

/// A question with attributes of both entities and a context, as most have.
const QUESTION: &str = r#"{
    "subject":{"type":"user","id":"ann","properties":{"name":"ann","age":40,"manager":"ben"}},
    "action":{"name":"GET /docs/{id}"},
    "resource":{"type":"urn:x:doc","id":"d9","properties":{"owner":"ann","level":3,"public":true}},
    "context":{"tries":2}}"#;

/// How often the answer to one request allocates; requests before it have made what is made once. The
/// request itself and the answer that is taken in are not counted.
fn allocations(path: &str, body: String) -> u64 {
    let mut fixture = Fixture::new();
    fixture.config.decision_log = LineTarget::Rotating(RotatingTarget {
        path: fixture.folder.path().join("log/decisions.jsonl"),
        max_bytes: 1 << 20,
        keep: 1,
    });
    fixture.config.second_opinion_every = 0;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let api = runtime.block_on(async { fixture.open() }).api();
    let client = Client::of(([127, 0, 0, 1], 1).into());
    let body = Bytes::from(body);
    // What is queued for the log grows now and then, and so does what the thread keeps.
    let counted = (0..8).map(|_| {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))
            .unwrap();
        let mut answer = None;
        let counted = measure(|| answer = Some(runtime.block_on(api.ask(request, &client))));
        let body = answer.unwrap().unwrap().into_body();
        let body = runtime.block_on(body.collect()).unwrap().to_bytes();
        let permit = br#""decision":true"#;
        assert!(body.windows(permit.len()).any(|part| part == permit));
        counted.count_total
    });
    counted.min().unwrap()
}

#[test]
fn an_evaluation_allocates_no_more_than_it_did() {
    let counted = allocations("/access/v1/evaluation", QUESTION.into());
    assert!(counted <= ONE, "{counted}");
}

#[test]
fn an_entry_of_a_batch_allocates_no_more_than_it_did() {
    let entries = [QUESTION; ENTRIES].join(",");
    let batch = format!(r#"{{"evaluations":[{entries}]}}"#);
    let counted = allocations("/access/v1/evaluations", batch);
    assert!(counted <= EACH * ENTRIES as u64, "{counted}");
}

/// Of one evaluation, HTTP included.
const ONE: u64 = 27;
/// Of an entry of a batch.
const EACH: u64 = 19;
const ENTRIES: usize = 100;
