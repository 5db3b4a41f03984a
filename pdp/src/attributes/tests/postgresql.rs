//! Attributes from a PostgreSQL server: whoever asks, whatever becomes of it.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;

use super::provider;
use super::sql::{LEVELS, domain, in_postgresql, question};
use crate::Pdp;
use crate::attributes::AttributeProviderConfig;
use crate::fixture::postgres::Postgres;
use crate::fixture::{Fixture, ask};

const BY_ID: &str = "SELECT level FROM people WHERE id = $1";

/// Seven for everybody, after a long while for `slow`.
const SLOWLY: &str = "SELECT 7 AS level, pg_sleep(CASE WHEN $1 = 'slow' THEN 30 ELSE 0 END)";

/// How many connections of ours there are, and how many of them are busy.
const OURS: &str = "SELECT count(*), count(*) FILTER (WHERE state = 'active'),
    count(*) FILTER (WHERE ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
    WHERE application_name = 'cedargate'";

async fn people(server: &Postgres) -> Client {
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

fn levels(url: &str, query: &str) -> AttributeProviderConfig {
    AttributeProviderConfig {
        attributes: vec!["level".into()],
        cache_seconds: 0,
        ..in_postgresql(url, query)
    }
}

/// Permitted, or why not.
async fn said(pdp: &Pdp, id: &str) -> Result<bool, String> {
    let answer = ask(pdp, &question(id)).await.unwrap();
    match answer.context.error {
        Some(error) => Err(error["type"].as_str().unwrap().to_owned()),
        None => Ok(answer.decision.is_permit()),
    }
}

fn unavailable() -> Result<bool, String> {
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
        assert!(took < Duration::from_millis(1000), "{took:?}");
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

#[tokio::test]
async fn only_a_server_that_is_vouched_for_is_asked() {
    let server = Postgres::on_loopback(true).await;
    let admin = people(&server).await;
    let role = "CREATE ROLE pdp LOGIN PASSWORD 'geheim'; GRANT SELECT ON people TO pdp";
    admin.batch_execute(role).await.unwrap();
    let port = server.port();
    let file = |name: &str| Some(server.folder().join(name));
    std::fs::write(server.folder().join("password"), "geheim\n").unwrap();
    std::fs::write(server.folder().join("wrong"), "gehein\n").unwrap();
    let cases = [
        ("localhost", "", "ca.pem", "password", true),
        (
            "localhost",
            "?sslmode=verify-full",
            "ca.pem",
            "password",
            true,
        ),
        // The password is bound to this very connection.
        (
            "localhost",
            "?channel_binding=require",
            "ca.pem",
            "password",
            true,
        ),
        ("localhost", "", "ca.pem", "wrong", false),
        ("localhost", "", "other.pem", "password", false),
        // The system's authorities do not know it.
        ("localhost", "", "", "password", false),
        // The certificate is another host's.
        ("127.0.0.1", "", "ca.pem", "password", false),
        ("127.0.0.1", "?sslmode=disable", "", "password", true),
    ];
    for (host, options, ca, password, expected) in cases {
        let url = format!("postgresql://pdp@{host}:{port}/postgres{options}");
        let mut config = levels(&url, BY_ID);
        let source = config.postgresql.as_mut().unwrap();
        source.password_file = file(password);
        source.ca_file = (!ca.is_empty()).then(|| server.folder().join(ca));
        let (fixture, pdp) = open(config);
        let expected = if expected { Ok(true) } else { unavailable() };
        assert_eq!(
            said(&pdp, "ann").await,
            expected,
            "{host} {options} {ca} {password}"
        );
        if expected == Ok(true) {
            let row = admin.query_one(OURS, &[]).await.unwrap();
            let (ours, by_tls): (i64, i64) = (row.get(0), row.get(2));
            let is_plain = options.ends_with("disable");
            assert_eq!(by_tls, if is_plain { 0 } else { ours }, "{options}");
            assert!(ours > 0);
        }
        assert!(
            fixture.tasks.finish(Duration::from_secs(5)).await,
            "every task ends"
        );
        gone(&admin).await;
    }
}

/// Waits until the server has seen that our connections are closed.
async fn gone(admin: &Client) {
    for _ in 0..100 {
        let row = admin.query_one(OURS, &[]).await.unwrap();
        if row.get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("connections stay open");
}

#[tokio::test]
async fn a_server_without_tls_is_not_asked_in_plain() {
    let server = Postgres::on_loopback(false).await;
    let admin = people(&server).await;
    let role = "CREATE ROLE pdp LOGIN PASSWORD 'geheim'; GRANT SELECT ON people TO pdp";
    admin.batch_execute(role).await.unwrap();
    let at = |options: &str| {
        format!(
            "postgresql://pdp:geheim@localhost:{}/postgres{options}",
            server.port()
        )
    };
    let (_one, verified) = open(levels(&at(""), BY_ID));
    assert_eq!(said(&verified, "ann").await, unavailable());
    let (_other, plain) = open(levels(&at("?sslmode=disable"), BY_ID));
    assert_eq!(said(&plain, "ann").await, Ok(true));
}

type Change = fn(&mut AttributeProviderConfig);

fn url(config: &mut AttributeProviderConfig, url: &str) {
    config.postgresql.as_mut().unwrap().url = service_kit::Secret::new(url);
}

#[tokio::test]
async fn what_cannot_be_asked_by_itself_is_refused_with_its_key() {
    let cases: [(Change, &str); 17] = [
        (
            |one| url(one, "mysql://pdp:geheim@db/x"),
            "`postgresql.url` must be",
        ),
        (
            |one| url(one, "host=db user=pdp password=geheim"),
            "`postgresql.url` must be",
        ),
        (
            |one| url(one, "postgresql://pdp:geheim@db:x/y"),
            "`postgresql.url` must be",
        ),
        (
            |one| url(one, "postgresql://pdp:geheim@db/x?sslrootcert=a"),
            "`postgresql.url` must be",
        ),
        (|one| url(one, "postgresql://db/geheim"), "it has no user"),
        (
            |one| url(one, "postgresql://pdp:geheim@/x"),
            "it has no host",
        ),
        (
            |one| url(one, "postgresql://pdp:geheim@db/x?sslmode=prefer"),
            "`sslmode` in `postgresql.url`",
        ),
        (
            |one| url(one, "postgresql://pdp:geheim@db/x?sslmode=require"),
            "`sslmode` in `postgresql.url`",
        ),
        (
            |one| url(one, "postgresql://pdp:geheim@db/x?sslmode="),
            "`sslmode` in `postgresql.url`",
        ),
        (
            |one| {
                url(
                    one,
                    "postgresql://pdp:geheim@db/x?sslmode=disable&sslmode=verify-full",
                )
            },
            "`sslmode` in `postgresql.url`",
        ),
        (
            |one| {
                url(one, "postgresql://pdp@db/x?sslmode=disable");
                one.postgresql.as_mut().unwrap().ca_file = Some("ca.pem".into());
            },
            "`postgresql.ca_file` is for TLS",
        ),
        (
            |one| one.postgresql.as_mut().unwrap().ca_file = Some("nowhere.pem".into()),
            "`postgresql.ca_file`",
        ),
        (
            |one| one.postgresql.as_mut().unwrap().password_file = Some("nowhere".into()),
            "`postgresql.password_file`",
        ),
        (
            |one| {
                url(one, "postgresql://pdp:geheim@db/x");
                one.postgresql.as_mut().unwrap().password_file = Some("x".into());
            },
            "keep one",
        ),
        (
            |one| one.postgresql.as_mut().unwrap().query = "SELECT level FROM people".into(),
            "`postgresql.query` must have one parameter, `$1`",
        ),
        (|one| one.http = provider("http://x/{id}").http, "keep one"),
        (
            |one| one.postgresql = None,
            "give `http`, `postgresql` or `sqlite`",
        ),
    ];
    for (change, says) in cases {
        let mut fixture = domain(LEVELS);
        let mut one = levels("postgresql://pdp@db/x", BY_ID);
        change(&mut one);
        fixture.config.attribute_providers = vec![one];
        let error = fixture.try_open().unwrap_err().to_string();
        assert!(
            error.contains("pdp.attribute_providers `hr`") && error.contains(says),
            "{says}: {error}"
        );
        let checked = fixture.config.check(fixture.folder.path());
        assert_eq!(checked.len(), 1, "{checked:?}");
        let shown = format!("{error} {checked:?} {:?}", fixture.config);
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
