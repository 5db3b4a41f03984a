//! Where entities are found, and what is said where they do not hold.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use proptest::prelude::*;

fn spans(text: &str) -> Vec<String> {
    elements(&file(text), "entities", WRITE)
        .unwrap()
        .into_iter()
        .map(|(start, end)| text.get(start..end).unwrap().trim_end().to_owned())
        .collect()
}

#[test]
fn elements_are_found_behind_strings_that_look_like_brackets() {
    assert_eq!(
        spans(r#" [ {"a":"]}\"["}, [1,[2]] ,"x,]" , 3 ] "#),
        [r#"{"a":"]}\"["}"#, "[1,[2]]", r#""x,]""#, "3"]
    );
    assert!(spans("[]").is_empty());
}

fn file(text: &str) -> SourceFile {
    SourceFile::new(std::path::Path::new("entities.json"), text)
}

fn schema() -> Schema {
    "entity User { name: String };".parse().unwrap()
}

fn users(count: usize, between: &str, name: impl Fn(usize) -> serde_json::Value) -> String {
    let user = |at| {
        let name = name(at);
        format!(
            r#"{{"uid":{{"type":"User","id":"u{at}"}},"attrs":{{"name":{name}}},"parents":[]}}"#
        )
    };
    let users: Vec<_> = (0..count).map(user).collect();
    format!("[{between}{}]", users.join(&format!(",{between}")))
}

fn took(text: &str) -> (Duration, Result<Stated, Vec<PolicyIssue>>) {
    let (files, schema) = ([file(text)], schema());
    let begun = Instant::now();
    let read = read(&files, &schema);
    (begun.elapsed(), read)
}

#[test]
fn one_line_is_read_as_fast_as_many_and_a_mistake_in_it_is_told_shortly() {
    let name = "x".repeat(300);
    let valid = |_| name.as_str().into();
    let (lines, stated) = took(&users(40_000, "\n", valid));
    assert_eq!(stated.ok().unwrap().count, 40_000);
    let (one_line, stated) = took(&users(40_000, "", valid));
    assert_eq!(stated.ok().unwrap().count, 40_000);
    assert!(one_line < lines * 4, "{one_line:?} and {lines:?}");

    let last = |at| if at == 39_999 { 7.into() } else { valid(at) };
    let text = users(40_000, "", last);
    let offset = text.rfind("{\"uid\"").unwrap();
    let (took, stated) = took(&text);
    let issues = stated.err().unwrap();
    let [issue] = issues.as_slice() else {
        panic!("{issues:?}");
    };
    assert_eq!(issue.issue.place, Some((1, offset + 1)));
    let told = issue.to_string();
    assert!(told.len() < 1000 && told.contains("u39999"), "{told}");
    assert!(took < lines * 4, "{took:?} and {lines:?}");
}

#[test]
fn many_mistakes_are_counted_and_few_are_told() {
    let (valid, _) = took(&users(10_000, "\n", |_| "x".into()));
    let (took_all, stated) = took(&users(10_000, "", |_| 7.into()));
    assert!(took_all < valid * 4, "{took_all:?} and {valid:?}");
    let issues = stated.err().unwrap();
    assert_eq!(issues.len(), TOLD + 1);
    assert_eq!(
        issues[TOLD].to_string(),
        "entities.json: 9900 more entities of this file do not hold"
    );
    let (_, stated) = took(&users(TOLD, "", |_| 7.into()));
    assert_eq!(stated.err().unwrap().len(), TOLD);
}

#[test]
fn a_large_value_is_not_repeated() {
    let large = "x".repeat(1_000_000);
    let wrong = serde_json::json!([large]);
    for text in [
        users(1, "", |_| wrong.clone()),
        users(1, "", |_| large.clone().into())
            .replace("u0", &large)
            .replace("name", "nome"),
        format!("[{{\"uid\": \"{large}\"}}]"),
        format!("[\"{large}\"]"),
        format!("[\"{large}]"),
    ] {
        let (_, stated) = took(&text);
        let told: Vec<_> = stated
            .err()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        let told = told.join("\n");
        assert!(told.len() < 3000, "{} bytes", told.len());
    }
}

#[test]
fn an_entity_that_is_stated_twice_names_both_places() {
    let files = [
        file(&users(1, "\n", |_| "x".into())),
        file(&users(2, "", |_| "x".into())),
    ];
    let issues = read(&files, &schema()).err().unwrap();
    let [issue] = issues.as_slice() else {
        panic!("{issues:?}");
    };
    assert_eq!(issue.issue.place, Some((1, 2)));
    assert_eq!(issue.issue.message, "`User::\"u0\"` is stated twice");
    assert_eq!(issue.issue.hint.as_deref(), Some("see entities.json:2:1"));
}

proptest! {
    #[test]
    fn every_element_is_found(texts in proptest::collection::vec("[ -~]{0,12}", 0..6)) {
        let items: Vec<_> = texts.iter().map(|t| serde_json::json!({ t.as_str(): [t] })).collect();
        let found: Vec<serde_json::Value> = spans(&serde_json::to_string_pretty(&items).unwrap())
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        prop_assert_eq!(found, items);
    }
}
