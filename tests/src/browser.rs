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

/// Its standard output. A page that crashes is Chromium's failure, at a moment of its own, and says nothing of us:
/// the script is run again then, from its beginning. Should our answers bring pages down, all runs fail.
fn play(script: &str, variables: &[(&str, &str)]) -> String {
    let mut crashes = Vec::new();
    loop {
        let (is_well, stdout, stderr) = run(script, variables);
        if is_well {
            return stdout;
        }
        crashes.push(format!("{script} failed:\n{stdout}\n{stderr}"));
        let has_crashed = CRASHES.iter().any(|crash| stderr.contains(crash));
        let told = crashes.join("\n");
        assert!(has_crashed && crashes.len() < RUNS, "{told}");
    }
}

/// How Playwright says it, of a page or of all of the browser.
const CRASHES: [&str; 4] = [
    "page crashed",
    "Page crashed",
    "Target crashed",
    "browser has been closed",
];

/// A script is run so often at most.
const RUNS: usize = 3;

/// Whether it went well, its standard output and what it says of errors.
fn run(script: &str, variables: &[(&str, &str)]) -> (bool, String, String) {
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
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}
