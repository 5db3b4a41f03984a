//! Edits one after the other: what is made of them is what reading the folder anew makes.

use std::fmt::Write as _;

use authzen::{Evaluation, EvaluationRequest};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use service_kit::UnixTime;
use strict_json::Arena;
use tokio::time::Instant;

use super::*;
use crate::config::Reading;
use crate::fixture::{Fixture, POLICIES, answer};
use crate::snapshot::Snapshot;

fn snapshot(fixture: &Fixture, before: Option<&Snapshot>) -> Result<Snapshot, crate::PdpError> {
    let folder = Folder::read(fixture.folder.path()).unwrap();
    Snapshot::build(&folder, &Reading::default(), 1, before)
}

/// Everything that somebody can see of a snapshot's policies.
fn seen(snapshot: &Snapshot) -> Vec<String> {
    let mut seen = vec![
        snapshot.version.version.clone(),
        snapshot.loaded.rules.len().to_string(),
        serde_json::to_string(&snapshot.contracts.iter().collect::<Vec<_>>()).unwrap(),
    ];
    for (subject, action, resource) in [
        ("ben", "GET /docs/{id}", "d1"),
        ("amy", "GET /docs/{id}", "d1"),
        ("mallory", "GET /docs/{id}", "nowhere"),
        ("ben", "delete", "d1"),
    ] {
        let question = json!({
            "subject": { "type": "user", "id": subject },
            "action": { "name": action, "properties": { "soft": true } },
            "resource": { "type": "urn:x:doc", "id": resource },
            "context": { "reason": "none" },
        });
        let request = EvaluationRequest::from_json(question.to_string().as_bytes()).unwrap();
        let answered = answer(snapshot, &request, UnixTime::from_secs(0)).unwrap();
        let mut evaluation = Evaluation::from(answered.answer);
        evaluation.context.snapshot = None;
        seen.push(serde_json::to_string(&evaluation).unwrap());
        seen.push(format!("{:?}", answered.failures));
        let (question, verdict) = *answered.decided.unwrap();
        assert!(verdict.agrees_with(&snapshot.by_cedar(&question).unwrap()));
        let explained = snapshot
            .explain(&request.lend(&Arena::new()).asked(), UnixTime::from_secs(0))
            .unwrap();
        seen.push(format!("{:?} {}", explained.outcome, explained.summary));
        let mut policies: Vec<_> = explained
            .policies
            .iter()
            .map(|one| format!("{one:?}"))
            .collect();
        policies.sort();
        seen.extend(policies);
    }
    seen
}

/// A statement; its number is its id.
fn statement(number: usize) -> String {
    let bodies = [
        "permit (principal, action, resource);",
        "permit (principal, action == Action::\"read\", resource is Doc)\nwhen { resource has public && resource.public };",
        "permit (principal == User::\"ben\", action in Action::\"reading\", resource);",
        "forbid (principal, action == Action::\"read\", resource) when { principal.name == \"mallory\" };",
        "permit (principal in Team::\"staff\", action, resource is Doc) when { context has tries };",
        "forbid (principal, action == Action::\"delete\", resource)\n  when { context.reason == \"; // \\\"\" };",
        "permit (principal is User, action == Action::\"read\", resource == Doc::\"d1\") unless { resource has level && resource.level + 9223372036854775807 > 3 };",
    ];
    let body = bodies[number % bodies.len()];
    let comment = ["", "// a comment; with \"\n", "\n\n"][number % 3];
    format!("{comment}@id(\"p{number}\") {body}\n")
}

/// Two templates with a policy between them.
fn templates(level: usize) -> String {
    format!(
        "@id(\"t1\") permit (principal == ?principal, action, resource is Doc) when {{ {level} < 2 }};\n{}\
         @id(\"t2\") forbid (principal in ?principal, action == Action::\"read\", resource == ?resource);\n",
        statement(300 + level)
    )
}

fn links(count: usize) -> String {
    let ben = json!({ "type": "User", "id": "ben" });
    let all = [
        json!({ "templateId": "t1", "newId": "l1", "values": { "?principal": ben } }),
        json!({ "templateId": "t2", "newId": "l2", "values": { "?principal": { "type": "Team", "id": "t1" }, "?resource": { "type": "Doc", "id": "d1" } } }),
        json!({ "templateId": "t1", "newId": "l3", "values": { "?principal": { "type": "User", "id": "amy" } } }),
    ];
    json!(all[..count.min(3)]).to_string()
}

#[derive(Debug, Clone)]
enum Step {
    Insert(usize, usize),
    Remove(usize),
    Swap(usize, usize),
    Again(usize),
    NewFile,
    DropFile,
    /// So many links.
    Links(usize),
    /// A template that says something else.
    Template(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..20_usize, 0..30_usize).prop_map(|(at, number)| Step::Insert(at, number)),
        3 => (0..20_usize).prop_map(Step::Remove),
        1 => (0..20_usize, 0..20_usize).prop_map(|(one, other)| Step::Swap(one, other)),
        1 => (0..20_usize).prop_map(Step::Again),
        1 => Just(Step::NewFile),
        1 => Just(Step::DropFile),
        2 => (0..4_usize).prop_map(Step::Links),
        1 => (0..3_usize).prop_map(Step::Template),
    ];
    proptest::collection::vec((select(vec!["a.cedar", "b.cedar"]), step), 1..10)
        .prop_map(|steps| steps.into_iter().map(|(_, step)| step).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn edits_one_by_one_make_what_reading_anew_makes(steps in steps()) {
        let fixture = Fixture::new();
        fixture.write("policies.cedar", &(100..106).map(statement).collect::<String>());
        fixture.write("templates.cedar", &templates(0));
        fixture.write("links.json", &links(2));
        let mut current = snapshot(&fixture, None).unwrap();
        let mut numbers: Vec<usize> = vec![1, 2];
        for (count, step) in steps.into_iter().enumerate() {
            let len = numbers.len();
            match step {
                Step::Insert(at, number) => numbers.insert(at.min(len), number),
                Step::Remove(at) if at < len => { numbers.remove(at); }
                Step::Swap(one, other) if one < len && other < len => numbers.swap(one, other),
                Step::Again(at) if at < len => numbers[at] += 30,
                Step::NewFile => fixture.write("z.cedar", &statement(200 + count)),
                Step::Links(count) => fixture.write("links.json", &links(count)),
                Step::Template(level) => fixture.write("templates.cedar", &templates(level)),
                Step::DropFile => { let _ = std::fs::remove_file(fixture.folder.path().join("z.cedar")); }
                _ => {}
            }
            fixture.write("more.cedar", &numbers.iter().copied().map(statement).collect::<String>());
            match (snapshot(&fixture, Some(&current)), snapshot(&fixture, None)) {
                (Ok(edited), Ok(anew)) => {
                    for (edited, anew) in seen(&edited).iter().zip(&seen(&anew)) {
                        prop_assert_eq!(edited, anew);
                    }
                    current = edited;
                }
                // Two of the same id: refused in the same words, and the old one goes on.
                (Err(edited), Err(anew)) => prop_assert_eq!(edited.to_string(), anew.to_string()),
                (edited, anew) => prop_assert!(false, "{:?} but anew {:?}", edited.err(), anew.err()),
            }
        }
    }
}

#[test]
fn only_what_is_plain_is_taken_without_reading_anew() {
    let fixture = Fixture::new();
    let before = snapshot(&fixture, None).unwrap();
    let policy = statement(1);
    let check = |file: &str, text: &str, taken: bool| {
        let kept = std::fs::read_to_string(fixture.folder.path().join(file)).ok();
        fixture.write(file, text);
        let folder = Folder::read(fixture.folder.path()).unwrap();
        let edited = edited(&before.loaded, &folder);
        assert_eq!(edited.is_some(), taken, "{file}: {text}");
        match kept {
            Some(kept) => fixture.write(file, &kept),
            None => std::fs::remove_file(fixture.folder.path().join(file)).unwrap(),
        }
    };
    check("policies.cedar", POLICIES, true);
    check("policies.cedar", &format!("{POLICIES}{policy}"), true);
    check("policies.cedar", &format!("// first\n{POLICIES}"), true);
    check("more.cedar", &policy, true);
    check("policies.cedar", "", false);
    check("more.cedar", &format!("{policy} permit"), false);
    check(
        "more.cedar",
        "@id(\"public\") permit (principal, action, resource);",
        false,
    );
    check("more.cedar", "permit (principal, action, resource);", false);
    check(
        "more.cedar",
        "@id(\"x\") permit (principal, action, resource) when { resource.no };",
        false,
    );
    check(
        "more.cedar",
        "@id(\"x\") permit (principal == ?principal, action, resource);",
        false,
    );
    check("entities.json", "[]", false);
    check("links.json", "[]", false);
}

#[test]
fn beside_templates_policies_are_still_read_alone() {
    let fixture = Fixture::new();
    fixture.write("templates.cedar", &templates(0));
    fixture.write("links.json", &links(2));
    let before = snapshot(&fixture, None).unwrap();
    let taken = |file: &str, text: &str| {
        let kept = std::fs::read_to_string(fixture.folder.path().join(file)).unwrap_or_default();
        fixture.write(file, text);
        let folder = Folder::read(fixture.folder.path()).unwrap();
        fixture.write(file, &kept);
        edited(&before.loaded, &folder).is_some()
    };
    assert!(taken(
        "policies.cedar",
        &format!("{POLICIES}{}", statement(1))
    ));
    assert!(
        !taken(
            "policies.cedar",
            &format!("{POLICIES}@id(\"t1\") permit (principal, action, resource);")
        ),
        "a template's name"
    );
    assert!(
        !taken(
            "policies.cedar",
            &format!("{POLICIES}@id(\"l1\") permit (principal, action, resource);")
        ),
        "a link's name"
    );
    assert!(!taken("templates.cedar", &templates(1)));
    assert!(!taken("links.json", &links(1)));
    std::fs::remove_file(fixture.folder.path().join("templates.cedar")).unwrap();
    let folder = Folder::read(fixture.folder.path()).unwrap();
    assert!(edited(&before.loaded, &folder).is_none());
}

/// `count` policies in one file, of which the one in the middle says `reason`.
fn many(count: usize, reason: &str) -> String {
    let mut text = String::new();
    for n in 0..count {
        let said = if n == count / 2 { reason } else { "as before" };
        let _ = writeln!(
            text,
            "@id(\"p{n}\") @reason(\"{said}\")\npermit (principal in Team::\"t{n}\", action == Action::\"read\", resource is Doc)\nwhen {{ resource has level && resource.level < {n} }};"
        );
    }
    text
}

#[test]
fn one_policy_of_many_is_read_alone() {
    let fixture = Fixture::new();
    fixture.write("policies.cedar", &many(3000, "old"));
    let before = snapshot(&fixture, None).unwrap();
    fixture.write("policies.cedar", &many(3000, "a new reason"));
    let folder = Folder::read(fixture.folder.path()).unwrap();
    let edited = edited(&before.loaded, &folder).unwrap();
    assert_eq!((edited.removed.len(), edited.added.len()), (1, 1));
    let rule = edited.loaded.rules.get(edited.added[0]).unwrap();
    assert_eq!(rule.reason.reason.as_deref(), Some("a new reason"));
    assert!(
        rule.place().unwrap().ends_with("policies.cedar:4501:1"),
        "{:?}",
        rule.place()
    );
}

#[test]
#[ignore = "a measurement: `bench/decide` runs it"]
fn measure() {
    println!("policies  read anew  one changed (of which reading the folder)");
    for count in [1000, 10_000, 100_000] {
        let fixture = Fixture::new();
        fixture.write("policies.cedar", &many(count, "old"));
        let started = Instant::now();
        let mut current = snapshot(&fixture, None).unwrap();
        let anew = started.elapsed();
        let mut took = Vec::new();
        for round in 0..7 {
            fixture.write("policies.cedar", &many(count, &format!("round {round}")));
            let started = Instant::now();
            let folder = Folder::read(fixture.folder.path()).unwrap();
            let reading = started.elapsed();
            current = Snapshot::build(&folder, &Reading::default(), 1, Some(&current)).unwrap();
            took.push((started.elapsed(), reading));
        }
        took.sort();
        println!(
            "{count:<9} {anew:<10.2?} {:.2?} ({:.2?})",
            took[3].0, took[3].1
        );
    }
}
