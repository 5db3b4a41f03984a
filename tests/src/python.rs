//! Clients and servers in Python that we did not write, driven by scripts of ours.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::{Process, repository};

/// Runs a script of `tests/python` with the packages of its `requirements.txt`; the JSON of its last line.
pub fn play(script: &str, variables: &[(&str, &str)]) -> Value {
    let output = python(script, variables).output().expect("python");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{script} failed:\n{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|_| panic!("{script} says no JSON:\n{stdout}"))
}

/// Starts a server of `tests/python` likewise; what it prints goes into `folder`.
pub fn start(script: &str, folder: &Path, variables: &[(&str, &str)]) -> Process {
    Process::start(script, folder, &mut python(script, variables))
}

fn python(script: &str, variables: &[(&str, &str)]) -> Command {
    let folder = repository().join("tests/python");
    let python = folder.join(".venv/bin/python");
    assert!(
        python.exists(),
        "the Python tests' packages are not installed: run `script/test install`"
    );
    let mut command = Command::new(python);
    command
        // Nothing is left in the tree.
        .arg("-B")
        .arg(script)
        .current_dir(folder)
        .envs(variables.iter().copied());
    command
}
