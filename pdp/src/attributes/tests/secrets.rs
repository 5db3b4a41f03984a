//! Secrets of providers are changed while they are in use.

use ::http::HeaderMap;
use tokio::sync::watch;

use super::postgresql::{BY_ID, levels, people, said, unavailable};
use super::*;
use crate::fixture::postgres::Postgres;

/// Whoever shows the token that holds now is told an age, after a look at how often was asked.
async fn serve(
    fixture: &Fixture,
    holds: watch::Receiver<&'static str>,
    asked: Arc<AtomicUsize>,
) -> String {
    let answer = move |headers: HeaderMap| async move {
        asked.fetch_add(1, Ordering::Relaxed);
        let expected = format!("Bearer {}", *holds.borrow());
        if headers[header::AUTHORIZATION] == expected {
            (StatusCode::OK, axum::Json(json!({ "age": 30 })))
        } else {
            let status = if expected.ends_with("second") {
                StatusCode::UNAUTHORIZED
            } else {
                StatusCode::FORBIDDEN
            };
            (status, axum::Json(json!({})))
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/{id}", get(answer));
    fixture
        .tasks
        .spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}/{{id}}")
}

#[tokio::test]
async fn a_bearer_token_that_is_refused_is_read_again() {
    let (change, holds) = watch::channel("first");
    let count = Arc::new(AtomicUsize::new(0));
    let mut fixture = Fixture::new();
    let url = serve(&fixture, holds, Arc::clone(&count)).await;
    fixture.write("policies.cedar", ADULTS);
    fixture.write("token", "first\n");
    let mut config = provider(&url);
    config.cache_seconds = 0;
    if let Some(http) = &mut config.http {
        http.bearer_file = Some("token".into());
    }
    fixture.config.attribute_providers = vec![config];
    let pdp = fixture.open();
    let times = || count.swap(0, Ordering::Relaxed);
    assert!(permits(&pdp, "zoe").await);
    assert_eq!(times(), 1);
    change.send_replace("second");
    // The file still says the same: once is enough to know.
    assert!(!permits(&pdp, "zoe").await);
    assert_eq!(times(), 1);
    for half_written in ["", "\n", "second\n# by hand\n", "sec\0\0\0"] {
        fixture.write("token", half_written);
        assert!(!permits(&pdp, "zoe").await);
        assert_eq!(times(), 1, "{half_written:?}");
    }
    fixture.write("token", "second\n");
    assert!(permits(&pdp, "zoe").await);
    assert_eq!(times(), 2);
    assert!(permits(&pdp, "zoe").await);
    assert_eq!(times(), 1);
    // What was refused and is not to be had any more leaves what there is.
    std::fs::remove_file(fixture.folder.path().join("token")).unwrap();
    assert!(permits(&pdp, "zoe").await);
    change.send_replace("third");
    assert!(!permits(&pdp, "zoe").await);
    fixture.write("token", "third");
    assert!(permits(&pdp, "zoe").await);
    for wrong in ["", "a\nb"] {
        fixture.write("token", wrong);
        fixture.metrics = service_kit::Metrics::new();
        let error = fixture.try_open().unwrap_err().to_string();
        assert!(error.contains("`http.bearer_file`"), "{error}");
    }
}

#[tokio::test]
async fn a_database_is_connected_to_by_the_password_of_the_time() {
    let server = Postgres::on_loopback(false).await;
    let admin = people(&server).await;
    let role = "CREATE ROLE pdp LOGIN PASSWORD 'erste'; GRANT SELECT ON people TO pdp";
    admin.batch_execute(role).await.unwrap();
    let port = server.port();
    let url = format!("postgresql://pdp@localhost:{port}/postgres?sslmode=disable");
    let mut fixture = super::sql::domain(super::sql::LEVELS);
    fixture.write("password", "erste\n");
    let mut config = levels(&url, BY_ID);
    if let Some(source) = &mut config.postgresql {
        source.password_file = Some("password".into());
    }
    fixture.config.attribute_providers = vec![config];
    let pdp = fixture.open();
    assert_eq!(said(&pdp, "ann").await, Ok(true));
    let change = "ALTER ROLE pdp PASSWORD 'zweite';
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pdp'";
    admin.batch_execute(change).await.unwrap();
    assert_eq!(said(&pdp, "ann").await, unavailable());
    fixture.write("password", "zweite\n");
    assert_eq!(said(&pdp, "ann").await, Ok(true));
}
