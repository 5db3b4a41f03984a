//! The search endpoints to the letter, through the whole router.

use ::http::StatusCode;
use serde_json::{Value, json};

use super::tests::{post, send};
use crate::Pdp;
use crate::config::CallerConfig;
use crate::fixture::Fixture;

const SUBJECT: &str = "/access/v1/search/subject";
const ACTION: &str = "/access/v1/search/action";
const RESOURCE: &str = "/access/v1/search/resource";

/// Documents d0 … d6, all ben's.
fn domain() -> Fixture {
    let fixture = Fixture::new();
    let mut entities: Value = serde_json::from_str(crate::fixture::ENTITIES).unwrap();
    for n in 2..8 {
        entities.as_array_mut().unwrap().push(json!({
            "uid": { "type": "Doc", "id": format!("d{n}") },
            "attrs": { "owner": { "type": "User", "id": "ben" } }, "parents": [],
        }));
    }
    fixture.write("entities.json", &entities.to_string());
    fixture
}

fn for_docs(page: &Value) -> Value {
    json!({
        "subject": { "type": "user", "id": "ben" },
        "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc", "id": "ignored" },
        "page": page,
    })
}

async fn found(pdp: &Pdp, path: &str, body: &Value) -> Value {
    let (status, _, body) = post(pdp, path, body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["context"]["snapshot"]["epoch"], 1, "{body}");
    // `page` comes first.
    assert!(body.to_string().starts_with(r#"{"page":{"#), "{body}");
    body
}

#[tokio::test]
async fn a_page_token_of_another_caller_is_a_bad_token() {
    let mut fixture = domain();
    let key = |name: &str| format!("{name}-0123456789abcdef0123");
    let caller = |name: &str| CallerConfig {
        name: name.into(),
        api_key: Some(service_kit::Secret::new(key(name))),
        ..CallerConfig::default()
    };
    fixture.config.callers = vec![caller("ann"), caller("zoe")];
    let pdp = fixture.open();
    let page = async |name: &str, token: &Value| {
        let page = json!({ "limit": 2, "token": token });
        let request = axum::http::Request::post(RESOURCE)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", key(name)))
            .body(for_docs(&page).to_string().into());
        let (status, _, body) = send(&pdp, request.unwrap()).await;
        (status, body)
    };
    let (_, first) = page("ann", &Value::Null).await;
    let token = &first["page"]["next_token"];
    let (status, problem) = page("zoe", token).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let (_, made_up) = page("zoe", &json!("AAAA")).await;
    assert_eq!(problem["detail"], made_up["detail"]);
    let (status, second) = page("ann", token).await;
    assert_eq!(status, StatusCode::OK, "{second}");
    assert_eq!(second["results"][0]["id"], "d3");
}

#[tokio::test]
async fn each_search_answers_in_its_own_words() {
    let pdp = domain().open();
    let given = json!({ "type": "urn:x:doc", "id": "d1" });
    let subjects = json!({ "subject": { "type": "user" }, "action": { "name": "GET /docs/{id}" },
        "resource": given });
    assert_eq!(
        found(&pdp, SUBJECT, &subjects).await["results"],
        json!([{ "type": "user", "id": "ann" }, { "type": "user", "id": "ben" }])
    );
    let actions = json!({ "subject": { "type": "user", "id": "ben" }, "resource": given,
        "context": { "reason": "r", "nobody knows": 1 } });
    assert_eq!(
        found(&pdp, ACTION, &actions).await["results"],
        json!([{ "name": "GET /docs/{id}" }])
    );
    let resources = found(&pdp, RESOURCE, &for_docs(&Value::Null)).await;
    assert_eq!(resources["results"].as_array().unwrap().len(), 7);
    assert_eq!(
        resources["results"][0],
        json!({ "type": "urn:x:doc", "id": "d1" })
    );
    assert_eq!(resources["page"], json!({ "next_token": "", "count": 7 }));
}

#[tokio::test]
async fn a_result_carries_the_obligations_of_its_policies() {
    let pdp = domain().open();
    let body = json!({ "subject": { "type": "user", "id": "ben" },
        "action": { "name": "delete", "properties": { "soft": true } },
        "resource": { "type": "urn:x:doc" }, "context": { "reason": "old" }, "page": { "limit": 1 } });
    let body = found(&pdp, RESOURCE, &body).await;
    assert_eq!(
        body["results"][0]["context"]["obligations"][0]["type"],
        "notify"
    );
}

#[tokio::test]
async fn pages_follow_one_another_by_token_alone_or_by_the_whole_question() {
    let pdp = domain().open();
    let mut body = for_docs(&json!({ "limit": 3 }));
    let mut ids = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let page = found(&pdp, RESOURCE, &body).await;
        let results = page["results"].as_array().unwrap();
        sizes.push(results.len());
        ids.extend(results.iter().map(|result| result["id"].clone()));
        let token = page["page"]["next_token"].as_str().unwrap();
        if token.is_empty() {
            break;
        }
        body = match sizes.len() {
            1 => json!({ "page": { "token": token } }),
            _ => for_docs(&json!({ "token": token, "limit": 3 })),
        };
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(ids, ["d1", "d2", "d3", "d4", "d5", "d6", "d7"]);
}

#[tokio::test]
async fn a_token_is_refused_for_anything_but_its_own_search() {
    let pdp = domain().open();
    let first = found(&pdp, RESOURCE, &for_docs(&json!({ "limit": 3 }))).await;
    let token = &first["page"]["next_token"];
    let mut other = for_docs(&json!({ "token": token }));
    other["subject"]["id"] = json!("ann");
    for (path, body, named) in [
        (RESOURCE, other, "belongs to another search"),
        (
            RESOURCE,
            for_docs(&json!({ "token": token, "limit": 4 })),
            "`page.limit`",
        ),
        (
            RESOURCE,
            for_docs(&json!({ "token": "made up" })),
            "`page.token`",
        ),
        (
            SUBJECT,
            json!({ "page": { "token": token } }),
            "`page.token`",
        ),
    ] {
        let (status, _, body) = post(&pdp, path, body.to_string()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body["detail"].as_str().unwrap().contains(named), "{body}");
    }
}

#[tokio::test]
async fn what_is_unknown_finds_nothing() {
    let pdp = domain().open();
    let mut type_unknown = for_docs(&Value::Null);
    type_unknown["resource"]["type"] = json!("nothing");
    let mut action_unknown = for_docs(&Value::Null);
    action_unknown["action"]["name"] = json!("nothing");
    let mut subject_unknown = for_docs(&Value::Null);
    subject_unknown["subject"]["id"] = json!("nobody");
    let mut subject_type_unknown = for_docs(&Value::Null);
    subject_type_unknown["subject"]["type"] = json!("nobody");
    for body in [
        type_unknown,
        action_unknown,
        subject_unknown,
        subject_type_unknown,
    ] {
        let answer = found(&pdp, RESOURCE, &body).await;
        assert_eq!(answer["results"], json!([]), "{body}");
        assert_eq!(answer["page"]["next_token"], "", "{body}");
    }
}

#[tokio::test]
async fn what_is_no_search_is_400_and_names_the_field() {
    let pdp = domain().open();
    let mut without_id = for_docs(&Value::Null);
    without_id["subject"].as_object_mut().unwrap().remove("id");
    let mut wrong_type = for_docs(&Value::Null);
    wrong_type["subject"]["properties"] = json!({ "age": "forty" });
    for (body, named) in [
        (json!({}), "`subject`"),
        (without_id, "`subject.id`"),
        (for_docs(&json!({ "limit": "3" })), "`page.limit`"),
        (for_docs(&json!([])), "`page`"),
        (wrong_type, "`subject.properties.age`"),
    ] {
        let (status, _, body) = post(&pdp, RESOURCE, body.to_string()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body["detail"].as_str().unwrap().contains(named), "{body}");
    }
}
