//! Searches where policies read what providers have find exactly what evaluation permits, ask no
//! more than they must, and find nothing at all where something cannot be known.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use authzen::{DecisionError, SearchKind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{Directory, JSON, answer_of, opened, opened_on, provider, taken_out};
use crate::Pdp;
use crate::attributes::AttributeProviderConfig;
use crate::fixture::Fixture;
use crate::http::tests::post;
use crate::search::tests::{World, all_pages, worlds};

/// Type, and what is provided of it.
const PROVIDED: [(&str, &[&str]); 3] = [
    ("User", &["level", "manager"]),
    ("Doc", &["owner", "size", "home"]),
    ("Folder", &["keeper"]),
];

/// Moves what is provided out of a world; something else stays behind. Entities with these numbers
/// have nothing said of them, which is an answer, or cannot be asked about.
fn split(world: &mut World, unknown: &BTreeSet<usize>, failing: &BTreeSet<usize>) -> Directory {
    let mut answers = HashMap::new();
    for (at, entity) in world.entities.iter_mut().enumerate() {
        let kind = entity["uid"]["type"].as_str().unwrap().to_owned();
        let Some((_, names)) = PROVIDED.iter().find(|(own, _)| **own == *kind) else {
            continue;
        };
        let id = entity["uid"]["id"].as_str().unwrap().to_owned();
        let attributes = entity["attrs"].as_object_mut().unwrap();
        let said = taken_out(attributes, names);
        let ann = json!({ "__entity": { "type": "User", "id": "u1" } });
        let left = match kind.as_str() {
            "User" => json!({ "level": 4, "manager": ann }),
            "Doc" => json!({ "owner": ann, "size": 1 }),
            _ => json!({ "keeper": ann }),
        };
        attributes.extend(left.as_object().unwrap().clone());
        if failing.contains(&at) {
            answers.insert(id, (500, JSON, "{}".to_owned()));
        } else if !unknown.contains(&at) {
            answers.insert(id, (200, JSON, said.to_string()));
        }
    }
    Directory {
        answers: Arc::new(answers),
        ..Directory::default()
    }
}

async fn parted(world: &World, directory: &Directory, cache_seconds: u64) -> (Fixture, Pdp) {
    let mut fixture = world.fixture();
    let url = directory.serve(&fixture).await;
    let one = |(kind, names): &(&str, &[&str])| AttributeProviderConfig {
        name: (*kind).to_owned(),
        entity_type: (*kind).to_owned(),
        attributes: names.iter().map(|name| (*name).to_owned()).collect(),
        cache_seconds,
        ..provider(&url)
    };
    fixture.config.attribute_providers = PROVIDED.iter().map(one).collect();
    let pdp = fixture.open();
    (fixture, pdp)
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

const KINDS: [SearchKind; 3] = [
    SearchKind::Subject,
    SearchKind::Resource,
    SearchKind::Action,
];

fn some_of_all(how_many: std::ops::Range<usize>) -> impl Strategy<Value = BTreeSet<usize>> {
    proptest::collection::btree_set(0..20_usize, how_many)
}

/// Twice as many as the least of what must be found asks for: what is found differs from run to run.
const CASES: u32 = 320;

#[test]
fn a_search_finds_exactly_what_evaluation_permits_wherever_attributes_are() {
    let (found, asked) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config::with_cases(CASES));
    let cases = (worlds(), some_of_all(0..4));
    let outcome = runner.run(&cases, |(mut world, unknown)| {
        runtime().block_on(async {
            let directory = split(&mut world, &unknown, &BTreeSet::new());
            let (_fixture, pdp) = parted(&world, &directory, 60).await;
            for kind in KINDS {
                let pages = all_pages(&pdp, kind, world.question(), world.limit).await;
                let pages = pages.unwrap();
                let once: BTreeSet<_> = pages.iter().cloned().collect();
                prop_assert_eq!(pages.len(), once.len(), "found twice: {:?}", pages);
                found.set(found.get() + once.len());
                prop_assert_eq!(once, world.permitted(&pdp, kind).await, "{:?}", kind);
            }
            asked.set(asked.get() + directory.asked());
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (found, asked) = (found.get(), asked.get());
    println!("{found} found, {asked} times asked");
    assert!(found > 150 && asked > 250, "{found} {asked}");
}

#[test]
fn a_search_that_cannot_know_finds_nothing_and_one_that_can_finds_all() {
    let (known, unknown, found) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config::with_cases(CASES));
    let cases = (worlds(), some_of_all(0..9));
    let outcome = runner.run(&cases, |(mut world, failing)| {
        runtime().block_on(async {
            let directory = split(&mut world, &BTreeSet::new(), &failing);
            let (_fixture, pdp) = parted(&world, &directory, 60).await;
            for kind in KINDS {
                match all_pages(&pdp, kind, world.question(), world.limit).await {
                    Ok(pages) => {
                        let once: BTreeSet<_> = pages.into_iter().collect();
                        found.set(found.get() + once.len());
                        prop_assert_eq!(once, world.permitted(&pdp, kind).await, "{:?}", kind);
                        known.set(known.get() + 1);
                    }
                    Err(DecisionError::Unavailable(_)) => {
                        prop_assert!(!failing.is_empty());
                        unknown.set(unknown.get() + 1);
                    }
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (known, unknown, found) = (known.get(), unknown.get(), found.get());
    println!("{known} answered with {found} found, {unknown} not");
    assert!(
        known > 100 && unknown > 20 && found > 100,
        "{known} {unknown} {found}"
    );
}

const OF_KNOWN: &str = r#"@id("adults") permit (principal, action, resource is Doc)
    when { principal has age && principal.age >= 18 && resource has owner && resource.owner.name == "ben" };"#;

const OF_OPEN: &str = r#"@id("adults") permit (principal, action == Action::"read", resource)
    when { resource has owner && resource.owner has age && resource.owner.age >= 18 };"#;

/// The small domain with documents d2 … d61 beside, each the property of one of `owners`.
async fn of_documents(
    directory: &Directory,
    policies: &str,
    owners: &[&str],
    change: impl FnOnce(&mut AttributeProviderConfig),
) -> (Fixture, Pdp) {
    let fixture = Fixture::new();
    let mut entities: Value = serde_json::from_str(crate::fixture::ENTITIES).unwrap();
    let entities = entities.as_array_mut().unwrap();
    for n in 2..62 {
        let owner = owners[n % owners.len()];
        entities.push(json!({ "uid": { "type": "Doc", "id": format!("d{n:02}") },
            "attrs": { "owner": { "type": "User", "id": owner } }, "parents": [] }));
    }
    fixture.write("entities.json", &Value::from(entities.clone()).to_string());
    opened_on(fixture, directory, policies, change).await
}

const RESOURCE: &str = "/access/v1/search/resource";

fn for_docs(subject: &str, page: &Value) -> Value {
    json!({ "subject": { "type": "user", "id": subject }, "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc" }, "page": page })
}

async fn found(pdp: &Pdp, path: &str, body: &Value) -> Value {
    let (status, _, found) = post(pdp, path, body.to_string()).await;
    assert_eq!(status, 200, "{found}");
    found
}

fn count(found: &Value) -> usize {
    found["results"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_known_side_is_asked_about_once() {
    let directory = Directory::of(&[("zoe", json!({ "age": 30 })), ("kid", json!({ "age": 7 }))]);
    let uncached = |config: &mut AttributeProviderConfig| config.cache_seconds = 0;
    let (_fixture, pdp) = of_documents(&directory, OF_KNOWN, &["ben"], uncached).await;
    let page = found(&pdp, RESOURCE, &for_docs("zoe", &Value::Null)).await;
    assert_eq!((count(&page), directory.asked()), (61, 1));
    let page = found(&pdp, RESOURCE, &for_docs("kid", &Value::Null)).await;
    assert_eq!((count(&page), directory.asked()), (0, 2));
    // Both actions want the same of her.
    let actions = json!({ "subject": { "type": "user", "id": "zoe" },
        "resource": { "type": "urn:x:doc", "id": "d1" }, "context": { "reason": "old", "action": {} } });
    let names = found(&pdp, "/access/v1/search/action", &actions).await;
    assert_eq!(
        names["results"],
        json!([{ "name": "GET /docs/{id}" }, { "name": "delete" }])
    );
    assert_eq!(directory.asked(), 3);
}

#[tokio::test]
async fn what_the_store_says_in_a_providers_place_is_not_believed() {
    // Whom it is about, partial evaluation alone can tell: it must not look into the store then.
    let condition =
        "resource has owner && (if context has tries then principal else resource.owner) has age";
    for (effect, results) in [("permit", 1), ("forbid", 0)] {
        let policies = format!(
            "@id(\"age\") {effect} (principal, action == Action::\"read\", resource) when {{ {condition} }};
             @id(\"low\") permit (principal, action == Action::\"read\", resource) when {{ resource has level }};"
        );
        let directory = Directory::of(&[("zoe", json!({ "age": 30 }))]);
        let mut fixture = Fixture::new();
        let owner = json!({ "type": "User", "id": "zoe" });
        let mut attributes = json!({ "owner": owner });
        if effect == "forbid" {
            attributes["level"] = json!(1);
        }
        let entities = json!([
            { "uid": owner, "attrs": { "name": "z" }, "parents": [] },
            { "uid": { "type": "Doc", "id": "d1" }, "attrs": attributes, "parents": [] },
        ]);
        fixture.write("entities.json", &entities.to_string());
        fixture.write("policies.cedar", &policies);
        let url = directory.serve(&fixture).await;
        fixture.config.attribute_providers = vec![provider(&url)];
        let pdp = fixture.open();
        let mut body = for_docs("zoe", &Value::Null);
        body["context"] = json!({ "tries": 1 });
        let page = found(&pdp, RESOURCE, &body).await;
        assert_eq!(count(&page), results, "{effect} {page}");
    }
}

#[tokio::test]
async fn candidates_are_asked_about_page_by_page_and_each_owner_once() {
    let directory = Directory::of(&[("zoe", json!({ "age": 30 })), ("kid", json!({ "age": 7 }))]);
    let uncached = |config: &mut AttributeProviderConfig| config.cache_seconds = 0;
    let (_fixture, pdp) =
        of_documents(&directory, OF_OPEN, &["zoe", "kid", "nobody"], uncached).await;
    let page = found(&pdp, RESOURCE, &for_docs("ann", &Value::Null)).await;
    // d1 is ben's, of whom nothing is said.
    assert_eq!((count(&page), directory.asked()), (20, 4));
    let mut body = for_docs("ann", &json!({ "limit": 7 }));
    let (mut ids, mut sizes) = (BTreeSet::new(), Vec::new());
    loop {
        let page = found(&pdp, RESOURCE, &body).await;
        sizes.push(count(&page));
        let results = page["results"].as_array().unwrap();
        ids.extend(results.iter().map(|one| one["id"].to_string()));
        let token = &page["page"]["next_token"];
        if token == "" {
            break;
        }
        body = json!({ "page": { "token": token } });
    }
    assert_eq!((sizes, ids.len()), (vec![7, 7, 6], 20));
}

#[tokio::test]
async fn a_page_that_takes_too_long_is_handed_out_short_and_says_where_to_go_on() {
    let owners: Vec<String> = (0..60).map(|n| format!("p{n}")).collect();
    let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
    let all: Vec<_> = owners
        .iter()
        .map(|id| (*id, json!({ "age": 30 })))
        .collect();
    let mut directory = Directory::of(&all);
    directory.delay = std::time::Duration::from_millis(100);
    let (_fixture, pdp) = of_documents(&directory, OF_OPEN, &owners, |config| {
        config.max_concurrent = Some(2);
    })
    .await;
    let mut body = for_docs("ann", &Value::Null);
    let mut sizes = Vec::new();
    loop {
        let page = found(&pdp, RESOURCE, &body).await;
        sizes.push(count(&page));
        let token = &page["page"]["next_token"];
        if token == "" {
            break;
        }
        body = json!({ "page": { "token": token } });
    }
    assert!(sizes.len() > 1, "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 60);
}

#[tokio::test]
async fn what_cannot_be_known_is_a_503_that_names_the_provider() {
    let mut directory = Directory::of(&[("zoe", json!({ "age": 30 })), ("ben", json!({}))]);
    let mut answers = (*directory.answers).clone();
    answers.insert("down".into(), (500, JSON, "{}".into()));
    directory.answers = Arc::new(answers);
    // d61, the last one, is of somebody who cannot be asked about.
    let mut owners = ["zoe"; 60];
    owners[1] = "down";
    let (_fixture, pdp) = of_documents(&directory, OF_OPEN, &owners, |_| {}).await;
    let refused = async |body: Value| {
        let (status, _, problem) = post(&pdp, RESOURCE, body.to_string()).await;
        assert_eq!(status, 503, "{problem}");
        assert_eq!(
            problem["type"],
            "urn:cedargate:problem:attributes-unavailable"
        );
        assert_eq!(problem["detail"], "attributes cannot be had from `hr`");
    };
    refused(for_docs("ann", &Value::Null)).await;
    // Pages before it are whole.
    let first = found(&pdp, RESOURCE, &for_docs("ann", &json!({ "limit": 58 }))).await;
    assert_eq!(count(&first), 58);
    let token = &first["page"]["next_token"];
    refused(json!({ "page": { "token": token } })).await;
}

#[tokio::test]
async fn an_action_that_cannot_be_known_is_a_503_too() {
    let directory = answer_of("down", (500, JSON, "{}"));
    let (_fixture, pdp) = opened(&directory, super::ADULTS, |_| {}).await;
    let body = json!({ "subject": { "type": "user", "id": "down" },
        "resource": { "type": "urn:x:doc", "id": "d1" } });
    let (status, _, problem) = post(&pdp, "/access/v1/search/action", body.to_string()).await;
    assert_eq!(status, 503, "{problem}");
}

/// Entities with nothing but names, and a document.
fn people(names: &[&str]) -> String {
    let one = |name: &&str| json!({ "uid": { "type": "User", "id": name }, "attrs": { "name": name }, "parents": [] });
    let doc = json!({ "uid": { "type": "Doc", "id": "d1" }, "attrs": {}, "parents": [] });
    let all = names.iter().map(one).chain([doc]);
    all.collect::<Value>().to_string()
}

#[tokio::test]
async fn residuals_and_filters_know_what_is_provided_of_the_known_side() {
    let directory = Directory::of(&[
        ("zoe", json!({ "age": 30, "manager": "max" })),
        ("kid", json!({ "age": 7 })),
        ("max", json!({ "age": 61 })),
    ]);
    let policies = r#"@id("theirs") permit (principal, action == Action::"read", resource)
        when { principal has manager && principal.manager has age && principal.manager.age > 60
            && resource has owner && resource.owner == principal.manager };"#;
    let mut fixture = Fixture::new();
    fixture.write("entities.json", &people(&["zoe", "kid", "max"]));
    fixture.write("policies.cedar", policies);
    fixture.write(
        "tables.yaml",
        "entities:\n  Doc:\n    table: docs\n    id: id\n    attributes:\n      owner: { column: owner_id }\n",
    );
    fixture.config.filters = Some("tables.yaml".into());
    let url = directory.serve(&fixture).await;
    fixture.config.attribute_providers = vec![provider(&url)];
    let pdp = fixture.open();
    let asked = |principal: &str| {
        json!({ "principal": format!("User::\"{principal}\""), "action": "Action::\"read\"",
            "resource": { "type": "Doc" }, "context": {}, "dialect": "sqlite" })
        .to_string()
    };
    let (status, _, left) = post(&pdp, "/cedar/v1/partial", asked("zoe")).await;
    assert_eq!(status, 200, "{left}");
    let text = left["residuals"][0]["residual"].as_str().unwrap();
    assert!(text.contains("resource.owner == User::\"max\""), "{text}");
    assert!(!text.contains("age") && !text.contains("manager"), "{text}");
    assert_eq!(directory.asked(), 2);
    // What was fetched is remembered for a minute.
    let holds = |answer: &Value| answer["cache"]["max_age"].as_u64().unwrap();
    assert!((1..=60).contains(&holds(&left)), "{left}");
    let (_, _, rows) = post(&pdp, "/cedar/v1/filter", asked("zoe")).await;
    assert!((1..=60).contains(&holds(&rows)), "{rows}");
    assert_eq!(
        rows["binds"],
        json!([{ "type": "text", "value": "max" }]),
        "{rows}"
    );
    let (_, _, rows) = post(&pdp, "/cedar/v1/filter", asked("kid")).await;
    assert_eq!(rows["decision"], "deny", "{rows}");
}

#[tokio::test]
async fn residuals_and_filters_that_would_read_what_is_provided_are_refused() {
    let mut directory = Directory::of(&[("zoe", json!({ "age": 30 }))]);
    let mut answers = (*directory.answers).clone();
    answers.insert("down".into(), (500, JSON, "{}".into()));
    directory.answers = Arc::new(answers);
    let both =
        format!("{}\n{OF_OPEN}", super::ADULTS).replacen("@id(\"adults\")", "@id(\"own\")", 1);
    let mut fixture = Fixture::new();
    fixture.write("entities.json", &people(&["zoe", "down"]));
    fixture.write("policies.cedar", &both);
    let url = directory.serve(&fixture).await;
    fixture.config.attribute_providers = vec![provider(&url)];
    let pdp = fixture.open();
    let path = "/cedar/v1/partial";
    let open = |principal: Value, resource: Value| {
        json!({ "principal": principal, "action": "Action::\"read\"", "resource": resource,
            "context": {} })
        .to_string()
    };
    let (doc, docs) = (json!("Doc::\"d1\""), json!({ "type": "Doc" }));
    let refused = post(&pdp, path, open(json!({ "type": "User" }), doc)).await;
    assert_eq!(refused.0, 400, "{}", refused.2);
    let detail = refused.2["detail"].as_str().unwrap();
    assert!(detail.contains("`own` reads `age`"), "{detail}");
    let refused = post(&pdp, path, open(json!("User::\"zoe\""), docs.clone())).await;
    let detail = refused.2["detail"].as_str().unwrap();
    assert!(detail.contains("`adults` reads `age`"), "{detail}");
    let failed = post(&pdp, path, open(json!("User::\"down\""), docs)).await;
    assert_eq!(failed.0, 503, "{}", failed.2);
}
