//! Any schema, policies and entities together, as a policy folder holds them: refused with the place
//! of what is wrong, or taken whole, and then every answer is one.
#![no_main]

use std::cell::LazyCell;

use authzen::{DecisionError, DecisionPoint as _, EvaluationRequest};
use fuzz::open;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// Between the three files of one input.
const BORDER: &str = "\n====\n";

const FILES: [&str; 3] = ["schema.cedarschema", "policies.cedar", "entities.json"];

const QUESTION: &[u8] = br#"{"subject":{"type":"User","id":"b","properties":{"level":1}},"action":{"name":"read"},"resource":{"type":"Doc","id":"d"},"context":{"n":2}}"#;

thread_local! {
    static FOLDER: LazyCell<(tokio::runtime::Runtime, TempDir)> = LazyCell::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        (runtime, folder)
    });
}

fuzz_target!(|text: &str| {
    FOLDER.with(|both| {
        let (runtime, folder) = &**both;
        let mut parts = text.splitn(FILES.len(), BORDER);
        for name in FILES {
            let text = parts.next().unwrap_or_default();
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let _inside = runtime.enter();
        match open(folder.path()) {
            Ok(pdp) => {
                let question = EvaluationRequest::from_json(QUESTION).expect("a question");
                match runtime.block_on(pdp.evaluate(&question)) {
                    // What this schema wants may be of another type.
                    Ok(_) | Err(DecisionError::Rejected { .. }) => {}
                    Err(error) => panic!("no decision: {error}"),
                }
            }
            Err(error) => {
                let folder = folder.path().display().to_string();
                assert!(error.to_string().contains(&folder), "{error}");
            }
        }
    });
});
