//! A browser and OIDC clients that we did not write, driven by scripts of ours.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::process::repository;

/// Runs a script of `tests/browser`, of which each of these steps must go as it must; its summary.
pub fn plays(script: &str, variables: &[(&str, &str)], steps: &[&str]) -> Value {
    let output = play(script, variables);
    let line = output.lines().last().unwrap_or_default();
    let summary: Value = serde_json::from_str(line).expect(&output);
    for step in steps {
        assert_eq!(summary[step], Value::Bool(true), "{step}: {summary}");
    }
    summary
}

/// Its standard output.
fn play(script: &str, variables: &[(&str, &str)]) -> String {
    let folder: PathBuf = repository().join("tests/browser");
    assert!(
        folder.join("node_modules").exists(),
        "the browser test's packages are not installed: run `script/test`, or `npm ci` in tests/browser"
    );
    let output = Command::new("node")
        .arg(script)
        .current_dir(&folder)
        .envs(variables.iter().copied())
        .output()
        .expect("node is not installed: run `script/test`");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{script} failed:\n{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
