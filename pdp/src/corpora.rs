//! Public corpora of other projects, read from the folder that `CEDARGATE_CORPORA` names and
//! never committed. Set but incomplete is a failure; unset says in one line what was not run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use authzen::{BatchBody, DecisionPoint as _};
use cedar_policy::{Context, Entities, EntityUid, PolicySet, Request, Schema};
use serde::Deserialize;
use serde_json::{Value, json};
use strict_json::Arena;

use crate::engine::tests::{assert_agree, ours, rules, theirs};
use crate::entities::EntityStore;
use crate::fixture::{Fixture, ask, domains};

fn corpora(what: &str, from: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CEDARGATE_CORPORA");
    if folder.is_none() {
        println!(
            "not run: {what}; set CEDARGATE_CORPORA to a folder that has it ({from} on GitHub)"
        );
    }
    folder.map(PathBuf::from)
}

#[tokio::test]
async fn the_authzen_todo_scenario_passes() {
    let Some(folder) = corpora("authzen-todo", "openid/authzen") else {
        return;
    };
    let text = fs::read_to_string(folder.join("authzen-todo/decisions.json")).unwrap();
    let decisions: Value = serde_json::from_str(&text).unwrap();
    let fixture = Fixture::empty();
    let pdp = fixture.open_at(&domains().join("todo")).unwrap();
    let singles = decisions["evaluation"].as_array().unwrap();
    for single in singles {
        let answer = ask(&pdp, &single["request"]).await.unwrap();
        assert_eq!(json!(answer.decision), single["expected"], "{single}");
    }
    let batches = decisions["evaluations"].as_array().unwrap();
    for batch in batches {
        let body = batch["request"].to_string();
        let arena = Arena::new();
        let BatchBody::Many(request) = BatchBody::parse(body.as_bytes(), &arena).unwrap() else {
            panic!("no batch: {body}");
        };
        let answers = pdp.evaluate_many(&request.to_request()).await.unwrap();
        let answers: Vec<_> = answers
            .iter()
            .map(|answer| json!({ "decision": answer.decision }))
            .collect();
        assert_eq!(json!(answers), batch["expected"], "{body}");
    }
    assert!(singles.len() >= 40 && batches.len() >= 3);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    policies: String,
    entities: String,
    schema: String,
    requests: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    description: String,
    principal: Value,
    action: Value,
    resource: Value,
    context: Value,
    decision: String,
    reason: BTreeSet<String>,
    errors: BTreeSet<String>,
}

/// Runs one file of questions; gives how many there were.
fn run(root: &Path, file: &Path) -> usize {
    let about = file.display().to_string();
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let test: Test = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let (schema, _) = Schema::from_cedarschema_str(&text(&test.schema)).unwrap();
    let policies: PolicySet = text(&test.policies).parse().unwrap();
    let entities = Entities::from_json_str(&text(&test.entities), Some(&schema)).unwrap();
    let store = EntityStore::of(entities.as_ref());
    let rules = rules(&policies);
    for asked in &test.requests {
        let about = format!("{about}: {}", asked.description);
        let uid = |value: &Value| EntityUid::from_json(value.clone()).unwrap();
        let action = uid(&asked.action);
        let context =
            Context::from_json_value(asked.context.clone(), Some((&schema, &action))).unwrap();
        let (principal, resource) = (uid(&asked.principal), uid(&asked.resource));
        let request = Request::new(principal, action, resource, context, None).unwrap();
        let actual = ours(&rules, &store, &request);
        let expected = (
            asked.decision == "allow",
            asked.reason.clone(),
            asked.errors.clone(),
        );
        assert_agree(&actual, &expected, &about);
        assert_agree(&actual, &theirs(&policies, &entities, &request), &about);
    }
    test.requests.len()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if is_test(&path) {
            found.push(path);
        }
    }
}

fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.extension().is_some_and(|kind| kind == "json") && !stem.ends_with(".entities")
}

#[test]
fn the_hand_written_cedar_tests_pass() {
    let Some(folder) = corpora(
        "cedar-integration-tests (hand-written)",
        "cedar-policy/cedar-integration-tests",
    ) else {
        return;
    };
    let root = folder.join("cedar-integration-tests");
    let mut found = Vec::new();
    files(&root.join("tests"), &mut found);
    let asked: usize = found.iter().map(|file| run(&root, file)).sum();
    println!("{} files, {asked} questions", found.len());
    assert!(found.len() >= 20 && asked >= 70);
}

#[test]
fn the_generated_cedar_tests_pass() {
    let Some(folder) = corpora(
        "cedar-integration-tests (generated)",
        "cedar-policy/cedar-integration-tests",
    ) else {
        return;
    };
    let archive = folder.join("cedar-integration-tests/corpus-tests.tar.gz");
    let unpacked = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(unpacked.path())
        .status()
        .unwrap();
    assert!(status.success(), "{}", archive.display());
    let mut found = Vec::new();
    files(&unpacked.path().join("corpus-tests"), &mut found);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let root = unpacked.path();
    let asked: usize = std::thread::scope(|scope| {
        let shares: Vec<_> = found
            .chunks(found.len().div_ceil(cores))
            .map(|share| scope.spawn(|| share.iter().map(|file| run(root, file)).sum::<usize>()))
            .collect();
        shares.into_iter().map(|share| share.join().unwrap()).sum()
    });
    println!("{} files, {asked} questions", found.len());
    assert_eq!(asked, 62_472);
}
