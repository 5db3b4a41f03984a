//! Any text of policies: refused with its place, or taken, and then it decides.
#![no_main]

use std::cell::LazyCell;

use fuzz::{ENTITIES, SCHEMA, open};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static FOLDER: LazyCell<(tokio::runtime::Runtime, TempDir)> = LazyCell::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("schema.cedarschema"), SCHEMA).expect("a file");
        std::fs::write(folder.path().join("entities.json"), ENTITIES).expect("a file");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        (runtime, folder)
    });
}

const QUESTION: &[u8] = br#"{"subject":{"type":"User","id":"b"},"action":{"name":"read"},"resource":{"type":"Doc","id":"d"},"context":{"n":2}}"#;

fuzz_target!(|text: &str| {
    FOLDER.with(|both| {
        let (runtime, folder) = &**both;
        std::fs::write(folder.path().join("policies.cedar"), text).expect("a file");
        let _inside = runtime.enter();
        match open(folder.path()) {
            Ok(pdp) => {
                let question = authzen::EvaluationRequest::from_json(QUESTION).expect("a question");
                let asked = authzen::DecisionPoint::evaluate(&pdp, &question);
                runtime.block_on(asked).expect("a decision");
                let told = pdp::explain_policies(folder.path(), QUESTION).expect("an explanation");
                assert!(!told.to_string().is_empty());
            }
            // Every problem is told with its file, or with the folder.
            Err(error) => {
                let folder = folder.path().display().to_string();
                assert!(error.to_string().contains(&folder), "{error}");
            }
        }
    });
});
