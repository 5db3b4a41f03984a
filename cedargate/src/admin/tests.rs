//! The description against what there is, and what the log level is told.

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use service_kit::admin::{Admin, router};
use service_kit::log::{self, LogLevel};
use service_kit::{Tasks, Variables};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::*;
use crate::config::Loaded;
use crate::drain;
use config::Shown;
use level::Level;

fn admin(tasks: &Tasks) -> Router {
    let text =
        "admin: { listen: '127.0.0.1:9901' }\nstore: { redis: { url: 'redis://:S3CRET@h' } }\n";
    let loaded = Loaded::of(std::path::Path::new("a.yaml"), text, &Variables::default()).unwrap();
    let all = router(Admin::default())
        .merge(Shown::new(&loaded).router())
        .merge(Level::new(LogLevel::Info, tasks).router())
        .merge(drain::router(CancellationToken::new()));
    described(all)
}

async fn ask(
    admin: &Router,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value, String) {
    let mut request = Request::builder().method(method).uri(path);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
    let response = admin
        .clone()
        .call(request.body(body).unwrap())
        .await
        .unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type");
    let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let value = serde_json::from_slice(&body).unwrap_or_default();
    (status, value, kind.unwrap_or_default())
}

#[tokio::test]
async fn the_configuration_is_shown_without_secrets() {
    let admin = admin(&Tasks::new());
    let (status, shown, _) = ask(&admin, Method::GET, "/config", None).await;
    assert_eq!(status, 200);
    assert_eq!(shown["file"], "a.yaml");
    assert_eq!(
        shown["config"]["store"]["redis"]["url"],
        "redis://redacted@h"
    );
    assert!(!shown.to_string().contains("S3CRET"));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let admin = admin(&Tasks::new());
    for (method, path, status) in [
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/routes", 404),
        (Method::DELETE, "/log-level", 405),
        (Method::POST, "/config", 405),
    ] {
        let (found, problem, kind) = ask(&admin, method, path, None).await;
        assert_eq!(
            (found, &*kind),
            (status, "application/problem+json"),
            "{path}"
        );
        assert!(
            problem["type"]
                .as_str()
                .unwrap()
                .starts_with("urn:cedargate:problem:")
        );
    }
}

#[tokio::test]
async fn every_process_answers_what_the_description_says() {
    let admin = admin(&Tasks::new());
    let (_, document, _) = ask(&admin, Method::GET, "/openapi.json", None).await;
    let of_gateway = [
        "/routes",
        "/upstreams",
        "/cache",
        "/cache/purge",
        "/explain",
        "/reload",
    ];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            let (status, ..) = ask(&admin, method, path, None).await;
            let is_there = !of_gateway.contains(&&**path);
            assert_eq!(status != 404 && status != 405, is_there, "{path}: {status}");
        }
    }
    // Whatever it refers to is there.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"].get(name).is_some(),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn more_is_logged_for_a_while_and_then_it_is_as_before() {
    log::install(LogLevel::Info);
    let tasks = Tasks::new();
    let admin = admin(&tasks);
    let level = async |body: Option<Value>| {
        let method = if body.is_some() {
            Method::PUT
        } else {
            Method::GET
        };
        ask(&admin, method, "/log-level", body).await
    };
    for bad in [
        json!({}),
        json!({ "level": "loud" }),
        json!({ "level": "debug", "for_secs": 0 }),
        json!({ "level": "debug", "for_secs": 3601 }),
        json!({ "level": "debug", "more": 1 }),
    ] {
        let (status, problem, _) = level(Some(bad)).await;
        assert_eq!((status, &problem["status"]), (400, &json!(400)));
    }
    assert_eq!(
        tracing::level_filters::LevelFilter::current(),
        tracing::level_filters::LevelFilter::INFO
    );
    let (status, now, _) = level(Some(json!({ "level": "debug", "for_secs": 10 }))).await;
    assert_eq!(status, 200);
    assert_eq!(now["level"], "debug");
    assert_eq!(
        tracing::level_filters::LevelFilter::current(),
        tracing::level_filters::LevelFilter::DEBUG
    );
    // Longer, before the first is over.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    level(Some(json!({ "level": "debug", "for_secs": 20 }))).await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let (_, now, _) = level(None).await;
    assert_eq!(
        (&now["level"], &now["configured"]),
        (&json!("debug"), &json!("info"))
    );
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    let (_, now, _) = level(None).await;
    assert_eq!(now, json!({ "level": "info", "configured": "info" }));
    assert_eq!(
        tracing::level_filters::LevelFilter::current(),
        tracing::level_filters::LevelFilter::INFO
    );
    // A page cannot say so.
    let request = Request::builder().method("PUT").uri("/log-level");
    let request = request.header("content-type", "text/plain");
    let body = Body::from(json!({ "level": "debug" }).to_string());
    let response = admin
        .clone()
        .call(request.body(body).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 415);
    assert!(tasks.finish(std::time::Duration::from_secs(1)).await);
}
