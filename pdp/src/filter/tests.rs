//! Real databases return exactly the rows that the engine permits.

mod many;
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
use world::{Side, World};

/// The question of the principal `u0`, about documents.
pub(crate) fn question(resource: EntityUID, n: i64) -> Question {
    between("User::\"u0\"".parse().unwrap(), resource, n)
}

fn between(principal: EntityUID, resource: EntityUID, n: i64) -> Question {
    let context = std::collections::BTreeMap::from([("n".into(), n.into())]);
    let action: EntityUID = "Action::\"read\"".parse().unwrap();
    Question {
        principal: principal.into(),
        action: action.into(),
        resource: resource.into(),
        context: cedar_policy_core::ast::Context::Value(std::sync::Arc::new(context)),
        now: None,
        overlays: crate::entities::Overlays::default(),
    }
}

/// What is open: the documents that `u0` may read, or who may read the document `d0`.
fn sides(open: Side, other: EntityUID, n: i64) -> (Question, Var, EntityType) {
    match open {
        Side::Resource => (question(other, n), Var::Resource, "Doc".parse().unwrap()),
        Side::Principal => {
            let question = between(other, "Doc::\"d0\"".parse().unwrap(), n);
            (question, Var::Principal, "User".parse().unwrap())
        }
    }
}

fn filter(
    snapshot: &Snapshot,
    open: Side,
    n: i64,
    dialect: Dialect,
) -> Result<Filter, Untranslatable> {
    let nobody = match open {
        Side::Resource => "Doc::\"\"",
        Side::Principal => "User::\"\"",
    };
    let (question, part, kind) = sides(open, nobody.parse().unwrap(), n);
    let sought = Sought {
        question: &question,
        part,
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

/// The ids of what the engine permits.
fn permitted(snapshot: &Snapshot, open: Side, n: i64) -> BTreeSet<String> {
    let (_, _, kind) = sides(open, "User::\"\"".parse().unwrap(), n);
    let all = snapshot.store.of_type(&kind, None);
    all.filter(|one| {
        let (question, ..) = sides(open, (*one).clone(), n);
        let outcome = snapshot.loaded.rules.decide(&question, &snapshot.store);
        outcome.unwrap().permitted
    })
    .map(|one| crate::entities::id(one).to_owned())
    .collect()
}

fn query(open: Side, filter: &Filter) -> (String, Vec<Bind>) {
    let from = match open {
        Side::Resource => "SELECT d.id FROM docs d",
        Side::Principal => "SELECT d.id FROM users d",
    };
    match filter {
        Filter::All => (from.to_owned(), Vec::new()),
        Filter::None => (format!("{from} WHERE 1 = 0"), Vec::new()),
        Filter::Rows { condition, binds } => (format!("{from} WHERE {condition}"), binds.clone()),
    }
}

fn in_sqlite(world: &World, open: Side, filter: &Filter) -> BTreeSet<String> {
    let database = rusqlite::Connection::open_in_memory().unwrap();
    database.execute_batch(world::CREATE).unwrap();
    database.execute_batch(&world.fresh_sql()).unwrap();
    let (text, binds) = query(open, filter);
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
    open: Side,
    filter: &Filter,
) -> BTreeSet<String> {
    client.batch_execute(&world.fresh_sql()).await.unwrap();
    let (text, binds) = query(open, filter);
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
    check(Side::Resource);
}

#[test]
fn databases_return_exactly_who_is_permitted() {
    check(Side::Principal);
}

/// A server, and what runs its clients.
struct Databases {
    runtime: tokio::runtime::Runtime,
    _server: Postgres,
    client: tokio_postgres::Client,
}

impl Databases {
    fn start() -> Self {
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
        Self {
            runtime,
            _server: server,
            client,
        }
    }

    /// What both say.
    fn ask(
        &self,
        world: &World,
        open: Side,
        [sqlite, postgres]: [&Filter; 2],
    ) -> [BTreeSet<String>; 2] {
        let rows = in_postgres(&self.client, world, open, postgres);
        [in_sqlite(world, open, sqlite), self.runtime.block_on(rows)]
    }
}

fn check(open: Side) {
    let databases = Databases::start();
    let tally = Mutex::new([0_usize; 4]);
    let mut runner = TestRunner::new(Config::with_cases(300));
    let outcome = runner.run(&world::worlds_about(open), |world| {
        let snapshot = snapshot(&world);
        let expected = permitted(&snapshot, open, world.n);
        let mut counts = tally.lock().unwrap();
        counts[0] += 1;
        let (sqlite, postgres) = match (
            filter(&snapshot, open, world.n, Dialect::Sqlite),
            filter(&snapshot, open, world.n, Dialect::Postgresql),
        ) {
            (Ok(sqlite), Ok(postgres)) => (sqlite, postgres),
            (Err(one), Err(other)) => {
                prop_assert_eq!(one, other);
                counts[1] += 1;
                return Ok(());
            }
            // The same condition is longer in one dialect than in the other.
            (Err(only), Ok(_)) | (Ok(_), Err(only)) => {
                prop_assert!(matches!(only, Untranslatable::Beyond(_)), "{:?}", only);
                counts[1] += 1;
                return Ok(());
            }
        };
        if matches!(sqlite, Filter::Rows { .. }) {
            counts[2] += 1;
            counts[3] += usize::from(!expected.is_empty() && expected.len() < world.count(open));
        }
        let told = format!("{}\n{:?}", world.policies(), query(open, &sqlite));
        let [in_sqlite, in_postgres] = databases.ask(&world, open, [&sqlite, &postgres]);
        prop_assert_eq!(in_sqlite, expected.clone(), "SQLite {}", told);
        prop_assert_eq!(in_postgres, expected, "PostgreSQL {}", told);
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
