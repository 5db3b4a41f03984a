//! What becomes of types, actions, properties and context on their way to Cedar.

mod sets;

use std::sync::OnceLock;

use authzen::{Decision, DecisionError, Evaluation, EvaluationRequest};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{self, Fixture, ask};
use crate::snapshot::Snapshot;
use crate::{Pdp, RequestProperties};

const READ: &str = "GET /docs/{id}";

fn question(subject: &Value, action: &Value, resource: &Value, context: &Value) -> Value {
    json!({ "subject": subject, "action": action, "resource": resource, "context": context })
}

fn read(subject: &str, properties: &Value, document: &Value, context: &Value) -> Value {
    question(
        &json!({ "type": "user", "id": subject, "properties": properties }),
        &json!({ "name": READ }),
        &json!({ "type": "urn:x:doc", "id": "d2", "properties": document }),
        context,
    )
}

fn message(evaluation: &Evaluation) -> String {
    evaluation
        .context
        .error
        .as_ref()
        .map_or_else(String::new, |error| {
            error["message"].as_str().unwrap().to_owned()
        })
}

async fn decide(question: &Value) -> Evaluation {
    ask(&Fixture::new().open(), question).await.unwrap()
}

#[tokio::test]
async fn names_on_the_wire_are_those_of_the_annotations() {
    let own = json!({ "owner": "ann" });
    let answer = decide(&read("ann", &json!({}), &own, &json!({}))).await;
    assert_eq!(answer.decision, Decision::Permit);
    assert_eq!(answer.context.reasons[0].policy, "owner-reads");
    assert_eq!(
        answer.context.reasons[0].reason.as_deref(),
        Some("it is theirs")
    );
    // An annotated name replaces the other: the table is reversible.
    let mut question = read("ann", &json!({}), &own, &json!({}));
    question["subject"]["type"] = json!("User");
    let answer = decide(&question).await;
    assert_eq!(answer.decision, Decision::Deny);
    assert_eq!(message(&answer), "the subject type `User` is not known");
}

#[tokio::test]
async fn what_the_schema_does_not_know_is_ignored_and_counted() {
    let fixture = Fixture::new();
    let pdp = fixture.open();
    let question = read(
        "ann",
        &json!({ "shoe_size": 44, "team": { "x": [1] }, "name": null }),
        &json!({ "owner": "ann", "address": 7 }),
        &json!({ "weather": "fine" }),
    );
    let answer = ask(&pdp, &question).await.unwrap();
    assert_eq!(answer.decision, Decision::Permit);
    let metrics = fixture.metrics.render();
    assert!(
        metrics.contains("pdp_unknown_attributes_total 4"),
        "{metrics}"
    );
}

/// A part of the question, what it holds, and the field that is to be named.
const WRONG: &[(&str, &str, &str)] = &[
    ("subject", r#"{"name": 7}"#, "subject.properties.name"),
    ("subject", r#"{"age": 1.5}"#, "subject.properties.age"),
    (
        "subject",
        r#"{"age": 9223372036854775808}"#,
        "subject.properties.age",
    ),
    (
        "subject",
        r#"{"nets": ["10.0.0.0/8", "x"]}"#,
        "subject.properties.nets.1",
    ),
    (
        "subject",
        r#"{"address": {"city": 1}}"#,
        "subject.properties.address.city",
    ),
    (
        "subject",
        r#"{"manager": {"type": "user"}}"#,
        "subject.properties.manager",
    ),
    (
        "subject",
        r#"{"manager": {"type": "urn:x:doc", "id": "d"}}"#,
        "subject.properties.manager",
    ),
    (
        "resource",
        r#"{"price": "1.23456"}"#,
        "resource.properties.price",
    ),
    ("resource", r#"{"owner": 1}"#, "resource.properties.owner"),
    (
        "resource",
        r#"{"public": "true"}"#,
        "resource.properties.public",
    ),
    ("context", r#"{"ip": "nowhere"}"#, "context.ip"),
    ("context", r#"{"at": "yesterday"}"#, "context.at"),
    ("context", r#"{"tries": true}"#, "context.tries"),
];

#[tokio::test]
async fn a_known_attribute_of_the_wrong_type_is_refused_by_name() {
    let fixture = Fixture::new();
    let pdp = fixture.open();
    for (part, text, field) in WRONG {
        let value: Value = serde_json::from_str(text).unwrap();
        let here = |name: &str| {
            if *part == name {
                value.clone()
            } else {
                json!({})
            }
        };
        let question = read("ann", &here("subject"), &here("resource"), &here("context"));
        let error = ask(&pdp, &question).await.unwrap_err();
        let DecisionError::Rejected { message } = error else {
            panic!("{error}");
        };
        assert!(
            message.contains(&format!("`{field}`")),
            "{field}: {message}"
        );
    }
}

#[tokio::test]
async fn values_of_every_declared_type_are_accepted() {
    let question = read(
        "ann",
        &json!({
            "name": "ann", "age": -5, "manager": { "type": "user", "id": "ben" },
            "nets": ["10.0.0.0/8", "::1"], "address": { "city": "x", "unknown": 1 },
        }),
        &json!({ "owner": "ann", "level": i64::MAX, "price": "1.5", "public": false }),
        &json!({ "ip": "10.1.2.3", "at": "2024-10-15", "tries": 0, "peer": "ben" }),
    );
    assert_eq!(decide(&question).await.decision, Decision::Permit);
}

#[tokio::test]
async fn unknown_types_actions_and_entities_are_a_plain_no() {
    let user = json!({ "type": "user", "id": "ann" });
    let document = json!({ "type": "urn:x:doc", "id": "d1" });
    let delete = json!({ "name": "delete" });
    for (subject, action, resource, expected) in [
        (
            json!({"type": "x", "id": "1"}),
            json!({"name": READ}),
            document.clone(),
            "the subject type `x` is not known",
        ),
        (
            user.clone(),
            json!({"name": "fly"}),
            document.clone(),
            "the action `fly` is not known",
        ),
        (
            user.clone(),
            json!({"name": READ}),
            json!({"type": "y", "id": "1"}),
            "the resource type `y` is not known",
        ),
        (
            user.clone(),
            delete.clone(),
            json!({"type": "Color", "id": "blue"}),
            "the resource `blue` of type `Color` is not known",
        ),
        (
            document.clone(),
            json!({"name": READ}),
            document.clone(),
            "the action `GET /docs/{id}` does not apply to the subject type `urn:x:doc`",
        ),
        (
            user.clone(),
            json!({"name": "reading"}),
            document.clone(),
            "the action `reading` does not apply to the subject type `user`",
        ),
    ] {
        let answer = decide(&question(&subject, &action, &resource, &json!({}))).await;
        assert_eq!(answer.decision, Decision::Deny, "{expected}");
        assert_eq!(message(&answer), expected);
        assert!(answer.context.snapshot.is_some() && answer.context.id.is_some());
    }
    // An entity that nobody stated is a question like any other.
    let answer = decide(&read(
        "nobody",
        &json!({"name": "n"}),
        &json!({}),
        &json!({}),
    ))
    .await;
    assert_eq!(
        (answer.decision, message(&answer)),
        (Decision::Deny, String::new())
    );
}

#[tokio::test]
async fn a_missing_required_context_attribute_denies_and_says_so() {
    let user = json!({ "type": "user", "id": "ann" });
    let document = json!({ "type": "urn:x:doc", "id": "d1" });
    let soft = json!({ "name": "delete", "properties": { "soft": true } });
    let answer = decide(&question(&user, &soft, &document, &json!({}))).await;
    assert_eq!(answer.decision, Decision::Deny);
    assert_eq!(message(&answer), "`context.reason` is missing");
}

#[tokio::test]
async fn action_properties_reach_the_reserved_record_and_the_context_cannot_fake_them() {
    let user = json!({ "type": "user", "id": "ann" });
    let document = json!({ "type": "urn:x:doc", "id": "d1" });
    let soft = json!({ "name": "delete", "properties": { "soft": true } });
    let hard = json!({ "name": "delete" });
    let why = json!({ "reason": "x" });
    let fake = json!({ "reason": "x", "action": { "soft": true } });
    let answer = decide(&question(&user, &soft, &document, &why)).await;
    assert_eq!(answer.decision, Decision::Permit);
    assert_eq!(
        serde_json::to_value(&answer.context.obligations).unwrap(),
        json!([{"id": "soft-delete", "type": "notify", "properties": {"to": ["owner"]}}])
    );
    for context in [&why, &fake] {
        let answer = decide(&question(&user, &hard, &document, context)).await;
        assert_eq!(
            (answer.decision, message(&answer)),
            (Decision::Deny, String::new())
        );
    }
}

#[tokio::test]
async fn a_required_attribute_that_nobody_knows_denies_where_a_forbid_needs_it() {
    // `barred` reads `principal.name`, which neither the store nor the question has.
    let answer = decide(&read(
        "zed",
        &json!({}),
        &json!({"owner": "zed"}),
        &json!({}),
    ))
    .await;
    assert_eq!(answer.decision, Decision::Deny);
    assert!(answer.context.reasons.is_empty());
    assert_eq!(
        message(&answer),
        "could not be evaluated: `barred`; missing: `subject.properties.name`"
    );
}

#[tokio::test]
async fn the_question_may_add_and_the_store_wins_unless_said_otherwise() {
    let mallory = read(
        "ben",
        &json!({"name": "mallory"}),
        &json!({"owner": "ben"}),
        &json!({}),
    );
    let mut fixture = Fixture::new();
    let stored = ask(&fixture.open(), &mallory).await.unwrap();
    assert_eq!(stored.decision, Decision::Permit);

    fixture = Fixture::new();
    fixture.config.request_properties = [("user".to_owned(), RequestProperties::Override)].into();
    let overridden = ask(&fixture.open(), &mallory).await.unwrap();
    assert_eq!(overridden.decision, Decision::Deny);
    assert_eq!(overridden.context.reasons[0].policy, "barred");
    assert_eq!(overridden.context.advice, [json!("ask somebody else")]);

    fixture = Fixture::new();
    fixture.config.request_properties =
        [("urn:x:doc".to_owned(), RequestProperties::Ignore)].into();
    let ignored = ask(&fixture.open(), &mallory).await.unwrap();
    assert_eq!(ignored.decision, Decision::Deny);
}

#[tokio::test]
async fn entities_behind_attributes_are_found() {
    // ann manages ben, who owns d1: two steps from the resource.
    let answer = decide(&question(
        &json!({ "type": "user", "id": "ann" }),
        &json!({ "name": READ }),
        &json!({ "type": "urn:x:doc", "id": "d1" }),
        &json!({}),
    ))
    .await;
    assert_eq!(answer.context.reasons[0].policy, "managers-read");
}

#[test]
fn a_setting_for_an_unknown_type_is_refused() {
    let mut fixture = Fixture::new();
    fixture.config.request_properties = [("User".to_owned(), RequestProperties::Ignore)].into();
    let error = fixture.try_open().unwrap_err().to_string();
    assert!(
        error.contains("`User`, which the schema does not know"),
        "{error}"
    );
}

#[tokio::test]
async fn obligations_of_every_determining_permit_apply() {
    let fixture = Fixture::new();
    fixture.write(
        "more.cedar",
        "@id(\"masked\") @obligation(\"mask fields=/ssn\") permit (principal, action, resource);",
    );
    let question = read("ann", &json!({}), &json!({"owner": "ann"}), &json!({}));
    let answer = ask(&fixture.open(), &question).await.unwrap();
    assert_eq!(answer.context.reasons.len(), 2);
    assert_eq!(answer.context.obligations[0].kind, "mask");
}

/// Any JSON, as deep as it matters here.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-z0-9.:/ ]{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("(type|id|city|zip|x)", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_members(names: &'static str) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(names, any_json(), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn answer(snapshot: &Snapshot, question: &Value) -> Result<Evaluation, DecisionError> {
    let request = EvaluationRequest::from_json(question.to_string().as_bytes()).unwrap();
    let answered = fixture::answer(snapshot, &request, service_kit::UnixTime::from_secs(0));
    answered.map(|answered| answered.answer.into())
}

proptest! {
    #[test]
    fn attributes_that_no_schema_knows_change_nothing(
        subject in any_members("zz[a-z]{1,3}"),
        document in any_members("zz[a-z]{1,3}"),
        context in any_members("zz[a-z]{1,3}"),
        id in proptest::sample::select(vec!["ann", "ben", "zed"]),
    ) {
        let pdp = SMALL.get_or_init(|| Fixture::new().open());
        let snapshot = pdp.0.snapshot.load();
        let plain = read(id, &json!({}), &json!({"owner": "ann"}), &json!({}));
        let mut more = read(id, &subject, &document, &context);
        more["resource"]["properties"]["owner"] = json!("ann");
        let (plain, more) = (answer(&snapshot, &plain).unwrap(), answer(&snapshot, &more).unwrap());
        prop_assert_eq!(plain, more);
    }

    #[test]
    fn any_properties_are_decided_or_refused_by_name(
        subject in any_members("(name|age|manager|nets|address|x)"),
        document in any_members("(owner|level|price|public|x)"),
        context in any_members("(ip|at|tries|peer|x)"),
    ) {
        let pdp = SMALL.get_or_init(|| Fixture::new().open());
        let question = read("zed", &subject, &document, &context);
        match answer(&pdp.0.snapshot.load(), &question) {
            Ok(_) => {}
            Err(DecisionError::Rejected { message }) => prop_assert!(message.contains("cannot be used")),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

static SMALL: OnceLock<Pdp> = OnceLock::new();

#[tokio::test]
async fn what_is_missing_is_said_of_what_questions_cannot_say_too() {
    for word in ["ignore", "add"] {
        let fixture = Fixture::empty();
        let schema = format!(
            "@request_properties(\"{word}\") entity User {{ level: Long, unread: Long }};\n\
             entity Doc;\n\
             action see appliesTo {{ principal: User, resource: Doc }};"
        );
        fixture.write("schema.cedarschema", &schema);
        fixture.write(
            "policies.cedar",
            "@id(\"p\") permit (principal, action, resource) when { principal.level > 3 };",
        );
        let asked = question(
            &json!({ "type": "User", "id": "u", "properties": { "unread": 1 } }),
            &json!({ "name": "see" }),
            &json!({ "type": "Doc", "id": "d" }),
            &json!({}),
        );
        let answer = ask(&fixture.open(), &asked).await.unwrap();
        let said = message(&answer);
        let missing = "could not be evaluated: `p`; missing: `subject.properties.level`";
        assert!(said.starts_with(missing), "{word}: {said}");
        // What no policy reads is told where it cannot be read from questions alone.
        assert_eq!(said.contains("unread"), word == "ignore", "{said}");
    }
}
