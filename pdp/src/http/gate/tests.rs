//! Who asks too often or too much at once is told when to ask again, and nobody else suffers.

use ::http::{HeaderMap, StatusCode};
use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::AT_LEAST;
use crate::config::ExplainRight;
use crate::fixture::{Fixture, busy};
use crate::{CallerConfig, Pdp};

pub(crate) fn caller(name: &str) -> CallerConfig {
    CallerConfig {
        name: name.into(),
        api_key: Some(service_kit::Secret::new(format!("{name}-0123456789abcdef"))),
        ..CallerConfig::default()
    }
}

fn question() -> Value {
    json!({ "subject": { "type": "user", "id": "ben" },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": "d1" } })
}

async fn ask(pdp: &Pdp, path: &str, authorization: &str) -> (StatusCode, HeaderMap, String) {
    send(pdp, path, authorization, &question()).await
}

async fn send(
    pdp: &Pdp,
    path: &str,
    authorization: &str,
    body: &Value,
) -> (StatusCode, HeaderMap, String) {
    let request = axum::http::Request::post(path)
        .header("content-type", "application/json")
        .header("authorization", authorization)
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = pdp.api().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8_lossy(&body).into_owned(),
    )
}

const EVALUATION: &str = "/access/v1/evaluation";

#[tokio::test]
async fn a_caller_over_its_rate_is_told_when_to_come_back_and_others_are_not_slowed() {
    let mut fixture = Fixture::new();
    let mut limited = caller("limited");
    limited.rate_per_second = Some(2);
    fixture.config.callers = vec![limited, caller("free")];
    let pdp = fixture.open();
    let key = "Bearer limited-0123456789abcdef";
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let (status, headers, body) = ask(&pdp, EVALUATION, key).await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(headers["retry-after"], "1");
            assert!(body.contains("rate_per_second"), "{body}");
        }
        statuses.push(status.as_u16());
    }
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    for _ in 0..50 {
        let (status, ..) = ask(&pdp, EVALUATION, "Bearer free-0123456789abcdef").await;
        assert_eq!(status, StatusCode::OK);
    }
    assert!(
        fixture
            .metrics
            .render()
            .contains("pdp_turned_away_total{reason=\"rate\"}")
    );
}

#[tokio::test]
async fn a_flood_of_searches_leaves_room_for_evaluations() {
    let mut fixture = Fixture::new();
    fixture.config.max_concurrent_searches = 1;
    fixture.config.max_wait_ms = 20;
    let pdp = fixture.open();
    // The only place is taken, as by a search that lasts.
    let held = pdp.0.room.for_search().await.unwrap();
    let (status, headers, _) = ask(&pdp, "/access/v1/search/subject", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "1");
    let (status, ..) = ask(&pdp, EVALUATION, "").await;
    assert_eq!(status, StatusCode::OK);
    drop(held);
    let (status, ..) = ask(&pdp, "/access/v1/search/subject", "").await;
    assert_ne!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_caller_with_a_user_name_authenticates_by_basic_alone() {
    let mut fixture = Fixture::new();
    let mut basic = caller("app");
    basic.basic_user = Some("app-user".into());
    fixture.config.callers = vec![basic, caller("other")];
    let pdp = fixture.open();
    let encoded = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let right = encoded("app-user:app-0123456789abcdef");
    for (authorization, expected) in [
        (format!("Basic {right}"), 200),
        (format!("basic {right}"), 200),
        ("Bearer other-0123456789abcdef".into(), 200),
        ("Bearer app-0123456789abcdef".into(), 401),
        (
            format!("Basic {}", encoded("app-user:other-0123456789abcdef")),
            401,
        ),
        (
            format!("Basic {}", encoded("other:other-0123456789abcdef")),
            401,
        ),
        (format!("Basic {}", encoded("app-user")), 401),
        ("Basic %%%".into(), 401),
        ("Digest x".into(), 401),
        (String::new(), 401),
    ] {
        let (status, headers, body) = ask(&pdp, EVALUATION, &authorization).await;
        assert_eq!(status.as_u16(), expected, "{authorization} {body}");
        if expected == 401 {
            let challenges: Vec<_> = headers.get_all("www-authenticate").iter().collect();
            assert!(
                challenges
                    .iter()
                    .any(|one| one.to_str().unwrap().starts_with("Basic realm"))
            );
            assert!(
                challenges
                    .iter()
                    .any(|one| one.to_str().unwrap().starts_with("Bearer"))
            );
        }
    }
}

const HUNG_UP: std::time::Duration = std::time::Duration::from_millis(100);

#[test]
fn the_place_of_a_search_is_given_back_when_the_work_ends_and_not_when_the_client_goes() {
    for path in [
        "/access/v1/search/resource",
        "/cedar/v1/partial",
        "/cedar/v1/filter",
        "/cedar/v1/explain",
    ] {
        let mut fixture = Fixture::new();
        fixture.write("tables.yaml", "entities: {}\n");
        fixture.config.filters = Some("tables.yaml".into());
        fixture.config.explain_without_callers = ExplainRight::Full;
        fixture.config.max_concurrent_searches = 1;
        fixture.config.max_wait_ms = 20;
        let pdp = fixture.open();
        let body = match path {
            "/cedar/v1/partial" | "/cedar/v1/filter" => json!({
                "principal": { "type": "User", "id": "ben" }, "action": "Action::\"read\"",
                "resource": { "type": "Doc" }, "context": {}, "dialect": "sqlite" }),
            _ => question(),
        };
        let (runtime, free) = busy();
        runtime.block_on(async {
            let left = tokio::time::timeout(HUNG_UP, send(&pdp, path, "", &body)).await;
            assert!(left.is_err(), "{path}: {left:?}");
            assert!(pdp.0.room.for_search().await.is_none(), "{path}");
            free.send(()).unwrap();
            let mut tries = 0..250;
            while pdp.0.room.for_search().await.is_none() {
                assert!(tries.next().is_some(), "{path}");
            }
        });
    }
}

#[tokio::test]
async fn who_waits_for_a_revision_takes_no_place() {
    for path in [EVALUATION, "/access/v1/search/subject"] {
        let mut fixture = Fixture::new();
        fixture.config.max_concurrent_requests = 1;
        fixture.config.max_concurrent_searches = 1;
        fixture.config.max_wait_ms = 20;
        fixture.config.max_revision_wait_ms = 500;
        let pdp = fixture.open();
        let waiting = axum::http::Request::post(path)
            .header("content-type", "application/json")
            .header(AT_LEAST, "99")
            .body(Body::from(question().to_string()))
            .unwrap();
        let mut waiting = std::pin::pin!(pdp.api().oneshot(waiting));
        let early = tokio::time::timeout(HUNG_UP, &mut waiting).await;
        assert!(early.is_err(), "{path}: it waits");
        let (status, _, body) = ask(&pdp, path, "").await;
        assert_ne!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {body}");
        let (status, body) = waiting.await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(status.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("not-fresh-enough"), "{path}: {body}");
    }
}

/// A body of so many pieces, after which nothing comes for as long as the sender is kept.
fn pieces(count: usize) -> (tokio::sync::mpsc::Sender<()>, Body) {
    let (sender, ends) = tokio::sync::mpsc::channel::<()>(1);
    let piece = bytes::Bytes::from(vec![b' '; 1000]);
    let sent = futures_util::stream::iter(vec![piece; count]);
    let end = futures_util::stream::once(async move {
        let mut ends = ends;
        let _ = ends.recv().await;
        bytes::Bytes::from(question().to_string())
    });
    let all = futures_util::StreamExt::chain(sent, end);
    let all = futures_util::StreamExt::map(all, Ok::<_, std::io::Error>);
    (sender, Body::from_stream(all))
}

#[tokio::test]
async fn bodies_that_come_slowly_take_no_more_memory_than_there_is_room_for() {
    let mut fixture = Fixture::new();
    fixture.config.max_body_bytes = 20_000;
    fixture.config.max_bodies_bytes = 50_000;
    fixture.config.max_revision_wait_ms = 5000;
    let pdp = fixture.open();
    let send_to = |path: &str, revision: &str, body: Body| {
        let request = axum::http::Request::post(path)
            .header("content-type", "application/json")
            .header(AT_LEAST, revision)
            .body(body)
            .unwrap();
        pdp.api().oneshot(request)
    };
    let send = |body: Body| send_to(EVALUATION, "0", body);
    // Three hold fifteen thousand bytes each.
    let (senders, bodies): (Vec<_>, Vec<_>) = (0..3).map(|_| pieces(15)).unzip();
    let mut slow: Vec<_> = bodies
        .into_iter()
        .map(|body| Box::pin(send(body)))
        .collect();
    for one in &mut slow {
        let early = tokio::time::timeout(HUNG_UP, one).await;
        assert!(early.is_err(), "it is not whole");
    }
    let (_kept, body) = pieces(15);
    let refused = send(body).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    let told = fixture.metrics.render();
    assert!(
        told.contains("pdp_turned_away_total{reason=\"bodies\"} 1"),
        "{told}"
    );
    // What comes in one piece takes nothing of it, and small ones find what is left.
    assert_eq!(ask(&pdp, EVALUATION, "").await.0, StatusCode::OK);
    let (sender, small) = pieces(3);
    drop(sender);
    assert_eq!(send(small).await.unwrap().status(), StatusCode::OK);
    // Whoever gets its answer gives its room back, and whoever goes away.
    let mut slow = slow.into_iter();
    drop((senders, slow.next()));
    for one in slow {
        assert_eq!(one.await.unwrap().status(), StatusCode::OK);
    }
    let whole = || pieces(15).1;
    for _ in 0..10 {
        assert_eq!(send(whole()).await.unwrap().status(), StatusCode::OK);
    }
    // Not as soon as it has come, and whatever way it takes.
    for path in [EVALUATION, "/cedar/v1/authorize"] {
        let waits = |_| Box::pin(send_to(path, "99", whole()));
        let mut waiting: Vec<_> = (0..3).map(waits).collect();
        for one in &mut waiting {
            let early = tokio::time::timeout(HUNG_UP, one).await;
            assert!(early.is_err(), "{path}: it waits for a revision");
        }
        let refused = send_to(path, "0", whole()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        drop(waiting);
        assert_eq!(send(whole()).await.unwrap().status(), StatusCode::OK);
    }
}
