//! Attributes from a real server: fetched where policies read them, believed before anything
//! else, and missed as a denial.

mod postgresql;
mod same;
mod searches;
mod secrets;
mod sql;
mod sqlite;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::{StatusCode, header};
use authzen::Evaluation;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::Pdp;
use crate::config::{AttributeProviderConfig, HttpSource};
use crate::fixture::{Fixture, ask};
use crate::http::tests::post;

/// A server of attributes.
#[derive(Clone, Default)]
struct Directory {
    /// Status, content type and body by id; any other id is not known.
    answers: Arc<HashMap<String, (u16, &'static str, String)>>,
    asked: Arc<AtomicUsize>,
    delay: Duration,
}

const JSON: &str = "application/json";

impl Directory {
    fn of(entries: &[(&str, Value)]) -> Self {
        let entry = |(id, attributes): &(&str, Value)| {
            ((*id).to_owned(), (200, JSON, attributes.to_string()))
        };
        Self {
            answers: Arc::new(entries.iter().map(entry).collect()),
            ..Self::default()
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Serves; returns the URL.
    async fn serve(&self, fixture: &Fixture) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/people/{id}", get(answer))
            .with_state(self.clone());
        fixture
            .tasks
            .spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}/people/{{id}}")
    }
}

/// A server that knows one answer.
fn answer_of(id: &str, (status, kind, body): (u16, &'static str, &str)) -> Directory {
    Directory {
        answers: Arc::new(HashMap::from([(
            id.to_owned(),
            (status, kind, body.to_owned()),
        )])),
        ..Directory::default()
    }
}

async fn answer(State(directory): State<Directory>, Path(id): Path<String>) -> Response {
    directory.asked.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(directory.delay).await;
    let unknown = (404, JSON, "{}".to_owned());
    let (status, kind, body) = directory.answers.get(&id).cloned().unwrap_or(unknown);
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

fn provider(url: &str) -> AttributeProviderConfig {
    AttributeProviderConfig {
        name: "hr".into(),
        entity_type: "User".into(),
        attributes: vec!["age".into(), "manager".into()],
        http: Some(HttpSource {
            url: url.into(),
            bearer_file: None,
        }),
        postgresql: None,
        sqlite: None,
        timeout_ms: 2000,
        cache_seconds: 60,
        max_entries: 1000,
        max_concurrent: Some(4),
    }
}

fn over_http(url: &str) -> Option<HttpSource> {
    provider(url).http
}

/// The small domain with these policies, and the server as provider.
async fn open(directory: &Directory, policies: &str) -> (Fixture, Pdp) {
    opened(directory, policies, |_| {}).await
}

async fn opened(
    directory: &Directory,
    policies: &str,
    change: impl FnOnce(&mut AttributeProviderConfig),
) -> (Fixture, Pdp) {
    opened_on(Fixture::new(), directory, policies, change).await
}

/// The same on a fixture of its own.
async fn opened_on(
    mut fixture: Fixture,
    directory: &Directory,
    policies: &str,
    change: impl FnOnce(&mut AttributeProviderConfig),
) -> (Fixture, Pdp) {
    fixture.write("policies.cedar", policies);
    let mut config = provider(&directory.serve(&fixture).await);
    change(&mut config);
    fixture.config.attribute_providers = vec![config];
    let pdp = fixture.open();
    (fixture, pdp)
}

/// Takes attributes of an entity out, and says them as a provider does: a reference as a question
/// has it.
fn taken_out(attributes: &mut serde_json::Map<String, Value>, names: &[&str]) -> Value {
    let mut said = json!({});
    for name in names {
        if let Some(value) = attributes.remove(*name) {
            said[*name] = value.get("__entity").cloned().unwrap_or(value);
        }
    }
    said
}

fn question(subject: &str) -> Value {
    json!({ "subject": { "type": "user", "id": subject },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": "d1" } })
}

async fn asked(pdp: &Pdp, subject: &str) -> Evaluation {
    ask(pdp, &question(subject)).await.unwrap()
}

async fn permits(pdp: &Pdp, subject: &str) -> bool {
    asked(pdp, subject).await.decision.is_permit()
}

const ADULTS: &str = r#"@id("adults") permit (principal, action == Action::"read", resource)
    when { principal has age && principal.age >= 18 };
    @id("any") permit (principal, action == Action::"delete", resource);"#;

#[tokio::test]
async fn attributes_are_fetched_where_they_are_read_and_remembered() {
    let directory = Directory::of(&[("zoe", json!({ "age": 30 })), ("kid", json!({ "age": 7 }))]);
    let (_fixture, pdp) = open(&directory, ADULTS).await;
    let delete = json!({ "subject": { "type": "user", "id": "zoe" },
        "action": { "name": "delete", "properties": {} },
        "resource": { "type": "urn:x:doc", "id": "d1" }, "context": { "reason": "old" } });
    let answer = ask(&pdp, &delete).await.unwrap();
    assert!(answer.decision.is_permit());
    assert_eq!(
        directory.asked(),
        0,
        "no policy for it reads what is provided"
    );
    assert_eq!(answer.context.cache.unwrap().max_age, None);

    let answer = asked(&pdp, "zoe").await;
    assert!(answer.decision.is_permit());
    let max_age = answer.context.cache.unwrap().max_age.unwrap();
    assert!((58..=60).contains(&max_age), "{max_age}");
    assert!(permits(&pdp, "zoe").await && !permits(&pdp, "kid").await);
    assert_eq!(directory.asked(), 2, "one each");
    // Nobody of that name: absent, which is remembered, too.
    assert!(!permits(&pdp, "nobody").await && !permits(&pdp, "nobody").await);
    assert_eq!(directory.asked(), 3);
}

#[tokio::test]
async fn in_cedars_words_answers_hold_no_longer_than_what_was_fetched() {
    let directory = Directory::of(&[("zoe", json!({ "age": 30 }))]);
    for (seconds, least) in [(60, 58), (0, 0)] {
        let (_fixture, pdp) =
            opened(&directory, ADULTS, |config| config.cache_seconds = seconds).await;
        let said = async |id: &str| {
            let asked = json!({ "principal": { "type": "User", "id": id },
                "action": "Action::\"read\"", "resource": "Doc::\"d1\"", "context": {} });
            let batch = json!({ "requests": [asked] }).to_string();
            let one = post(&pdp, "/cedar/v1/authorize", asked.to_string()).await.2;
            let many = post(&pdp, "/cedar/v1/authorize/batch", batch).await.2;
            assert_eq!(many["responses"][0]["decision"], one["decision"]);
            [one["cache"].clone(), many["responses"][0]["cache"].clone()]
        };
        for cache in said("zoe").await {
            let max_age = cache["max_age"].as_u64().unwrap();
            assert!((least..=seconds).contains(&max_age), "{cache}");
            assert_eq!(cache["vary"]["context"], json!([]), "{cache}");
        }
        for cache in said("..").await {
            assert_eq!(cache, json!({ "max_age": 0 }));
        }
    }
}

#[tokio::test]
async fn what_is_not_to_be_remembered_is_fetched_each_time() {
    let directory = Directory::of(&[("zoe", json!({ "age": 30 }))]);
    let (_fixture, pdp) = opened(&directory, ADULTS, |config| config.cache_seconds = 0).await;
    assert!(permits(&pdp, "zoe").await);
    let answer = asked(&pdp, "zoe").await;
    assert_eq!(answer.context.cache.unwrap().max_age, Some(0));
    assert_eq!(directory.asked(), 2);
}

#[tokio::test]
async fn what_leads_to_an_entity_is_followed() {
    let directory = Directory::of(&[
        ("ben", json!({ "manager": "eve" })),
        (
            "eve",
            json!({ "manager": { "type": "user", "id": "max" }, "age": 50 }),
        ),
        ("max", json!({ "age": 61 })),
    ]);
    for (condition, fetched) in [
        // The stored owner is ben; his manager, and hers, are known to the directory alone.
        ("resource.owner.manager.manager.age == 61", 3),
        ("resource has owner.manager.manager.age", 3),
        (
            "context has peer && context.peer has age && context.peer.age == 50",
            1,
        ),
        ("User::\"max\".age == 61", 1),
        (
            "(if principal.name == \"ann\" then User::\"max\" else principal).age == 61",
            1,
        ),
        ("[1].contains(1) || principal.age == 1", 1),
        ("resource has level || resource has owner", 0),
    ] {
        let policies = format!(
            "@id(\"p\") permit (principal, action == Action::\"read\", resource) when {{ {} }};",
            condition.replace(
                "resource.owner.manager.manager.age == 61",
                "resource has owner && resource.owner has manager && resource.owner.manager has manager \
                 && resource.owner.manager.manager has age && resource.owner.manager.manager.age == 61"
            ).replace("User::\"max\".age == 61", "User::\"max\" has age && User::\"max\".age == 61")
            .replace(").age == 61", ") has age")
            .replace("|| principal.age == 1", "|| principal has age")
        );
        let before = directory.asked();
        let (_fixture, pdp) = open(&directory, &policies).await;
        let mut question = question("ann");
        question["context"] = json!({ "peer": "eve" });
        let answer = ask(&pdp, &question).await.unwrap();
        assert!(answer.decision.is_permit(), "{condition} {answer:?}");
        assert_eq!(directory.asked() - before, fetched, "{condition}");
    }
}

#[tokio::test]
async fn nobody_else_is_believed_about_what_is_provided() {
    let minors = r#"@id("minors") permit (principal, action == Action::"read", resource)
        unless { principal has age };"#;
    let directory = Directory::of(&[("ann", json!({ "age": null }))]);
    for word in ["add", "override"] {
        let mut fixture = Fixture::new();
        let rule = crate::RequestProperties::from_word(word).unwrap();
        fixture
            .config
            .request_properties
            .insert("user".into(), rule);
        fixture.write("policies.cedar", &format!("{ADULTS}\n{minors}"));
        let url = directory.serve(&fixture).await;
        fixture.config.attribute_providers = vec![provider(&url)];
        let pdp = fixture.open();
        // The store says 40 and the question 50: the provider says that there is none.
        for sent in [json!({}), json!({ "age": 50, "name": "ann" })] {
            let mut question = question("ann");
            question["subject"]["properties"] = sent;
            let answer = ask(&pdp, &question).await.unwrap();
            let reasons: Vec<_> = answer.context.reasons.iter().map(|r| &r.policy).collect();
            assert_eq!(reasons, ["minors"], "{word}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_had_denies_and_is_not_remembered_by_callers() {
    let policies = r#"@id("minors") permit (principal, action == Action::"read", resource)
        unless { principal has age && principal.age >= 18 };"#;
    let bodies = [
        ("down", (500, JSON, "{}".to_owned())),
        ("moved", (302, JSON, "{}".to_owned())),
        ("page", (404, "text/html", "<p>not here</p>".to_owned())),
        ("html", (200, "text/html", "{}".to_owned())),
        ("list", (200, JSON, "[]".to_owned())),
        ("half", (200, JSON, "{\"age\":".to_owned())),
        ("twice", (200, JSON, "{\"age\":1,\"age\":40}".to_owned())),
        ("wrong", (200, JSON, "{\"age\":\"7\"}".to_owned())),
        (
            "stranger",
            (
                200,
                JSON,
                "{\"manager\":{\"type\":\"urn:x:doc\",\"id\":\"d1\"}}".to_owned(),
            ),
        ),
        (
            "long",
            (200, JSON, format!("{{\"x\":\"{}\"}}", "x".repeat(70_000))),
        ),
    ];
    let answers = bodies.into_iter();
    let directory = Directory {
        answers: Arc::new(
            answers
                .map(|(id, answer)| (id.to_owned(), answer))
                .collect(),
        ),
        ..Directory::default()
    };
    let (_fixture, pdp) = open(&directory, policies).await;
    assert!(permits(&pdp, "fine").await, "404 is an answer");
    let mut ids: Vec<&str> = directory.answers.keys().map(String::as_str).collect();
    ids.extend(["..", ".", "a\nb", "\0"]);
    for id in ids {
        let answer = asked(&pdp, id).await;
        assert!(!answer.decision.is_permit(), "{id}");
        let error = answer.context.error.unwrap();
        assert_eq!(error["type"], "attributes_unavailable", "{id}");
        assert_eq!(error["provider"], "hr");
        assert_eq!(answer.context.cache.unwrap().max_age, Some(0), "{id}");
    }
    // An id is one segment of the path, whatever is in it.
    for id in ["a/b", "../x", "a?b=c", "a#b", "a%2fb", "ä ö"] {
        assert!(permits(&pdp, id).await, "{id}");
    }
}

#[tokio::test]
async fn one_that_does_not_answer_costs_its_timeout_and_no_more() {
    let mut directory = Directory::of(&[("zoe", json!({ "age": 30 }))]);
    directory.delay = Duration::from_secs(30);
    let slow = opened(&directory, ADULTS, |config| config.timeout_ms = 200).await;
    let gone = opened(&directory, ADULTS, |config| {
        config.http = over_http("http://127.0.0.1:9/{id}");
    })
    .await;
    for (_fixture, pdp) in [&slow, &gone] {
        let started = tokio::time::Instant::now();
        let all = (0..20).map(|_| asked(pdp, "zoe"));
        for answer in futures_util::future::join_all(all).await {
            assert_eq!(
                answer.context.error.unwrap()["type"],
                "attributes_unavailable"
            );
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[tokio::test]
async fn many_who_want_the_same_ask_once() {
    let mut directory = Directory::of(&[("zoe", json!({ "age": 30 }))]);
    directory.delay = Duration::from_millis(200);
    let (_fixture, pdp) = open(&directory, ADULTS).await;
    let all = (0..50).map(|_| permits(&pdp, "zoe"));
    assert!(
        futures_util::future::join_all(all)
            .await
            .into_iter()
            .all(|yes| yes)
    );
    assert_eq!(directory.asked(), 1);
}

#[tokio::test]
async fn a_batch_is_completed_many_at_once_and_stays_in_order() {
    let people: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
    let entries: Vec<_> = people
        .iter()
        .enumerate()
        .map(|(n, id)| (id.as_str(), json!({ "age": n })))
        .collect();
    let mut directory = Directory::of(&entries);
    directory.delay = Duration::from_millis(100);
    let (_fixture, pdp) = opened(&directory, ADULTS, |config| {
        config.max_concurrent = Some(64);
    })
    .await;
    let evaluations: Vec<Value> = people.iter().map(|id| question(id)).collect();
    let started = tokio::time::Instant::now();
    let batch = json!({ "evaluations": evaluations }).to_string();
    let (_, _, answer) = post(&pdp, "/access/v1/evaluations", batch).await;
    let requests: Vec<Value> = people
        .iter()
        .map(|id| json!({ "principal": { "type": "User", "id": id } }))
        .collect();
    let batch = json!({ "requests": requests, "action": "Action::\"read\"",
        "resource": "Doc::\"d1\"", "context": {} });
    let (_, _, native) = post(&pdp, "/cedar/v1/authorize/batch", batch.to_string()).await;
    let took = started.elapsed();
    for n in 0..100 {
        assert_eq!(answer["evaluations"][n]["decision"], json!(n >= 18), "{n}");
        let expected = if n >= 18 { "Allow" } else { "Deny" };
        assert_eq!(native["responses"][n]["decision"], expected, "{n} {native}");
    }
    assert_eq!(directory.asked(), 100, "the second batch knew them all");
    assert!(
        took < Duration::from_secs(4),
        "one after the other is 10 s: {took:?}"
    );
    // Nobody after the one at whom it stops is asked about.
    let semantic = json!({ "evaluations": [question("p1"), question("q1"), question("q2")],
        "options": { "evaluations_semantic": "deny_on_first_deny" } });
    post(&pdp, "/access/v1/evaluations", semantic.to_string()).await;
    assert_eq!(directory.asked(), 100);
}

type Change = fn(&mut AttributeProviderConfig);

#[test]
fn what_the_schema_does_not_know_and_what_can_ask_anybody_is_refused() {
    let url = "http://127.0.0.1:9/{id}";
    let cases: [(Change, &str); 6] = [
        (
            |one| one.entity_type = "Person".into(),
            "no entity type `Person`",
        ),
        (
            |one| one.attributes = vec!["height".into()],
            "no attribute `height`",
        ),
        (|one| one.attributes = Vec::new(), "provides nothing"),
        (
            |one| one.http = over_http("http://127.0.0.1/all"),
            "`{id}` in it",
        ),
        (
            |one| one.http = over_http("http://{id}/x"),
            "in the path or the query",
        ),
        (|one| one.http = over_http("file:///{id}"), "http or https"),
    ];
    for (change, says) in cases {
        let mut fixture = Fixture::new();
        let mut one = provider(url);
        change(&mut one);
        fixture.config.attribute_providers = vec![one];
        let error = fixture.try_open().unwrap_err().to_string();
        assert!(
            error.contains("pdp.attribute_providers `hr`") && error.contains(says),
            "{error}"
        );
    }
    let mut fixture = Fixture::new();
    fixture.config.attribute_providers = vec![provider(url), provider(url)];
    let error = fixture.try_open().unwrap_err().to_string();
    assert!(
        error.contains("`age` is provided by `hr` already"),
        "{error}"
    );
}
