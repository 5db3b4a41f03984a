//! Attributes from SQLite files: asked beside each other, given up in time, replaced.

use std::time::Duration;

use rusqlite::Connection;

use super::sql::{LEVELS, domain, in_sqlite, question};
use crate::Pdp;
use crate::attributes::AttributeProviderConfig;
use crate::fixture::{Fixture, ask};

/// Seven for everybody, after a long while for `slow`.
const SLOWLY: &str = "WITH RECURSIVE n(i) AS (SELECT 7 UNION ALL SELECT i + 1 FROM n
    WHERE i < CASE WHEN ?1 = 'slow' THEN 10000000000 ELSE 7 END) SELECT max(i) AS level FROM n";

fn write(fixture: &Fixture, name: &str, level: i64) -> Connection {
    let database = Connection::open(fixture.folder.path().join(name)).unwrap();
    let sql = format!(
        "CREATE TABLE people (id TEXT PRIMARY KEY, level INTEGER);
         INSERT INTO people VALUES ('ann', {level}), ('o''hara; DROP TABLE people', {level});"
    );
    database.execute_batch(&sql).unwrap();
    database
}

fn open(
    fixture: &mut Fixture,
    query: &str,
    change: impl FnOnce(&mut AttributeProviderConfig),
) -> Pdp {
    let mut config = in_sqlite("people.db", query);
    config.attributes = vec!["level".into()];
    config.cache_seconds = 0;
    change(&mut config);
    fixture.config.attribute_providers = vec![config];
    fixture.open()
}

/// Permitted, or why not.
async fn said(pdp: &Pdp, id: &str) -> Result<bool, String> {
    let answer = ask(pdp, &question(id)).await.unwrap();
    match answer.context.error {
        Some(error) => Err(error["type"].as_str().unwrap().to_owned()),
        None => Ok(answer.decision.is_permit()),
    }
}

const BY_ID: &str = "SELECT level FROM people WHERE id = ?1";

fn unavailable() -> Result<bool, String> {
    Err("attributes_unavailable".into())
}

#[tokio::test]
async fn a_file_may_come_later_and_be_replaced() {
    let mut fixture = domain(LEVELS);
    let pdp = open(&mut fixture, BY_ID, |_| {});
    assert_eq!(said(&pdp, "ann").await, unavailable(), "it is not there");
    fixture.write("people.db", "this is no database, however long it is read");
    assert_eq!(
        said(&pdp, "ann").await,
        unavailable(),
        "it is something else"
    );
    std::fs::remove_file(fixture.folder.path().join("people.db")).unwrap();
    drop(write(&fixture, "people.db", 7));
    assert_eq!(said(&pdp, "ann").await, Ok(true));
    assert_eq!(said(&pdp, "o'hara; DROP TABLE people").await, Ok(true));
    for nobody in ["", "ANN", "' OR 1=1 --", "ann\0", "?1", "ä"] {
        assert_eq!(said(&pdp, nobody).await, Ok(false), "{nobody}");
    }
    drop(write(&fixture, "new.db", 8));
    let at = |name: &str| fixture.folder.path().join(name);
    std::fs::rename(at("new.db"), at("people.db")).unwrap();
    assert_eq!(said(&pdp, "ann").await, Ok(false), "the new file says 8");
}

#[tokio::test]
async fn what_is_written_is_read_at_once_and_locks_are_waited_for() {
    let mut fixture = domain(LEVELS);
    let database = write(&fixture, "people.db", 1);
    let pdp = open(&mut fixture, BY_ID, |config| config.timeout_ms = 300);
    assert_eq!(said(&pdp, "ann").await, Ok(false));
    database.execute("UPDATE people SET level = 7", []).unwrap();
    assert_eq!(said(&pdp, "ann").await, Ok(true));
    database.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let started = tokio::time::Instant::now();
    assert_eq!(said(&pdp, "ann").await, unavailable());
    let took = started.elapsed();
    assert!(took > Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    database.execute_batch("COMMIT").unwrap();
    assert_eq!(said(&pdp, "ann").await, Ok(true));
}

#[tokio::test]
async fn a_slow_query_is_stopped_when_its_time_is_over() {
    let mut fixture = domain(LEVELS);
    drop(write(&fixture, "people.db", 7));
    let pdp = open(&mut fixture, SLOWLY, |config| {
        config.timeout_ms = 300;
        config.max_concurrent = Some(1);
    });
    assert_eq!(said(&pdp, "quick").await, Ok(true));
    let started = tokio::time::Instant::now();
    let all = (0..8).map(|_| said(&pdp, "slow"));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer, unavailable());
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    // The only place is free again, or it would have to wait in vain.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(said(&pdp, "quick").await, Ok(true));
}

#[tokio::test]
async fn many_are_asked_about_beside_each_other() {
    let mut fixture = domain(LEVELS);
    drop(write(&fixture, "people.db", 7));
    let pdp = open(&mut fixture, BY_ID, |config| {
        config.max_concurrent = Some(3);
    });
    let ids: Vec<String> = (0..200).map(|n| format!("p{n}")).collect();
    let all = ids.iter().map(|id| said(&pdp, id));
    let answers = futures_util::future::join_all(all).await;
    assert!(
        answers.iter().all(|answer| *answer == Ok(false)),
        "{answers:?}"
    );
}
