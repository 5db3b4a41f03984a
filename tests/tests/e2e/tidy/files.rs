//! What a file may be called, how long it may be and what it may not say.

/// Lines that a Rust file may have.
const LINES: usize = 600;

/// Lines that a crate's door may have: documentation, modules, `pub use`.
const DOOR_LINES: usize = 80;

/// Rust that does not land. In two halves, so that this file does not contain it.
const NOT_IN_RUST: [(&str, &str, &str); 3] = [
    ("tod", "o!(", "an unfinished branch is a panic"),
    ("#[all", "ow(", "use #[expect(…, reason = …)]"),
    ("#![all", "ow(", "lints are set for the whole workspace"),
];

/// The only tests that may be left out of a run: those that another test starts, and those that
/// measure. A test that never runs proves nothing. In halves, too.
const IGNORE: (&str, &str) = ("#[ign", "ore");
const IGNORE_BECAUSE: [&str; 2] = [" = \"started by the test that", " = \"a measurement"];

/// Text that ties the tree to one machine, one tracker or one registry.
const NOWHERE: [(&str, &str, &str); 9] = [
    ("/wo", "rk/", "a path of somebody's machine"),
    ("../sha", "red", "a path outside this tree"),
    ("issue", " #", "a tracker's number; say the reason in words"),
    ("index.cra", "tes.io", "a registry's host"),
    ("static.cra", "tes.io", "a registry's host"),
    ("registry.np", "mjs.org", "a registry's host"),
    ("deb.deb", "ian.org", "a registry's host"),
    ("proxy.gol", "ang.org", "a registry's host"),
    ("files.python", "hosted.org", "a registry's host"),
];

/// Folders whose files may say anything: continuous integration names the folder of the corpora,
/// and hostile requests are data.
const FREE_SPEECH: [&str; 2] = [".ci/", "tests/vectors/"];

pub(super) fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

/// Everything that is wrong with one file; `name` is its path from the root.
pub(super) fn complaints(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if is_rust(name) {
        complaints.extend(rust(name, text));
    }
    if name.ends_with("Cargo.toml") && name != "Cargo.toml" {
        complaints.extend(manifest(text));
    }
    if !FREE_SPEECH.iter().any(|folder| name.starts_with(folder)) {
        complaints.extend(said(text, &NOWHERE));
    }
    complaints
        .into_iter()
        .map(|complaint| format!("{name}{complaint}"))
        .collect()
}

fn rust(name: &str, text: &str) -> Vec<String> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let lines = text.lines().count();
    let cap = if file == "lib.rs" { DOOR_LINES } else { LINES };
    let mut complaints = said(text, &NOT_IN_RUST);
    complaints.extend(left_out(text));
    if file == "mod.rs" {
        complaints.push(": write `foo.rs` beside `foo/`".into());
    }
    if !text.starts_with("//! ") {
        complaints.push(":1: must open with `//!` and its one subject".into());
    }
    if lines > cap {
        complaints.push(format!(": {lines} lines; at most {cap}"));
    }
    complaints
}

fn left_out(text: &str) -> Vec<String> {
    let ignore = format!("{}{}", IGNORE.0, IGNORE.1);
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((_, why)) = line.split_once(&ignore) else {
            continue;
        };
        if !IGNORE_BECAUSE.iter().any(|known| why.starts_with(known)) {
            complaints.push(format!(
                ":{}: `{ignore}`: a test that never runs proves nothing",
                index + 1
            ));
        }
    }
    complaints
}

/// Versions and features are said once, in the root manifest; lints, too.
fn manifest(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    // A workspace of its own has nothing to take them from.
    if text.lines().any(|line| line.trim() == "[workspace]") {
        return complaints;
    }
    let mut section = "";
    let mut lints = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        lints |= section == "[lints]" && line == "workspace = true";
        let states_workspace =
            line.contains(".workspace = true") || line.contains("workspace = true");
        if section.ends_with("dependencies]") && !states_workspace {
            complaints.push(format!(
                ":{}: state the dependency in the root Cargo.toml and take it by `.workspace = true`",
                index + 1
            ));
        }
    }
    // The end-to-end tests state their own, and say why there.
    if !lints && !text.contains("[lints.clippy]") {
        complaints.push(": `[lints]` must say `workspace = true`".into());
    }
    complaints
}

fn said(text: &str, forbidden: &[(&str, &str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (head, tail, why) in forbidden {
        let phrase = format!("{head}{tail}");
        for (index, line) in text.lines().enumerate() {
            if line.contains(&phrase) {
                complaints.push(format!(":{}: `{phrase}`: {why}", index + 1));
            }
        }
    }
    complaints
}

/// How long the files are, in one line.
pub(super) fn length_table(mut lengths: Vec<usize>) -> String {
    lengths.sort_unstable();
    let at = |percent: usize| {
        let last = lengths.len().saturating_sub(1);
        lengths.get(last * percent / 100).copied().unwrap_or(0)
    };
    format!(
        "{} Rust files, {} lines; a file: median {}, p90 {}, longest {}",
        lengths.len(),
        lengths.iter().sum::<usize>(),
        at(50),
        at(90),
        at(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str, expected: &[&str]) {
        let complaints = complaints(name, text);
        assert_eq!(complaints.len(), expected.len(), "{complaints:?}");
        for (complaint, part) in complaints.iter().zip(expected) {
            assert!(complaint.contains(part), "{complaint} has no {part}");
        }
    }

    #[test]
    fn a_good_file_has_no_complaints() {
        check("pdp/src/lib.rs", "//! Decides.\n", &[]);
        check("docs/x.md", "Network/work, shared/../x.\n", &[]);
    }

    #[test]
    fn a_file_without_a_subject_is_found() {
        check(
            "pdp/src/x.rs",
            "use std::fmt;\n",
            &["pdp/src/x.rs:1: must open"],
        );
        check("pdp/src/x.rs", "", &["must open"]);
    }

    #[test]
    fn mod_rs_is_found() {
        check("pdp/src/http/mod.rs", "//! X.\n", &["beside `foo/`"]);
    }

    #[test]
    fn long_files_are_found() {
        let long = |lines: usize| "//! X.\n".repeat(lines);
        check("pdp/src/x.rs", &long(LINES), &[]);
        check(
            "pdp/src/x.rs",
            &long(LINES + 1),
            &["601 lines; at most 600"],
        );
        check(
            "pdp/src/lib.rs",
            &long(DOOR_LINES + 1),
            &["81 lines; at most 80"],
        );
    }

    #[test]
    fn every_forbidden_phrase_is_found_with_its_line() {
        for (head, tail, _) in NOT_IN_RUST {
            let text = format!("//! X.\n{head}{tail}\n");
            check("pdp/src/x.rs", &text, &["pdp/src/x.rs:2: "]);
        }
        for (head, tail, _) in NOWHERE {
            let text = format!("a\n{head}{tail}\n");
            check("README.md", &text, &["README.md:2: "]);
            check(".ci/run", &text, &[]);
            check("tests/vectors/x.json", &text, &[]);
        }
    }

    #[test]
    fn a_test_that_is_left_out_is_found() {
        let ignored = |why: &str| format!("//! X.\n{}{}{why}]\n", IGNORE.0, IGNORE.1);
        for why in ["", " = \"flaky\"", "_not"] {
            check("pdp/src/x.rs", &ignored(why), &["pdp/src/x.rs:2: "]);
        }
        check("pdp/src/x.rs", &ignored(" = \"a measurement\""), &[]);
    }

    #[test]
    fn a_version_in_a_member_is_found() {
        let good = "[lints]\nworkspace = true\n\n[dependencies]\n# Why.\nserde.workspace = true\nredb = { workspace = true, features = [] }\n";
        check("pdp/Cargo.toml", good, &[]);
        check(
            "Cargo.toml",
            "[workspace.dependencies]\nserde = \"1\"\n",
            &[],
        );
        check(
            "pdp/Cargo.toml",
            &format!("{good}serde_json = \"1\"\n"),
            &["pdp/Cargo.toml:8: state the dependency"],
        );
        check("pdp/Cargo.toml", "[package]\n", &["`[lints]`"]);
        let apart = "[workspace]\n\n[package]\n\n[dependencies]\nserde = \"1\"\n";
        check("fuzz/Cargo.toml", apart, &[]);
    }

    #[test]
    fn the_table_counts() {
        let table = length_table((1..=101).rev().collect());
        assert!(table.contains("101 Rust files"), "{table}");
        assert!(table.contains("median 51, p90 91, longest 101"), "{table}");
    }
}
