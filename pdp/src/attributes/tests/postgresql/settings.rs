//! How a PostgreSQL server is reached, and what is refused before anybody is.

use std::time::Duration;

use tokio_postgres::Client;

use super::super::provider;
use super::super::sql::{LEVELS, domain};
use super::{BY_ID, OURS, levels, open, people, said, unavailable};
use crate::attributes::AttributeProviderConfig;
use crate::fixture::postgres::Postgres;

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
    let (verified, plain) = ("?sslmode=verify-full", "?sslmode=disable");
    // The password is bound to this very connection.
    let bound = "?channel_binding=require";
    let cases = [
        ("localhost", "", "ca.pem", "password", true),
        ("localhost", verified, "ca.pem", "password", true),
        ("localhost", bound, "ca.pem", "password", true),
        ("localhost", "", "ca.pem", "wrong", false),
        ("localhost", "", "other.pem", "password", false),
        // The system's authorities do not know it.
        ("localhost", "", "", "password", false),
        // The certificate is another host's.
        ("127.0.0.1", "", "ca.pem", "password", false),
        ("127.0.0.1", plain, "", "password", true),
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
            assert_eq!(by_tls, if options == plain { 0 } else { ours }, "{options}");
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

fn assert_refused(change: impl FnOnce(&mut AttributeProviderConfig), says: &str) {
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

#[test]
fn a_url_that_says_too_little_or_the_wrong_thing_is_refused_and_not_shown() {
    let (form, mode) = ("`postgresql.url` must be", "`sslmode` in `postgresql.url`");
    for (url, says) in [
        ("mysql://pdp:geheim@db/x", form),
        ("host=db user=pdp password=geheim", form),
        ("postgresql://pdp:geheim@db:x/y", form),
        ("postgresql://pdp:geheim@db/x?sslrootcert=a", form),
        ("postgresql://db/geheim", "it has no user"),
        ("postgresql://pdp:geheim@/x", "it has no host"),
        ("postgresql://pdp:geheim@db/x?sslmode=prefer", mode),
        ("postgresql://pdp:geheim@db/x?sslmode=require", mode),
        ("postgresql://pdp:geheim@db/x?sslmode=", mode),
        (
            "postgresql://pdp:geheim@db/x?sslmode=disable&sslmode=verify-full",
            mode,
        ),
    ] {
        let url = service_kit::Secret::new(url);
        assert_refused(|one| one.postgresql.as_mut().unwrap().url = url, says);
    }
}

type Change = fn(&mut AttributeProviderConfig);

#[test]
fn what_cannot_be_asked_by_itself_is_refused_with_its_key() {
    let cases: [(Change, &str); 7] = [
        (
            |one| {
                let source = one.postgresql.as_mut().unwrap();
                source.url = service_kit::Secret::new("postgresql://pdp@db/x?sslmode=disable");
                source.ca_file = Some("ca.pem".into());
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
                let source = one.postgresql.as_mut().unwrap();
                source.url = service_kit::Secret::new("postgresql://pdp:geheim@db/x");
                source.password_file = Some("x".into());
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
        assert_refused(change, says);
    }
}
