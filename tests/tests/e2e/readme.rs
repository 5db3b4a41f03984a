//! The README's commands do what it says.

use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use e2e::process::repository;

/// The text of every ```sh block that is marked to be executed here.
fn blocks(marker: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("README.md");
    let mut blocks = Vec::new();
    let mut rest = readme.as_str();
    let opening = format!("<!-- {marker} -->\n```sh\n");
    while let Some((_, after)) = rest.split_once(&opening) {
        let (block, after) = after.split_once("```").expect("a closed block");
        blocks.push(block.to_owned());
        rest = after;
    }
    assert!(
        !blocks.is_empty(),
        "README.md has no block marked `{marker}`"
    );
    blocks
}

/// Runs a shell script in an empty folder that looks like a clone with a built binary.
fn shell(script: &str, folder: &std::path::Path) -> String {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{script}\nended with {}:\n{text}",
        output.status
    );
    text
}

#[test]
fn the_readme_names_both_commands_and_they_exist() {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("README.md");
    for command in ["cargo run --release", "script/test"] {
        assert!(readme.contains(command), "{command}");
    }
    assert!(repository().join("script/test").exists());
}

/// What the README starts listens on the default ports: one at a time.
static DEFAULT_PORTS: Mutex<()> = Mutex::new(());

/// A folder with the built binary where the README has it.
fn clone() -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().expect("folder");
    std::fs::create_dir_all(folder.path().join("target/release")).expect("folder");
    std::os::unix::fs::symlink(
        e2e::process::cedargate(),
        folder.path().join("target/release/cedargate"),
    )
    .expect("link");
    folder
}

#[test]
fn the_readme_takes_the_tour_with_three_processes() {
    let _ports = DEFAULT_PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = clone();
    let sources = repository();
    let copied = Command::new("cp")
        .arg("-r")
        .args(["config", "policies", "script"].map(|part| sources.join(part)))
        .arg(folder.path())
        .status();
    assert!(copied.expect("cp").success());
    let stop = "kill $(jobs -p) || true; wait || true; redis-cli -p 6380 shutdown nosave || true";
    for block in blocks("split") {
        let said = shell(&format!("trap '{stop}' EXIT\n{block}"), folder.path());
        assert!(said.contains("the tour holds"), "{said}");
    }
}

#[test]
fn the_readme_tour_shows_what_it_says() {
    let _ports = DEFAULT_PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = clone();
    let mut demo = e2e::process::Process::start(
        "demo",
        folder.path(),
        Command::new(e2e::process::cedargate()).current_dir(folder.path()),
    );
    demo.await_output("Ctrl-C stops it");
    let banner = demo.output();
    for part in [
        "gateway",
        "token service",
        "PDP",
        "alice",
        "nightly-report",
        "curl -i",
    ] {
        assert!(
            banner.contains(part),
            "the banner has no `{part}`:\n{banner}"
        );
    }
    for block in blocks("tour") {
        // Every command says in a comment what status it shows.
        let checked = block.lines().map(checked).collect::<Vec<_>>().join("\n");
        shell(&checked, folder.path());
    }
    // The banner's own commands, pasted literally.
    let pasted: String = banner
        .lines()
        .skip_while(|line| !line.starts_with("Paste these"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| checked(line.trim()) + "\n")
        .collect();
    assert!(pasted.lines().count() > 10, "{banner}");
    shell(&pasted, folder.path());
}

/// A `curl -i … # …: STATUS` line, with the status held to what the comment says.
fn checked(line: &str) -> String {
    let Some((command, comment)) = line.split_once(" # ") else {
        return line.to_owned();
    };
    let status = comment
        .split(|character: char| !character.is_ascii_digit())
        .find(|word| word.len() == 3);
    match status {
        Some(status) if command.trim_start().starts_with("curl -i") => format!(
            "answer=$({command}); grep -q '^HTTP/1.1 {status}' <<<\"$answer\" || {{ echo 'not {status}:' \"$answer\"; exit 1; }}"
        ),
        _ => command.to_owned(),
    }
}
