//! Real databases return exactly the rows that the engine permits.

pub(crate) mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;

use cedar_policy_core::ast::{EntityUID, Var};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::fixture::Fixture;
use crate::fixture::postgres::Postgres;
use crate::snapshot::Snapshot;
use world::World;

/// The question of the principal `u0`, about documents.
pub(crate) fn question(resource: EntityUID, n: i64) -> Question {
    let context = std::collections::BTreeMap::from([("n".into(), n.into())]);
    let uid = |name: &str| name.parse::<EntityUID>().unwrap().into();
    Question {
        principal: uid("User::\"u0\""),
        action: uid("Action::\"read\""),
        resource: resource.into(),
        context: cedar_policy_core::ast::Context::Value(std::sync::Arc::new(context)),
        now: None,
        overlays: crate::entities::Overlays::default(),
    }
}

fn filter(snapshot: &Snapshot, n: i64, dialect: Dialect) -> Result<Filter, Untranslatable> {
    let question = question("Doc::\"\"".parse().unwrap(), n);
    let kind = "Doc".parse().unwrap();
    let sought = Sought {
        question: &question,
        part: Var::Resource,
        kind: &kind,
        known: &Known::default(),
    };
    let tables = world::tables();
    Filter::of(
        &snapshot.loaded,
        &snapshot.store,
        sought,
        &tables,
        dialect,
        "d",
    )
}

/// The ids of the documents that the engine permits.
fn permitted(snapshot: &Snapshot, n: i64) -> BTreeSet<String> {
    let kind = "Doc".parse().unwrap();
    let docs = snapshot.store.of_type(&kind, None);
    docs.filter(|doc| {
        let question = question((*doc).clone(), n);
        let outcome = snapshot.loaded.rules.decide(&question, &snapshot.store);
        outcome.unwrap().permitted
    })
    .map(|doc| crate::entities::id(doc).to_owned())
    .collect()
}

fn query(filter: &Filter) -> (String, Vec<Bind>) {
    match filter {
        Filter::All => ("SELECT d.id FROM docs d".to_owned(), Vec::new()),
        Filter::None => ("SELECT d.id FROM docs d WHERE 1 = 0".to_owned(), Vec::new()),
        Filter::Rows { condition, binds } => (
            format!("SELECT d.id FROM docs d WHERE {condition}"),
            binds.clone(),
        ),
    }
}

fn in_sqlite(world: &World, filter: &Filter) -> BTreeSet<String> {
    let database = rusqlite::Connection::open_in_memory().unwrap();
    database.execute_batch(world::CREATE).unwrap();
    database.execute_batch(&world.fresh_sql()).unwrap();
    let (text, binds) = query(filter);
    let mut statement = database
        .prepare(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}"));
    let binds = binds.into_iter().map(|bind| match bind {
        Bind::Long(value) => rusqlite::types::Value::Integer(value),
        Bind::Text(text) => rusqlite::types::Value::Text(text),
    });
    let rows = statement.query_map(rusqlite::params_from_iter(binds), |row| row.get(0));
    rows.unwrap().map(Result::unwrap).collect()
}

async fn in_postgres(
    client: &tokio_postgres::Client,
    world: &World,
    filter: &Filter,
) -> BTreeSet<String> {
    client.batch_execute(&world.fresh_sql()).await.unwrap();
    let (text, binds) = query(filter);
    let binds: Vec<Box<dyn tokio_postgres::types::ToSql + Sync>> = binds
        .into_iter()
        .map(|bind| -> Box<dyn tokio_postgres::types::ToSql + Sync> {
            match bind {
                Bind::Long(value) => Box::new(value),
                Bind::Text(text) => Box::new(text),
            }
        })
        .collect();
    let binds: Vec<_> = binds.iter().map(AsRef::as_ref).collect();
    let rows = client.query(&text, &binds).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error:?}: {text}"));
    rows.iter().map(|row| row.get(0)).collect()
}

pub(crate) fn snapshot(world: &World) -> std::sync::Arc<Snapshot> {
    let fixture = Fixture::empty();
    fixture.write("schema.cedarschema", world::SCHEMA);
    fixture.write("policies.cedar", &world.policies());
    fixture.write("entities.json", &world.entities().to_string());
    fixture.open().0.snapshot.load_full()
}

#[test]
fn databases_return_exactly_what_the_engine_permits() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = Postgres::start();
    let client = runtime.block_on(server.connect());
    runtime
        .block_on(client.batch_execute(world::CREATE))
        .unwrap();
    let tally = Mutex::new([0_usize; 4]);
    let mut runner = TestRunner::new(Config::with_cases(300));
    let outcome = runner.run(&world::worlds(), |world| {
        let snapshot = snapshot(&world);
        let expected = permitted(&snapshot, world.n);
        let mut counts = tally.lock().unwrap();
        counts[0] += 1;
        let (sqlite, postgres) = match (
            filter(&snapshot, world.n, Dialect::Sqlite),
            filter(&snapshot, world.n, Dialect::Postgresql),
        ) {
            (Ok(sqlite), Ok(postgres)) => (sqlite, postgres),
            (Err(one), Err(other)) => {
                prop_assert_eq!(one, other);
                counts[1] += 1;
                return Ok(());
            }
            // The same condition is longer in one dialect than in the other.
            (Err(only), Ok(_)) | (Ok(_), Err(only)) => {
                prop_assert!(only.reason.contains("too long"), "{:?}", only);
                counts[1] += 1;
                return Ok(());
            }
        };
        if matches!(sqlite, Filter::Rows { .. }) {
            counts[2] += 1;
            counts[3] += usize::from(!expected.is_empty() && expected.len() < world.docs.len());
        }
        let told = format!("{}\n{:?}", world.policies(), query(&sqlite));
        prop_assert_eq!(
            in_sqlite(&world, &sqlite),
            expected.clone(),
            "SQLite {}",
            told
        );
        let rows = runtime.block_on(in_postgres(&client, &world, &postgres));
        prop_assert_eq!(rows, expected, "PostgreSQL {}", told);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let [cases, refused, conditions, telling] = *tally.lock().unwrap();
    println!(
        "{cases} worlds: {refused} refused, {conditions} conditions, {telling} that tell rows apart"
    );
    assert!(refused * 5 < cases, "{refused} of {cases} were refused");
    assert!(
        telling * 4 > cases,
        "only {telling} of {cases} conditions tell rows apart"
    );
}
