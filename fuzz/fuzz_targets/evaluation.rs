//! Any body of an evaluation or a batch: answered or refused, and twice the same.
#![no_main]

use std::cell::LazyCell;

use fuzz::Asked;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PDP: LazyCell<Asked> = LazyCell::new(Asked::default);
}

fuzz_target!(|body: &[u8]| {
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
