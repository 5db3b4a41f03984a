//! The Cedar API to the letter, through the whole router.

use ::http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::http::tests::post;
use crate::{EntityRight, InlineEntities, Pdp};

const AUTHORIZE: &str = "/cedar/v1/authorize";

async fn ask(pdp: &Pdp, path: &str, body: &Value) -> (StatusCode, Value) {
    let (status, _, body) = post(pdp, path, body.to_string()).await;
    (status, body)
}

fn question() -> Value {
    json!({ "principal": { "type": "User", "id": "ben" }, "action": "Action::\"read\"",
        "resource": "Doc::\"d1\"", "context": {} })
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

#[tokio::test]
async fn a_question_is_decided_in_cedars_words() {
    let pdp = Fixture::new().open();
    let (status, answer) = ask(&pdp, AUTHORIZE, &question()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["decision"], "Allow");
    assert_eq!(answer["determining"], json!(["owner-reads"]));
    assert_eq!(answer["errors"], json!([]));
    let (_, answer) = ask(
        &pdp,
        AUTHORIZE,
        &with(question(), "principal", json!("User::\"x\"")),
    )
    .await;
    // A `forbid` looks at a name that nobody knows.
    assert_eq!(answer["decision"], "Deny");
    assert_eq!(answer["errors"][0]["policy"], "barred");
}

#[tokio::test]
async fn what_cannot_be_a_question_is_refused_by_name() {
    let pdp = Fixture::new().open();
    for (name, value, says) in [
        ("principal", json!("User:ben"), "`principal`"),
        ("principal", json!(7), "`principal`"),
        ("principal", json!({ "type": "User" }), "`principal`"),
        ("action", Value::Null, "`action`"),
        ("action", json!("Action::\"fly\""), "fly"),
        (
            "context",
            json!({ "tries": "three" }),
            "`context.tries`: it must be a whole number, and a string was sent",
        ),
        (
            "context",
            json!({ "tries": 1.5 }),
            "`context.tries`: it must be a whole number of 64 bits, and 1.5 was sent",
        ),
        (
            "context",
            json!({ "unheard": 1 }),
            "`context.unheard`: the schema does not declare it",
        ),
        ("context", json!([]), "`context`: it must be an object"),
        ("resource", json!("Color::\"red\""), "`request`"),
    ] {
        let (status, problem) = ask(&pdp, AUTHORIZE, &with(question(), name, value)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_context_that_does_not_fit_is_no_policys_fault_where_a_side_is_open() {
    let mut fixture = Fixture::new();
    fixture.config.filters = Some("tables.yaml".into());
    fixture.write("tables.yaml", MAPPING);
    let pdp = fixture.open();
    let open = with(question(), "resource", json!({ "type": "Doc" }));
    let open = with(open, "action", json!("Action::\"delete\""));
    let open = with(open, "dialect", json!("sqlite"));
    for (context, says) in [
        (json!({}), "`context.action`: is missing"),
        (json!({ "action": {} }), "`context.reason`: is missing"),
        (
            json!({ "action": { "soft": 1 }, "reason": "x" }),
            "`context.action.soft`: it must be a boolean, and 1 was sent",
        ),
    ] {
        for path in ["/cedar/v1/partial", "/cedar/v1/filter"] {
            let asked = with(open.clone(), "context", context.clone());
            let (status, problem) = ask(&pdp, path, &asked).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
            assert_eq!(problem["detail"], says);
        }
    }
}

#[tokio::test]
async fn a_batch_answers_each_by_itself_and_in_order() {
    let pdp = Fixture::new().open();
    let mut body = question();
    let own = json!([{}, { "resource": "Doc::\"none\"" }, { "action": 5 }, 7, { "principal": "User::\"ann\"" }]);
    body["requests"] = own;
    let (status, answer) = ask(&pdp, "/cedar/v1/authorize/batch", &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let decisions: Vec<_> = answer["responses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["decision"])
        .collect();
    assert_eq!(decisions, ["Allow", "Deny", "Deny", "Deny", "Allow"]);
    assert!(
        answer["responses"][2]["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("`action`")
    );
    let (status, _) = ask(&pdp, "/cedar/v1/authorize/batch", &question()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

fn user(id: &str, team: &str) -> Value {
    json!({ "uid": { "type": "User", "id": id }, "attrs": { "name": id },
        "parents": [{ "type": "Team", "id": team }] })
}

fn team(id: &str, parent: &str) -> Value {
    json!({ "uid": { "type": "Team", "id": id }, "attrs": {},
        "parents": [{ "type": "Team", "id": parent }] })
}

#[tokio::test]
async fn entities_come_along_only_as_far_as_is_allowed() {
    let mut fixture = Fixture::new();
    fixture.write(
        "more.cedar",
        r#"@id("top") permit (principal in Team::"top", action, resource);"#,
    );
    let guest = with(question(), "principal", json!("User::\"guest\""));
    let come_along = json!([
        user("guest", "low"),
        team("low", "middle"),
        team("middle", "top")
    ]);
    let asked = with(guest.clone(), "entities", come_along);
    let (status, _) = ask(&fixture.open(), AUTHORIZE, &asked).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    fixture.config.inline_entities = InlineEntities::Add;
    fixture.config.entities_without_callers = EntityRight::Read;
    fixture.metrics = service_kit::Metrics::new();
    let pdp = fixture.open();
    let (_, answer) = ask(&pdp, AUTHORIZE, &asked).await;
    assert_eq!(
        answer["determining"],
        json!(["top"]),
        "the hierarchy is closed: {answer}"
    );
    let (_, answer) = ask(&pdp, AUTHORIZE, &guest).await;
    assert_eq!(answer["decision"], "Deny", "for one question only");
    for (entities, says) in [
        (json!([user("ben", "top")]), "holds"),
        (
            json!([team("low", "middle"), team("middle", "low")]),
            "in itself",
        ),
        (
            json!([{ "uid": { "type": "User", "id": "z" }, "attrs": {}, "parents": [] }]),
            "`entities[0].attrs.name`: is missing",
        ),
        (
            json!([team("a", "b"), { "uid": { "type": "User", "id": "z" }, "attrs": { "name": null }, "parents": [] }]),
            "`entities[1].attrs.name`: it must be a string, and nothing was sent",
        ),
    ] {
        let (status, problem) =
            ask(&pdp, AUTHORIZE, &with(guest.clone(), "entities", entities)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
    }
    fixture.config.inline_entities = InlineEntities::Override;
    fixture.metrics = service_kit::Metrics::new();
    let own = with(question(), "entities", json!([user("ben", "top")]));
    let (_, answer) = ask(&fixture.open(), AUTHORIZE, &own).await;
    assert_eq!(answer["determining"], json!(["top", "owner-reads"]));
}

#[tokio::test]
async fn whoever_may_not_read_entities_is_not_told_which_are_stored() {
    let mut fixture = Fixture::new();
    fixture.config.inline_entities = InlineEntities::Add;
    fixture.write(
        "more.cedar",
        r#"@id("top") permit (principal in Team::"top", action, resource);"#,
    );
    let mut entities: Value = serde_json::from_str(crate::fixture::ENTITIES).unwrap();
    entities.as_array_mut().unwrap().push(team("stored", "up"));
    fixture.write("entities.json", &entities.to_string());
    let pdp = fixture.open();
    let own = |name: &str| team(name, name);
    let wrong = |id: &str| with(user(id, "t"), "attrs", json!({ "name": 7 }));
    for (stored, other) in [
        (json!([user("ann", "top")]), json!([user("new", "top")])),
        (
            json!([user("ann", "a"), user("ann", "b")]),
            json!([user("new", "a"), user("new", "b")]),
        ),
        (json!([wrong("ann")]), json!([wrong("new")])),
        (json!([own("stored")]), json!([own("other")])),
        (
            json!([user("ann", "x"), own("x")]),
            json!([user("new", "x"), own("x")]),
        ),
    ] {
        let mut seen = Vec::new();
        for entities in [stored, other] {
            let (status, mut answer) =
                ask(&pdp, AUTHORIZE, &with(question(), "entities", entities)).await;
            answer["id"] = Value::Null;
            let detail = answer["detail"]
                .to_string()
                .replace("ann", "new")
                .replace("stored", "other");
            answer["detail"] = detail.into();
            seen.push((status, answer));
        }
        assert_eq!(seen[0], seen[1]);
    }
    // And the store is not talked down.
    let asked = with(question(), "principal", json!("User::\"ann\""));
    let asked = with(asked, "resource", json!("Doc::\"none\""));
    let asked = with(asked, "entities", json!([user("ann", "top")]));
    let (status, answer) = ask(&pdp, AUTHORIZE, &asked).await;
    assert_eq!(
        (status, &answer["decision"]),
        (StatusCode::OK, &json!("Deny"))
    );
}

#[tokio::test]
async fn of_a_type_whose_requests_are_ignored_nothing_comes_along() {
    for inline in [InlineEntities::Add, InlineEntities::Override] {
        let mut fixture = Fixture::new();
        fixture.config.inline_entities = inline;
        let ignored = [("user".to_owned(), crate::RequestProperties::Ignore)];
        fixture.config.request_properties = ignored.into();
        let pdp = fixture.open();
        let own = with(question(), "entities", json!([user("zoe", "top")]));
        let (status, problem) = ask(&pdp, AUTHORIZE, &own).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("only the store says"), "{detail}");
        let other = with(question(), "entities", json!([team("a", "b")]));
        assert_eq!(ask(&pdp, AUTHORIZE, &other).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_long_hierarchy_may_come_along_but_no_circle_however_long() {
    let mut fixture = Fixture::new();
    fixture.config.inline_entities = InlineEntities::Add;
    let pdp = fixture.open();
    let chain = |last: usize| -> Vec<Value> {
        let up = |n: usize| if n == 2999 { last } else { n + 1 };
        let team = |n: usize| team(&format!("c{n}"), &format!("c{}", up(n)));
        (0..3000).map(team).collect()
    };
    for (last, status) in [(3000, StatusCode::OK), (0, StatusCode::BAD_REQUEST)] {
        let mut teams = chain(last);
        for _ in 0..2 {
            let asked = with(question(), "entities", json!(teams));
            let (actual, answer) = ask(&pdp, AUTHORIZE, &asked).await;
            assert_eq!(actual, status, "{answer}");
            teams.reverse();
        }
    }
}

#[tokio::test]
async fn residual_policies_say_what_is_left() {
    let pdp = Fixture::new().open();
    let open = with(question(), "resource", json!({ "type": "Doc" }));
    let (status, answer) = ask(&pdp, "/cedar/v1/partial", &open).await;
    assert_eq!(
        (status, &answer["decision"]),
        (StatusCode::OK, &Value::Null),
        "{answer}"
    );
    let left = answer["residuals"].as_array().unwrap();
    let names: Vec<_> = left
        .iter()
        .map(|one| one["policy"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["owner-reads", "managers-read", "public"]);
    assert!(
        left[0]["residual"]
            .as_str()
            .unwrap()
            .contains("resource.owner == User::\"ben\""),
        "{answer}"
    );
    assert_eq!(left[0]["json"]["effect"], "permit");
    assert_eq!(
        answer["cache"],
        Value::Null,
        "as long as the snapshot decides"
    );
    let nobody = with(open, "action", json!("Action::\"delete\""));
    let nobody = with(nobody, "context", json!({ "reason": "old", "action": {} }));
    let (_, answer) = ask(&pdp, "/cedar/v1/partial", &nobody).await;
    assert_eq!(answer["residuals"], json!([]), "{answer}");
    assert_eq!(answer["decision"], "Deny");
    let (status, _) = ask(&pdp, "/cedar/v1/partial", &question()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "nothing is open");
}

const MAPPING: &str = "entities:\n  Doc:\n    table: docs\n    id: id\n    attributes:\n      owner: { column: owner_id }\n";

#[tokio::test]
async fn a_filter_binds_what_it_compares_and_refuses_what_it_cannot_say() {
    let mut fixture = Fixture::new();
    let open = with(question(), "resource", json!({ "type": "Doc" }));
    let asked = with(open, "dialect", json!("postgresql"));
    let (status, _) = ask(&fixture.open(), "/cedar/v1/filter", &asked).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "no mapping");
    fixture.write("tables.yaml", MAPPING);
    fixture.config.filters = Some("tables.yaml".into());
    fixture.metrics = service_kit::Metrics::new();
    let pdp = fixture.open();
    let (status, problem) = ask(&pdp, "/cedar/v1/filter", &asked).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        problem["detail"],
        "policy `managers-read` cannot be put into SQL exactly: the mapping has no entity type `User`"
    );
    fixture.write("policies.cedar", r#"@id("own") permit (principal, action, resource) when { resource has owner && resource.owner == principal };"#);
    fixture.metrics = service_kit::Metrics::new();
    let pdp = fixture.open();
    let (status, answer) = ask(&pdp, "/cedar/v1/filter", &asked).await;
    assert_eq!(
        (status, &answer["decision"]),
        (StatusCode::OK, &json!("conditional")),
        "{answer}"
    );
    assert!(
        answer["where"]
            .as_str()
            .unwrap()
            .contains("\"t\".\"owner_id\" = $1::text"),
        "{answer}"
    );
    assert_eq!(answer["binds"], json!([{ "type": "text", "value": "ben" }]));
    for (name, value) in [
        ("alias", json!("t\"; DROP")),
        ("dialect", json!("mysql")),
        ("context", Value::Null),
    ] {
        let (status, _) = ask(&pdp, "/cedar/v1/filter", &with(asked.clone(), name, value)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}");
    }
}

#[test]
fn a_mapping_that_contradicts_the_schema_is_refused_at_start() {
    let mut fixture = Fixture::new();
    fixture.config.filters = Some("tables.yaml".into());
    for (text, says) in [
        (
            MAPPING.replace("Doc", "Dok"),
            "entities.Dok: the schema has no such entity type",
        ),
        (
            MAPPING.replace("owner:", "ovner:"),
            "attributes.ovner: the schema has no such attribute",
        ),
        (MAPPING.replace("owner:", "price:"), "only a boolean"),
        (MAPPING.replace("owner_id", "\"a\\\"b\""), "not the name"),
        (MAPPING.replace("table:", "tabel:"), "tabel"),
    ] {
        fixture.write("tables.yaml", &text);
        let error = fixture.try_open().unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("tables.yaml"),
            "{error}"
        );
    }
}
