//! The HTTP API to the letter, through the whole router.

use ::http::{HeaderMap, Request, StatusCode};
use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::Pdp;
use crate::config::CallerConfig;
use crate::fixture::Fixture;

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

pub(super) type Answer = (StatusCode, HeaderMap, Value);

pub(super) async fn send(pdp: &Pdp, request: Request<Body>) -> Answer {
    let response = pdp.api().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    (parts.status, parts.headers, body)
}

pub(crate) async fn post(pdp: &Pdp, path: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap();
    send(pdp, request).await
}

fn question() -> Value {
    json!({
        "subject": { "type": "user", "id": "ben" },
        "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc", "id": "d1" },
    })
}

fn denied() -> Value {
    json!({ "type": "urn:x:doc", "id": "d9" })
}

#[tokio::test]
async fn every_decision_is_200_and_names_its_snapshot() {
    let pdp = Fixture::new().open();
    let (status, headers, body) = post(&pdp, ONE, question().to_string()).await;
    assert_eq!((status, &body["decision"]), (StatusCode::OK, &json!(true)));
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(body["context"]["snapshot"]["epoch"], 1);
    assert_eq!(body["context"]["reasons"][0]["policy"], "owner-reads");
    assert!(body["context"]["id"].is_string());
    let mut no = question();
    no["resource"] = denied();
    let (status, _, body) = post(&pdp, ONE, no.to_string()).await;
    assert_eq!((status, &body["decision"]), (StatusCode::OK, &json!(false)));
}

#[tokio::test]
async fn what_is_no_question_is_400_and_names_the_field() {
    let pdp = Fixture::new().open();
    let without = |part: &str| {
        let mut question = question();
        question.as_object_mut().unwrap().remove(part);
        question.to_string()
    };
    let with = |pointer: &str, value: Value| {
        let mut question = question();
        *question.pointer_mut(pointer).unwrap() = value;
        question.to_string()
    };
    for (body, named) in [
        (without("subject"), "`subject`"),
        (without("action"), "`action`"),
        (without("resource"), "`resource`"),
        (with("/subject/id", Value::Null), "`subject.id`"),
        (with("/subject/type", json!(1)), "`subject.type`"),
        (with("/action/name", json!([])), "`action.name`"),
        (with("/resource/id", json!(7)), "`resource.id`"),
        (with("/resource", json!("x")), "`resource`"),
        (String::new(), "empty"),
        ("[]".to_owned(), "an object"),
        ("{".to_owned(), "not valid JSON"),
        (r#"{"subject":{},"subject":{}}"#.to_owned(), "appears twice"),
        (
            format!("{{\"a\":{}", "[".repeat(4000)),
            "nested deeper than 32",
        ),
    ] {
        for path in [ONE, MANY] {
            let (status, headers, answer) = post(&pdp, path, body.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(headers["content-type"], "application/problem+json");
            let detail = answer["detail"].as_str().unwrap();
            assert!(detail.contains(named), "{named}: {detail}");
        }
    }
    let wrong = r#"{"subject":{"type":"user","id":"ben","properties":{"age":"old"}},"action":{"name":"GET /docs/{id}"},"resource":{"type":"urn:x:doc","id":"d1"}}"#;
    let (status, _, answer) = post(&pdp, ONE, wrong).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        answer["detail"]
            .as_str()
            .unwrap()
            .contains("`subject.properties.age`")
    );
}

#[tokio::test]
async fn content_types_methods_and_sizes_are_held() {
    let mut fixture = Fixture::new();
    fixture.config.max_body_bytes = 1000;
    let pdp = fixture.open();
    for (kind, status) in [
        (Some("application/json; charset=utf-8"), StatusCode::OK),
        (Some("Application/JSON"), StatusCode::OK),
        (Some("text/plain"), StatusCode::BAD_REQUEST),
        (Some("application/jsonx"), StatusCode::BAD_REQUEST),
        (None, StatusCode::BAD_REQUEST),
    ] {
        let mut request = Request::post(ONE);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(question().to_string().into()).unwrap();
        assert_eq!(send(&pdp, request).await.0, status, "{kind:?}");
    }
    for (method, path, allow) in [
        ("GET", ONE, "POST"),
        ("HEAD", MANY, "POST"),
        ("DELETE", MANY, "POST"),
        ("GET", "/access/v1/search/subject", "POST"),
        ("PUT", "/access/v1/search/action", "POST"),
        ("GET", "/access/v1/search/resource", "POST"),
        ("POST", super::WELL_KNOWN, "GET, HEAD"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let (status, headers, _) = send(&pdp, request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(headers["allow"], allow);
    }
    let long = format!("{}{}", question(), " ".repeat(1000));
    assert_eq!(post(&pdp, ONE, long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        post(&pdp, "/access/v2", "{}").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_request_id_is_echoed_exactly() {
    let pdp = Fixture::new().open();
    for (path, body) in [
        (ONE, question().to_string()),
        (ONE, "{".into()),
        ("/x", String::new()),
    ] {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("x-request-id", "Abc-123/~ü")
            .body(Body::from(body))
            .unwrap();
        let (_, headers, _) = send(&pdp, request).await;
        assert_eq!(headers["x-request-id"].as_bytes(), "Abc-123/~ü".as_bytes());
    }
}

#[tokio::test]
async fn what_was_sent_without_a_request_id_gets_one_unless_its_decision_has_an_id() {
    let pdp = Fixture::new().open();
    let many = json!({ "evaluations": [question()] });
    for (path, body, is_named) in [
        (ONE, question(), false),
        (ONE, json!({}), true),
        (MANY, many, true),
        ("/access/v1/search/subject", json!({}), true),
    ] {
        let (status, headers, body) = post(&pdp, path, body.to_string()).await;
        let id = headers.get("x-request-id");
        assert_eq!(id.is_some(), is_named, "{path} {status}");
        assert!(is_named || body["context"]["id"].is_string());
    }
}

async fn batch(pdp: &Pdp, semantic: Option<&str>, entries: &[Value]) -> Value {
    let mut body = question();
    body["evaluations"] = json!(entries);
    if let Some(semantic) = semantic {
        body["options"] = json!({ "evaluations_semantic": semantic });
    }
    let (status, _, body) = post(pdp, MANY, body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.get("decision").is_none());
    body["evaluations"].clone()
}

fn decisions(evaluations: &Value) -> Vec<bool> {
    let answers = evaluations.as_array().unwrap().iter();
    answers
        .map(|answer| answer["decision"].as_bool().unwrap())
        .collect()
}

#[tokio::test]
async fn batches_keep_order_and_stop_where_the_semantic_says() {
    let pdp = Fixture::new().open();
    let (yes, no) = (json!({}), json!({ "resource": denied() }));
    for (semantic, entries, expected) in [
        (None, vec![&yes, &no, &yes], vec![true, false, true]),
        (Some("execute_all"), vec![&no, &yes], vec![false, true]),
        (
            Some("deny_on_first_deny"),
            vec![&yes, &no, &yes],
            vec![true, false],
        ),
        (
            Some("permit_on_first_permit"),
            vec![&no, &yes, &no],
            vec![false, true],
        ),
        (
            Some("deny_on_first_deny"),
            vec![&yes, &yes],
            vec![true, true],
        ),
    ] {
        let entries: Vec<_> = entries.into_iter().cloned().collect();
        let answers = batch(&pdp, semantic, &entries).await;
        assert_eq!(decisions(&answers), expected, "{semantic:?}");
    }
}

#[tokio::test]
async fn an_entry_that_is_no_question_is_answered_in_its_place() {
    let pdp = Fixture::new().open();
    let entries = [
        json!({ "subject": { "type": "user", "id": 7 } }),
        json!({}),
        json!({ "context": { "ip": "x" } }),
        json!(5),
        json!({ "resource": { "id": "d9" } }),
    ];
    let answers = batch(&pdp, None, &entries).await;
    assert_eq!(decisions(&answers), [false, true, false, false, false]);
    for (index, named) in [(0, "`subject.id`"), (2, "`context.ip`"), (3, "an object")] {
        let error = &answers[index]["context"]["error"];
        assert_eq!(error["status"], 400);
        assert!(
            error["message"].as_str().unwrap().contains(named),
            "{error}"
        );
    }
    assert!(answers[4]["context"].get("error").is_none());
}

#[tokio::test]
async fn batches_without_entries_are_single_and_others_are_bounded() {
    let mut fixture = Fixture::new();
    fixture.config.max_evaluations = 2;
    let pdp = fixture.open();
    for evaluations in [json!(null), json!([])] {
        let mut body = question();
        body["evaluations"] = evaluations;
        let (status, _, answer) = post(&pdp, MANY, body.to_string()).await;
        assert_eq!(
            (status, &answer["decision"]),
            (StatusCode::OK, &json!(true))
        );
    }
    for (evaluations, options) in [
        (json!([{}, {}, {}]), json!({})),
        (json!({}), json!({})),
        (json!([{}]), json!({ "evaluations_semantic": "sometimes" })),
    ] {
        let mut body = question();
        body["evaluations"] = evaluations;
        body["options"] = options;
        let (status, _, _) = post(&pdp, MANY, body.to_string()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn metadata_says_what_is_configured_and_nothing_else() {
    let get = |path: &str| {
        Request::get(path)
            .header("host", "evil.example")
            .body(Body::empty())
            .unwrap()
    };
    let mut fixture = Fixture::new();
    assert_eq!(
        send(&fixture.open(), get(super::WELL_KNOWN)).await.0,
        StatusCode::NOT_FOUND
    );
    fixture = Fixture::new();
    fixture.config.public_url = Some("https://pdp.example.org/tenant1".into());
    let pdp = fixture.open();
    let (status, _, body) = send(&pdp, get("/.well-known/authzen-configuration/tenant1")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body,
        json!({
            "policy_decision_point": "https://pdp.example.org/tenant1",
            "access_evaluation_endpoint": "https://pdp.example.org/tenant1/access/v1/evaluation",
            "access_evaluations_endpoint": "https://pdp.example.org/tenant1/access/v1/evaluations",
            "search_subject_endpoint": "https://pdp.example.org/tenant1/access/v1/search/subject",
            "search_action_endpoint": "https://pdp.example.org/tenant1/access/v1/search/action",
            "search_resource_endpoint": "https://pdp.example.org/tenant1/access/v1/search/resource",
        })
    );
    let (status, _, body) = post(
        &pdp,
        "/tenant1/access/v1/evaluation",
        question().to_string(),
    )
    .await;
    assert_eq!((status, &body["decision"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test]
async fn the_cache_contract_names_its_snapshot() {
    let pdp = Fixture::new().open();
    let (_, _, answer) = post(&pdp, ONE, question().to_string()).await;
    let (status, _, body) = send(
        &pdp,
        Request::get("/cedar/v1/cache-contract")
            .body(Body::empty())
            .unwrap(),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["snapshot"], answer["context"]["snapshot"]);
    let contracts = body["contracts"].as_array().unwrap();
    let reading = contracts
        .iter()
        .find(|contract| contract["action"] == "GET /docs/{id}")
        .unwrap();
    assert_eq!(reading["resource_type"], "urn:x:doc");
    assert_eq!(reading["vary"]["resource"], json!(["owner", "public"]));
}

#[tokio::test]
async fn configured_callers_must_show_their_key() {
    let mut fixture = Fixture::new();
    let key = service_kit::Secret::new("0123456789abcdef0123");
    fixture.config.callers = vec![CallerConfig {
        name: "gateway".into(),
        api_key: Some(key),
        ..CallerConfig::default()
    }];
    let pdp = fixture.open();
    for (authorization, status) in [
        (Some("Bearer 0123456789abcdef0123"), StatusCode::OK),
        (Some("bearer 0123456789abcdef0123"), StatusCode::OK),
        (
            Some("Bearer 0123456789abcdef0124"),
            StatusCode::UNAUTHORIZED,
        ),
        (Some("Basic 0123456789abcdef0123"), StatusCode::UNAUTHORIZED),
        (None, StatusCode::UNAUTHORIZED),
    ] {
        let mut request = Request::post(ONE).header("content-type", "application/json");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let request = request.body(question().to_string().into()).unwrap();
        let (actual, headers, _) = send(&pdp, request).await;
        assert_eq!(actual, status, "{authorization:?}");
        assert_eq!(
            headers.contains_key("www-authenticate"),
            status == StatusCode::UNAUTHORIZED
        );
    }
}

#[tokio::test]
async fn nesting_is_bounded_as_configured() {
    let mut fixture = Fixture::new();
    fixture.config.max_json_depth = 6;
    let pdp = fixture.open();
    for (depth, status) in [(6, StatusCode::OK), (7, StatusCode::BAD_REQUEST)] {
        // Two levels of its own: the body and the context.
        let nested = "[".repeat(depth - 2) + &"]".repeat(depth - 2);
        let mut asked = question();
        asked["context"] = json!({ "unknown": serde_json::from_str::<Value>(&nested).unwrap() });
        let (actual, _, answer) = post(&pdp, ONE, asked.to_string()).await;
        assert_eq!(actual, status, "{answer}");
    }
}
