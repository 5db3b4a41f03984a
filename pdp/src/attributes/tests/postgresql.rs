//! Attributes from a PostgreSQL server: whoever asks, whatever becomes of it.

mod settings;

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;

use super::sql::{LEVELS, domain, in_postgresql, question};
use crate::Pdp;
use crate::attributes::AttributeProviderConfig;
use crate::fixture::postgres::Postgres;
use crate::fixture::{Fixture, ask};

pub(super) const BY_ID: &str = "SELECT level FROM people WHERE id = $1";

/// Seven for everybody, after a long while for `slow`.
const SLOWLY: &str = "SELECT 7 AS level, pg_sleep(CASE WHEN $1 = 'slow' THEN 30 ELSE 0 END)";

/// How many connections of ours there are, and how many of them are busy.
const OURS: &str = "SELECT count(*), count(*) FILTER (WHERE state = 'active'),
    count(*) FILTER (WHERE ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
    WHERE application_name = 'cedargate'";

pub(super) async fn people(server: &Postgres) -> Client {
    let admin = server.connect().await;
    let sql = "CREATE TABLE people (id text PRIMARY KEY, level int);
        INSERT INTO people VALUES ('ann', 7), ('kid', 1)";
    admin.batch_execute(sql).await.unwrap();
    admin
}

fn open(config: AttributeProviderConfig) -> (Fixture, Pdp) {
    let mut fixture = domain(LEVELS);
    fixture.config.attribute_providers = vec![config];
    let pdp = fixture.open();
    (fixture, pdp)
}

pub(super) fn levels(url: &str, query: &str) -> AttributeProviderConfig {
    AttributeProviderConfig {
        attributes: vec!["level".into()],
        cache_seconds: 0,
        ..in_postgresql(url, query)
    }
}

/// Permitted, or why not.
pub(super) async fn said(pdp: &Pdp, id: &str) -> Result<bool, String> {
    let answer = ask(pdp, &question(id)).await.unwrap();
    match answer.context.error {
        Some(error) => Err(error["type"].as_str().unwrap().to_owned()),
        None => Ok(answer.decision.is_permit()),
    }
}

pub(super) fn unavailable() -> Result<bool, String> {
    Err("attributes_unavailable".into())
}

#[tokio::test]
async fn an_id_is_a_value_whatever_is_in_it() {
    let server = Postgres::start();
    let admin = people(&server).await;
    let (_fixture, pdp) = open(levels(&server.url(), BY_ID));
    assert_eq!(said(&pdp, "ann").await, Ok(true));
    let ids = [
        "o'hara",
        "'; DROP TABLE people; --",
        "x' OR '1'='1",
        "$1",
        "\\",
        "\\'",
        "%",
        "",
        " ",
        "ä 你 \u{1f600}",
        "\"q\"",
        "a\nb",
    ];
    for id in ids {
        assert_eq!(said(&pdp, id).await, Ok(false), "{id} is not there yet");
        let insert = "INSERT INTO people VALUES ($1, 7)";
        admin.execute(insert, &[&id]).await.unwrap();
        assert_eq!(said(&pdp, id).await, Ok(true), "{id}");
    }
    assert_eq!(said(&pdp, "an\0n").await, unavailable());
    assert_eq!(said(&pdp, "ANN").await, Ok(false));
    let row = admin.query_one("SELECT count(*) FROM people", &[]).await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 14);
}

#[tokio::test]
async fn nothing_can_be_written() {
    let server = Postgres::start();
    let admin = people(&server).await;
    let query =
        "WITH new AS (INSERT INTO people VALUES ($1, 7) RETURNING level) SELECT level FROM new";
    let url = format!(
        "{}&options=-c%20default_transaction_read_only%3Doff",
        server.url()
    );
    let (_fixture, pdp) = open(levels(&url, query));
    assert_eq!(said(&pdp, "zoe").await, unavailable());
    let row = admin.query_one("SELECT count(*) FROM people", &[]).await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_is_used_again() {
    let mut server = Postgres::start();
    drop(people(&server).await);
    let mut config = levels(&server.url(), BY_ID);
    config.timeout_ms = 1000;
    let (_fixture, pdp) = open(config);
    assert_eq!(said(&pdp, "ann").await, Ok(true));
    for round in 0..2 {
        server.stop();
        for id in ["ann", "kid", "zoe"] {
            let started = Instant::now();
            assert_eq!(said(&pdp, id).await, unavailable(), "{round}");
            let took = started.elapsed();
            assert!(took < Duration::from_millis(1500), "{took:?}");
        }
        server.start_anew();
        drop(server.connect().await);
        assert_eq!(said(&pdp, "ann").await, Ok(true), "{round}");
        assert_eq!(said(&pdp, "kid").await, Ok(false), "{round}");
    }
    // Nobody is refused for a connection from before: it is asked again over a new one.
    server.stop();
    server.start_anew();
    drop(server.connect().await);
    assert_eq!(said(&pdp, "ann").await, Ok(true));
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_keeps_nobody_from_starting() {
    let mut server = Postgres::start();
    drop(people(&server).await);
    server.stop();
    let (_fixture, pdp) = open(levels(&server.url(), BY_ID));
    assert_eq!(said(&pdp, "ann").await, unavailable());
    server.start_anew();
    drop(server.connect().await);
    assert_eq!(said(&pdp, "ann").await, Ok(true));
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_the_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    for mode in ["disable", "verify-full"] {
        let url = format!("postgresql://pdp@127.0.0.1:{port}/x?sslmode={mode}");
        let mut config = levels(&url, BY_ID);
        config.timeout_ms = 300;
        let (_fixture, pdp) = open(config);
        let started = Instant::now();
        let all = ["a", "b", "c", "d"].map(|id| said(&pdp, id));
        for answer in futures_util::future::join_all(all).await {
            assert_eq!(answer, unavailable());
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test]
async fn a_query_that_was_given_up_on_stops_at_the_server_too() {
    let server = Postgres::start();
    let admin = people(&server).await;
    let mut config = levels(&server.url(), SLOWLY);
    config.timeout_ms = 400;
    config.max_concurrent = Some(2);
    let (_fixture, pdp) = open(config);
    assert_eq!(said(&pdp, "quick").await, Ok(true));
    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(said(&pdp, "slow").await, unavailable());
        let took = started.elapsed();
        assert!(took < Duration::from_millis(900), "{took:?}");
        let row = admin.query_one(OURS, &[]).await.unwrap();
        assert!(row.get::<_, i64>(0) <= 2, "{row:?}");
        assert_eq!(
            said(&pdp, "quick").await,
            Ok(true),
            "there is another place"
        );
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let row = admin.query_one(OURS, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(1), 0, "{row:?}");
}

#[tokio::test]
async fn no_more_connections_are_made_than_places_and_they_are_kept() {
    let server = Postgres::start();
    let admin = people(&server).await;
    let query = "SELECT 7 AS level FROM pg_sleep(0.005) WHERE $1 <> ''";
    let mut config = levels(&server.url(), query);
    config.max_concurrent = Some(3);
    let (_fixture, pdp) = open(config);
    for _ in 0..3 {
        let ids: Vec<String> = (0..60).map(|n| format!("p{n}")).collect();
        let all = ids.iter().map(|id| said(&pdp, id));
        let answers = futures_util::future::join_all(all).await;
        assert!(
            answers.iter().all(|answer| *answer == Ok(true)),
            "{answers:?}"
        );
        let row = admin.query_one(OURS, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 3, "{row:?}");
    }
}

#[tokio::test]
async fn a_table_that_changes_under_a_prepared_query_is_read_as_it_is() {
    let server = Postgres::start();
    let admin = people(&server).await;
    let (_fixture, pdp) = open(levels(&server.url(), BY_ID));
    assert_eq!(said(&pdp, "ann").await, Ok(true));
    let alter =
        |kind: &str| format!("ALTER TABLE people ALTER level TYPE {kind} USING level::{kind}");
    admin.batch_execute(&alter("bigint")).await.unwrap();
    assert_eq!(said(&pdp, "ann").await, Ok(true));
    admin.batch_execute(&alter("text")).await.unwrap();
    assert_eq!(said(&pdp, "ann").await, unavailable());
    admin.batch_execute(&alter("int")).await.unwrap();
    assert_eq!(said(&pdp, "ann").await, Ok(true));
    admin
        .batch_execute("ALTER TABLE people RENAME TO persons")
        .await
        .unwrap();
    assert_eq!(said(&pdp, "ann").await, unavailable());
    admin
        .batch_execute("ALTER TABLE persons RENAME TO people")
        .await
        .unwrap();
    assert_eq!(said(&pdp, "ann").await, Ok(true));
}
