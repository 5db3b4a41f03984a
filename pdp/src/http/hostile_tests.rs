//! What a caller cannot do: have much work done for little, push records out of the log, or read in
//! errors and residuals what only the store knows.

use ::http::StatusCode;
use authzen::EvaluationRequest;
use serde_json::{Value, json};
use service_kit::line_sink::LineTarget;

use super::tests::post;
use crate::fixture::Fixture;
use crate::{CallerConfig, Pdp};

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

const SCHEMA: &str = "
entity User { balance?: Long };
entity Doc { owner: User, n: Long };
action pay appliesTo { principal: [User], resource: [Doc], context: { amount?: Long, tags?: Set<String> } };
";

const POLICIES: &str = "
@id(\"pay\") permit (principal, action, resource)
when { context has amount && principal has balance && principal.balance + context.amount > 10 };
";

/// Something that the store knows and nobody is told.
const SECRET: i64 = 123_456;

fn bank() -> Fixture {
    let fixture = Fixture::empty();
    fixture.write("schema.cedarschema", SCHEMA);
    fixture.write("policies.cedar", POLICIES);
    let entities = json!([{ "uid": { "type": "User", "id": "alice" }, "attrs": { "balance": SECRET }, "parents": [] }]);
    fixture.write("entities.json", &entities.to_string());
    fixture
}

fn payment(context: &Value) -> Value {
    json!({
        "subject": { "type": "User", "id": "alice" }, "action": { "name": "pay" },
        "resource": { "type": "Doc", "id": "d" }, "context": context,
    })
}

fn log_of(fixture: &Fixture) -> String {
    std::fs::read_to_string(fixture.folder.path().join("log.jsonl")).unwrap()
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_the_values_that_it_was_computed_with() {
    let mut fixture = bank();
    fixture.config.decision_log = LineTarget::File("log.jsonl".into());
    let pdp = fixture.open();
    let context = json!({ "amount": i64::MAX });
    let (_, _, answer) = post(&pdp, ONE, payment(&context).to_string()).await;
    assert_eq!(answer["decision"], false);
    let native = json!({ "principal": "User::\"alice\"", "action": "Action::\"pay\"",
        "resource": "Doc::\"d\"", "context": context });
    let (status, _, native) = post(&pdp, "/cedar/v1/authorize", native.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        native["errors"],
        json!([{ "policy": "pay", "message": "integer overflow" }])
    );
    drop(pdp);
    let log = log_of(&fixture);
    assert_eq!(log.matches("integer overflow").count(), 2, "{log}");
    for text in [answer.to_string(), native.to_string(), log] {
        assert!(!text.contains(&SECRET.to_string()), "{text}");
    }
}

#[tokio::test]
async fn what_is_left_open_is_told_to_those_who_may_know_it() {
    let mut fixture = bank();
    fixture.config.residuals_without_callers = false;
    let mut known = bank();
    let asked = json!({ "principal": "User::\"alice\"", "action": "Action::\"pay\"",
        "resource": { "type": "Doc" }, "dialect": "sqlite", "context": {} });
    let pdp = fixture.open();
    for path in ["/cedar/v1/partial", "/cedar/v1/filter"] {
        let (status, _, body) = post(&pdp, path, asked.to_string()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    }
    let caller = |name: &str, residuals| CallerConfig {
        name: name.into(),
        api_key: Some(service_kit::Secret::new(format!("{name}-0123456789abcdef"))),
        residuals,
        ..CallerConfig::default()
    };
    known.config.callers = vec![caller("plain", false), caller("trusted", true)];
    let pdp = known.open();
    for (name, status) in [
        ("plain", StatusCode::FORBIDDEN),
        ("trusted", StatusCode::OK),
    ] {
        let request = axum::http::Request::post("/cedar/v1/partial")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {name}-0123456789abcdef"))
            .body(axum::body::Body::from(asked.to_string()))
            .unwrap();
        let answer = pdp.api().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{name}");
    }
}

#[tokio::test]
async fn what_is_long_is_repeated_neither_in_answers_nor_in_the_log() {
    let mut fixture = bank();
    fixture.config.decision_log = LineTarget::File("log.jsonl".into());
    let pdp = fixture.open();
    let long = "x".repeat(100_000);
    let mut bodies = Vec::new();
    for (part, name) in [
        ("subject", "type"),
        ("subject", "id"),
        ("action", "name"),
        ("resource", "id"),
    ] {
        let mut body = payment(&json!({}));
        body[part][name] = long.clone().into();
        bodies.push(body);
    }
    bodies.push(payment(&json!({ "ignored": long })));
    let mut body = payment(&json!({}));
    body["subject"]["properties"] = json!({ "ignored": [long] });
    bodies.push(body);
    for mut body in bodies {
        body["evaluations"] = json!(vec![json!({}); 50]);
        let (status, _, answer) = post(&pdp, MANY, body.to_string()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["evaluations"].as_array().unwrap().len(), 50);
        assert!(answer.to_string().len() < 60_000);
    }
    drop(pdp);
    let log = log_of(&fixture);
    assert_eq!(log.lines().count(), 300);
    assert!(log.len() < 300 * 1000, "{}", log.len());
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let left_out = &last["subject"]["properties"]["[left out, bytes]"];
    assert!(
        left_out.as_u64().is_some_and(|bytes| bytes > 100_000),
        "{last}"
    );
}

#[tokio::test]
async fn a_batch_that_takes_long_lets_others_have_their_turn() {
    let pdp = bank().open();
    let tags: Vec<String> = (0..1500).map(|n| format!("tag-{n}")).collect();
    let many = async |pdp: Pdp, path: &str, body: Value| post(&pdp, path, body.to_string()).await;
    let entries = |one: Value| json!(vec![one; 40]);
    let mut plain = payment(&json!({ "tags": tags }));
    plain["evaluations"] = entries(json!({ "action": { "name": "pay" } }));
    let native = json!({ "principal": "User::\"alice\"", "action": "Action::\"pay\"",
        "resource": "Doc::\"d\"", "context": { "tags": tags }, "requests": entries(json!({})) });
    for (path, body) in [(MANY, plain), ("/cedar/v1/authorize/batch", native)] {
        let mut batch = std::pin::pin!(many(pdp.clone(), path, body));
        let mut between = 0;
        let answer = loop {
            // One thread: where the batch does not let go, nothing is answered before it ends.
            tokio::select! {
                biased;
                answer = &mut batch => break answer,
                () = tokio::task::yield_now() => {}
            }
            let (status, ..) = post(&pdp, ONE, payment(&json!({})).to_string()).await;
            assert_eq!(status, StatusCode::OK);
            between += 1;
        };
        assert_eq!(answer.0, StatusCode::OK, "{path}");
        assert!(between >= 5, "{path}: {between}");
    }
}

#[tokio::test]
async fn nesting_that_no_stack_takes_is_refused_when_it_is_configured() {
    for (depth, is_good) in [(0, false), (1, true), (100, true), (101, false)] {
        let mut fixture = bank();
        fixture.config.max_json_depth = depth;
        assert_eq!(fixture.try_open().is_ok(), is_good, "{depth}");
        let issues = fixture.config.check(fixture.folder.path());
        assert_eq!(issues.is_empty(), is_good, "{issues:?}");
    }
    let mut fixture = bank();
    fixture.config.max_json_depth = 100;
    let pdp = fixture.open();
    let deep = format!("{}{}", "[".repeat(98), "]".repeat(98));
    let asked = format!(
        r#"{{"principal":"User::\"alice\"","action":"Action::\"pay\"","resource":"Doc::\"d\"","context":{{"tags":{deep}}}}}"#
    );
    let (status, _, body) = post(&pdp, "/cedar/v1/authorize", asked).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn many_policies_are_no_reason_to_decide_every_candidate() {
    let fixture = bank();
    let policies: Vec<String> = (0..1500)
        .map(|n| format!("@id(\"p{n}\") permit (principal, action, resource) when {{ resource.owner == principal && resource.n > {n} }};\n"))
        .collect();
    fixture.write("policies.cedar", &policies.concat());
    let docs: Vec<Value> = (0..400)
        .map(|n| {
            let owner = if n % 100 == 0 { "alice" } else { "bob" };
            json!({ "uid": { "type": "Doc", "id": format!("d{n}") }, "parents": [],
                "attrs": { "owner": { "__entity": { "type": "User", "id": owner } }, "n": 5 } })
        })
        .collect();
    fixture.write("entities.json", &json!(docs).to_string());
    let pdp = fixture.open();
    let request = payment(&json!({}));
    assert!(EvaluationRequest::from_json(request.to_string().as_bytes()).is_ok());
    let (status, _, found) = post(&pdp, "/access/v1/search/resource", request.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    assert_eq!(found["results"].as_array().unwrap().len(), 4, "{found}");
    let metrics = fixture.metrics.render();
    assert!(
        metrics.contains("pdp_search_decisions_total 4"),
        "{metrics}"
    );
}
