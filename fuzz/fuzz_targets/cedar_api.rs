//! Any body of the Cedar API: questions, residuals, explanations and changes of entities.
#![no_main]

use std::cell::LazyCell;

use fuzz::Asked;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PDP: LazyCell<Asked> = LazyCell::new(Asked::default);
}

fuzz_target!(|body: &[u8]| {
    PDP.with(|pdp| {
        for path in [
            "/cedar/v1/authorize",
            "/cedar/v1/authorize/batch",
            "/cedar/v1/partial",
            "/cedar/v1/explain",
            "/cedar/v1/entities",
        ] {
            pdp.post(path, body);
        }
    });
});
