//! The document against what the endpoints take and answer.

use std::collections::BTreeSet;

use ::http::Method;
use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::{EntityRight, ExplainRight, Pdp, SnapshotsConfig};

const QUESTION: &str = r#"{"subject":{"type":"user","id":"ben"},"action":{"name":"GET /docs/{id}"},
    "resource":{"type":"urn:x:doc","id":"d1"},"context":{}}"#;

fn open() -> (Fixture, Pdp) {
    let mut fixture = Fixture::new();
    fixture.config.entities_without_callers = EntityRight::Write;
    fixture.config.snapshots_without_callers = true;
    let key = rcgen::KeyPair::generate().unwrap();
    fixture.write("snapshots.key", &key.serialize_pem());
    fixture.config.snapshots = Some(SnapshotsConfig {
        signing_key_file: "snapshots.key".into(),
        max_bytes: 1 << 20,
    });
    fixture.config.explain_without_callers = ExplainRight::Full;
    fixture.write(
        "tables.yaml",
        "entities:\n  Doc:\n    table: docs\n    id: id\n    attributes:\n      owner: { column: owner_id }\n",
    );
    fixture.config.filters = Some("tables.yaml".into());
    fixture.write(
        "policies.cedar",
        r#"@id("own") @obligation("notify to=owner") @advice("look twice")
           permit (principal, action, resource is Doc)
           when { resource has owner && resource.owner == principal };"#,
    );
    fixture.config.public_url = Some("https://pdp.example.org".into());
    let pdp = fixture.open();
    pdp.hand_out();
    (fixture, pdp)
}

async fn call(pdp: &Pdp, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body.map_or(Body::empty(), |body| Body::from(body.to_string())))
        .unwrap();
    let response = pdp.api().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// What of a value the schema does not describe, or describes otherwise.
fn misfits(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).unwrap();
        return misfits(document, schema, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &Value| misfits(document, choice, value, place).is_empty();
        if choices.iter().any(fits) {
            return Vec::new();
        }
        let choices = choices.iter().filter(|choice| choice["type"] != "null");
        return choices
            .flat_map(|choice| misfits(document, choice, value, place))
            .collect();
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.is_empty() && !kinds.contains(&kind) {
        return vec![format!("{place} is {kind}, and not {kinds:?}")];
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|values| !values.contains(value))
    {
        return vec![format!("{place} is {value}")];
    }
    match value {
        Value::Array(items) => items
            .iter()
            .flat_map(|item| misfits(document, &schema["items"], item, &format!("{place}[]")))
            .collect(),
        Value::Object(members) if schema["properties"].is_object() => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let missing = required
                .iter()
                .filter(|name| !members.contains_key(name.as_str().unwrap()))
                .map(|name| format!("{place}.{name} is missing"));
            let wrong = members.iter().flat_map(|(name, value)| {
                let place = format!("{place}.{name}");
                match schema["properties"].get(name) {
                    Some(schema) => misfits(document, schema, value, &place),
                    None => vec![format!("{place} is not described")],
                }
            });
            missing.chain(wrong).collect()
        }
        _ => Vec::new(),
    }
}

/// The paths that the router's source names.
fn routed() -> BTreeSet<&'static str> {
    include_str!("../../http.rs")
        .split('"')
        .filter(|text| {
            ["/access/", "/cedar/", "/.well-known/"]
                .iter()
                .any(|of| text.starts_with(of))
        })
        .collect()
}

/// A request, and the path that describes it.
type Asked = (&'static str, &'static str, &'static str, Option<Value>);

/// One for each endpoint.
#[expect(clippy::too_many_lines, reason = "a list")]
fn requests() -> Vec<Asked> {
    let question: Value = serde_json::from_str(QUESTION).unwrap();
    let cedar = json!({ "principal": { "type": "User", "id": "ben" },
        "action": { "type": "Action", "id": "read" },
        "resource": { "type": "Doc", "id": "d1" }, "context": {} });
    let mut left_open = cedar.clone();
    left_open["resource"] = json!({ "type": "Doc" });
    let mut rows = left_open.clone();
    rows["dialect"] = json!("sqlite");
    let many = json!({ "evaluations": [question, { "subject": { "type": "user", "id": "x" } }],
        "options": { "evaluations_semantic": "execute_all" } });
    let sought = |part: &str| {
        let mut search = question.clone();
        match part {
            "action" => drop(search.as_object_mut().unwrap().remove("action")),
            part => drop(search[part].as_object_mut().unwrap().remove("id")),
        }
        search["page"] = json!({ "limit": 1 });
        search
    };
    let entity = json!({ "uid": { "type": "Team", "id": "t9" }, "attrs": {}, "parents": [] });
    vec![
        ("post", "/access/v1/evaluation", "", Some(question.clone())),
        ("post", "/access/v1/evaluations", "", Some(many)),
        (
            "post",
            "/access/v1/search/subject",
            "",
            Some(sought("subject")),
        ),
        (
            "post",
            "/access/v1/search/action",
            "",
            Some(sought("action")),
        ),
        (
            "post",
            "/access/v1/search/resource",
            "",
            Some(sought("resource")),
        ),
        ("post", "/cedar/v1/authorize", "", Some(cedar.clone())),
        (
            "post",
            "/cedar/v1/authorize/batch",
            "",
            Some(json!({ "requests": [cedar, {}] })),
        ),
        ("post", "/cedar/v1/partial", "", Some(left_open)),
        ("post", "/cedar/v1/explain", "", Some(question.clone())),
        ("post", "/cedar/v1/filter", "", Some(rows)),
        (
            "post",
            "/cedar/v1/explain",
            "?form=short",
            Some(question.clone()),
        ),
        (
            "post",
            "/cedar/v1/entities",
            "",
            Some(json!({ "upsert": [entity] })),
        ),
        ("get", "/cedar/v1/entities", "?type=User&limit=1", None),
        (
            "get",
            "/cedar/v1/entities/{type}/{id}",
            "/cedar/v1/entities/User/ben",
            None,
        ),
        ("get", "/cedar/v1/cache-contract", "", None),
        (
            "get",
            "/cedar/v1/snapshot",
            "?nonce=0123456789abcdef&wait_ms=5000",
            None,
        ),
        ("get", "/.well-known/authzen-configuration", "", None),
    ]
}

/// Asks, and holds question, answer and refusal against what is described.
async fn holds(pdp: &Pdp, document: &Value, (method, path, asked, body): Asked) {
    let operation = &document["paths"][path][method];
    if let Some(body) = &body {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let wrong = misfits(document, schema, body, "request");
        assert_eq!(wrong, Vec::<String>::new(), "{path} {body}");
    }
    let asked = if asked.starts_with('/') {
        asked.to_owned()
    } else {
        format!("{path}{asked}")
    };
    let http = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let (status, answer) = call(pdp, http, &asked, body.as_ref()).await;
    assert_eq!(status, 200, "{path} {answer}");
    let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{path} has no described answer");
    let wrong = misfits(document, schema, &answer, "answer");
    assert_eq!(wrong, Vec::<String>::new(), "{path} {answer}");
    // What it says when it is asked nonsense.
    if method == "post" {
        let (status, problem) = call(pdp, Method::POST, path, Some(&json!([1]))).await;
        let schema = &operation["responses"][status.to_string()]["content"]["application/problem+json"]
            ["schema"];
        assert!(schema.is_object(), "{path} {status} is not described");
        assert_eq!(
            misfits(document, schema, &problem, "problem"),
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn every_route_is_described_and_answers_as_described() {
    let (_fixture, pdp) = open();
    let (status, document) = call(&pdp, Method::GET, "/openapi.json", None).await;
    assert_eq!(status, 200);
    let described: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(described, routed());
    let mut seen = BTreeSet::new();
    for asked in requests() {
        seen.insert(asked.1);
        holds(&pdp, &document, asked).await;
    }
    assert_eq!(seen, described, "each is asked here");
}

#[tokio::test]
async fn every_kind_of_caller_is_described() {
    let (_fixture, pdp) = open();
    let (_, document) = call(&pdp, Method::GET, "/openapi.json", None).await;
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(
        schemes["key"],
        json!({ "type": "http", "scheme": "bearer" })
    );
    assert_eq!(
        schemes["basic"],
        json!({ "type": "http", "scheme": "basic" })
    );
    assert_eq!(schemes["jwt"]["bearerFormat"], "JWT");
    assert_eq!(schemes["certificate"]["type"], "mutualTLS");
    for scheme in document["security"].as_array().unwrap() {
        for name in scheme.as_object().unwrap().keys() {
            assert!(schemes[name].is_object(), "{name}");
        }
    }
}

#[tokio::test]
async fn the_page_is_shown_without_fetching_anything() {
    let (_fixture, pdp) = open();
    for (path, holds) in [
        ("/docs/", "swagger-ui"),
        ("/docs/swagger-initializer.js", "/openapi.json"),
        ("/docs/swagger-ui-bundle.js", "Swagger"),
    ] {
        let request = axum::http::Request::get(path).body(Body::empty()).unwrap();
        let response = pdp.api().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains(holds), "{path}");
        if path == "/docs/" {
            assert!(!text.contains("https://"), "{text}");
        }
    }
}
