//! A browser and an OIDC client that we did not write, driven by a script of ours.

use std::path::PathBuf;
use std::process::Command;

use crate::process::repository;

/// Runs `tests/browser/flow.mjs`; its standard output.
pub fn flow(variables: &[(&str, &str)]) -> String {
    let folder: PathBuf = repository().join("tests/browser");
    assert!(
        folder.join("node_modules").exists(),
        "the browser test's packages are not installed: run `script/test`, or `npm ci` in tests/browser"
    );
    let output = Command::new("node")
        .arg("flow.mjs")
        .current_dir(&folder)
        .envs(variables.iter().copied())
        .output()
        .expect("node is not installed: run `script/test`");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "the browser flow failed:\n{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
