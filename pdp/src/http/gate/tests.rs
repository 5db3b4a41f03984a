//! Who asks too often or too much at once is told when to ask again, and nobody else suffers.

use ::http::{HeaderMap, StatusCode};
use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::fixture::Fixture;
use crate::{CallerConfig, Pdp};

fn caller(name: &str) -> CallerConfig {
    CallerConfig {
        name: name.into(),
        api_key: Some(service_kit::Secret::new(format!("{name}-0123456789abcdef"))),
        ..CallerConfig::default()
    }
}

async fn ask(pdp: &Pdp, path: &str, authorization: &str) -> (StatusCode, HeaderMap, String) {
    let body = json!({ "subject": { "type": "user", "id": "ben" },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": "d1" } });
    let request = axum::http::Request::post(path)
        .header("content-type", "application/json")
        .header("authorization", authorization)
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = pdp.router().oneshot(request).await.unwrap();
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
    let held = pdp.0.room.place(true).await.unwrap();
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
