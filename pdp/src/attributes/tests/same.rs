//! Random policies decide the same whether attributes are in the store or with a provider, over
//! HTTP or in a database, and whatever the store says of what is provided.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use authzen::Evaluation;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::sql::{in_postgresql, in_sqlite};
use super::{Directory, JSON, provider, taken_out};
use crate::Pdp;
use crate::attributes::AttributeProviderConfig;
use crate::filter::tests::world::{self, World};
use crate::fixture::postgres::Postgres;
use crate::fixture::{Fixture, ask};

/// Type, and what is provided of it.
const PROVIDED: [(&str, &[&str]); 2] = [
    ("User", &["level", "dept"]),
    ("Doc", &["extra", "owner", "meta"]),
];

fn policies_and_schema(world: &World) -> Fixture {
    let fixture = Fixture::empty();
    fixture.write("schema.cedarschema", world::SCHEMA);
    fixture.write("policies.cedar", &world.policies());
    fixture
}

/// Moves what is provided out of entities; something else stays behind where it must.
fn split(entities: &mut Value) -> Directory {
    let mut answers = HashMap::new();
    for entity in entities.as_array_mut().unwrap() {
        let kind = entity["uid"]["type"].as_str().unwrap().to_owned();
        let Some((_, names)) = PROVIDED.iter().find(|(own, _)| **own == *kind) else {
            continue;
        };
        let id = entity["uid"]["id"].as_str().unwrap().to_owned();
        let attributes = entity["attrs"].as_object_mut().unwrap();
        let said = taken_out(attributes, names);
        let left = match kind.as_str() {
            "User" => json!({ "level": 77 }),
            _ => json!({ "owner": { "__entity": { "type": "User", "id": "u3" } },
                "meta": { "city": "elsewhere" }, "extra": 5 }),
        };
        attributes.extend(left.as_object().unwrap().clone());
        answers.insert(id, (200, JSON, said.to_string()));
    }
    Directory {
        answers: Arc::new(answers),
        ..Directory::default()
    }
}

/// The documents are in one database, the users in another.
const DOCS: &str = "SELECT extra, owner_id AS owner,
    jsonb_strip_nulls(jsonb_build_object('city', city, 'zip', zip)) AS meta FROM docs WHERE id = $1";

const USERS: &str = "SELECT level, dept_id AS dept FROM users WHERE id = ?1";

/// In the store, over HTTP, in databases.
async fn opened(world: &World, server: &Postgres) -> [(Fixture, Pdp); 3] {
    let mut entities = world.entities();
    let whole = policies_and_schema(world);
    whole.write("entities.json", &entities.to_string());
    let directory = split(&mut entities);
    let parted = || {
        let parted = policies_and_schema(world);
        parted.write("entities.json", &entities.to_string());
        parted
    };
    let (mut over_http, mut in_databases) = (parted(), parted());
    let url = directory.serve(&over_http).await;
    over_http.config.attribute_providers = provided(|_| provider(&url));
    let file = in_databases.folder.path().join("users.db");
    let users = rusqlite::Connection::open(&file).unwrap();
    users.execute_batch(world::CREATE).unwrap();
    users.execute_batch(&world.fresh_sql()).unwrap();
    in_databases.config.attribute_providers = provided(|kind| match kind {
        "User" => in_sqlite("users.db", USERS),
        _ => in_postgresql(&server.url(), DOCS),
    });
    [whole, over_http, in_databases].map(|fixture| {
        let pdp = fixture.open();
        (fixture, pdp)
    })
}

fn provided(source: impl Fn(&str) -> AttributeProviderConfig) -> Vec<AttributeProviderConfig> {
    let one = |(kind, names): &(&str, &[&str])| AttributeProviderConfig {
        name: (*kind).to_owned(),
        entity_type: (*kind).to_owned(),
        attributes: names.iter().map(|name| (*name).to_owned()).collect(),
        ..source(kind)
    };
    PROVIDED.iter().map(one).collect()
}

/// What an answer says, whoever it is from.
fn told(evaluation: Evaluation) -> Value {
    let context = evaluation.context;
    json!([
        evaluation.decision.is_permit(),
        context.reasons,
        context.error
    ])
}

#[test]
fn decisions_are_the_same_wherever_attributes_are() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = Postgres::start();
    let database = runtime.block_on(server.connect());
    let created = runtime.block_on(database.batch_execute(world::CREATE));
    created.unwrap();
    let (permits, fetched) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config::with_cases(60));
    let outcome = runner.run(&world::worlds(), |world| {
        runtime.block_on(async {
            database.batch_execute(&world.fresh_sql()).await.unwrap();
            let [(_one, whole), (_other, over_http), (_third, in_databases)] =
                opened(&world, &server).await;
            for doc in 0..world.docs.len() {
                let question = json!({ "subject": { "type": "User", "id": "u0" },
                    "action": { "name": "read" }, "context": { "n": world.n },
                    "resource": { "type": "Doc", "id": format!("d{doc}") } });
                let expected = ask(&whole, &question).await.unwrap();
                let actual = ask(&over_http, &question).await.unwrap();
                let other = ask(&in_databases, &question).await.unwrap();
                let expected = told(expected);
                prop_assert_eq!(&told(other), &expected, "{}", world.policies());
                let advice = actual.context.cache.clone();
                permits.set(permits.get() + usize::from(actual.decision.is_permit()));
                let is_limited = advice.is_some_and(|advice| advice.max_age.is_some());
                fetched.set(fetched.get() + usize::from(is_limited));
                prop_assert_eq!(told(actual), expected, "{}", world.policies());
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (permits, fetched) = (permits.get(), fetched.get());
    println!("{permits} permits, {fetched} with something fetched");
    assert!(permits > 50 && fetched > 100, "{permits} {fetched}");
}
