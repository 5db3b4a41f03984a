//! Any body of a search, page tokens included: what is found is permitted.
#![no_main]

use std::cell::LazyCell;

use fuzz::Asked;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

thread_local! {
    static PDP: LazyCell<Asked> = LazyCell::new(Asked::default);
}

fuzz_target!(|body: &[u8]| {
    PDP.with(|pdp| {
        for (part, path) in [
            ("subject", "/access/v1/search/subject"),
            ("resource", "/access/v1/search/resource"),
            ("action", "/access/v1/search/action"),
        ] {
            let (status, answer) = pdp.post(path, body);
            let found = answer["results"].as_array().cloned().unwrap_or_default();
            assert!(status.is_success() || found.is_empty());
            let Ok(Value::Object(asked)) = serde_json::from_slice::<Value>(body) else {
                continue;
            };
            if asked.get("page").is_some() {
                continue;
            }
            for mut one in found {
                one.as_object_mut().map(|one| one.remove("context"));
                let mut question = asked.clone();
                question.insert(part.to_owned(), one);
                // What the search was told of the sought side is not part of the result.
                let (_, answer) = pdp.post(
                    "/access/v1/evaluation",
                    &serde_json::to_vec(&question).expect("JSON"),
                );
                let properties = asked.get(part).and_then(|side| side.get("properties"));
                assert!(
                    answer["decision"] == true || properties.is_some(),
                    "{question:?}"
                );
            }
        }
    });
});
