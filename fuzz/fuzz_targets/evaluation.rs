//! Any body of an evaluation or a batch: read as `serde_json` reads it, answered or refused, and
//! twice the same.
#![no_main]

use std::cell::LazyCell;

use fuzz::Asked;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

thread_local! {
    static PDP: LazyCell<Asked> = LazyCell::new(Asked::default);
}

fuzz_target!(|body: &[u8]| {
    let read = strict_json::parse_json(body);
    match (&read, serde_json::from_slice::<Value>(body)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(*ours, theirs),
        (Err(_), Err(_)) => {}
        // It takes the last of two members of a name.
        (Err(error), Ok(_)) => assert!(error.to_string().ends_with("appears twice"), "{error}"),
        (Ok(_), Err(error)) => panic!("{error}"),
    }
    PDP.with(|pdp| {
        for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
            let (status, answer) = pdp.post(path, body);
            let (again, answer_again) = pdp.post(path, body);
            assert_eq!(status, again);
            assert_eq!(answer["decision"], answer_again["decision"]);
            // A refusal decides nothing.
            assert!(status.is_success() || answer.get("decision").is_none());
        }
    });
});
