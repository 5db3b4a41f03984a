//! The time of a decision: comparisons hold for as long as they say, and everybody knows it.

use authzen::EvaluationRequest;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

use super::*;
use crate::Pdp;
use crate::config::ExplainRight;
use crate::fixture::{Fixture, answer, ask};
use crate::http::tests::post;

#[test]
fn a_time_is_the_same_in_cedars_words() {
    for at in [0, 1, 1_700_000_000_123] {
        let value = datetime(UnixTime::from_millis(at)).unwrap();
        assert_eq!(millis(&value), i64::try_from(at).ok());
    }
    assert_eq!(millis(&Value::from(3)), None);
}

#[test]
fn a_comparison_holds_for_exactly_as_long_as_is_said() {
    let compare = |op, now: i64, other: i64, now_is_left| match (op, now_is_left) {
        (BinaryOp::Less, true) => now < other,
        (BinaryOp::Less, false) => other < now,
        (_, true) => now <= other,
        (_, false) => other <= now,
    };
    for op in [BinaryOp::Less, BinaryOp::LessEq] {
        for left in [true, false] {
            for now in -3..=3 {
                for other in -3..=3_i64 {
                    let at_first = compare(op, now, other, left);
                    let turned =
                        (1..20).find(|passed| compare(op, now + passed, other, left) != at_first);
                    let said = turns_in(op, now, other, left);
                    assert_eq!(
                        said,
                        turned.map(i64::unsigned_abs),
                        "{op:?} {left} {now} {other}"
                    );
                }
            }
        }
    }
    assert_eq!(turns_in(BinaryOp::Less, i64::MIN, i64::MAX, true), None);
}

const SCHEMA: &str = "
entity User;
entity Doc { expires: datetime };
action read, write appliesTo { principal: User, resource: Doc, context: { now: datetime, tries?: Long } };
action list appliesTo { principal: User, resource: Doc };
";

/// What the fixture's clock says.
const NOW: u64 = 1_700_000_000_000;

fn fixture(policies: &str) -> Fixture {
    let mut fixture = Fixture::empty();
    fixture.config.clock = Some("now".into());
    fixture.config.explain_without_callers = ExplainRight::Full;
    fixture.write("schema.cedarschema", SCHEMA);
    fixture.write("policies.cedar", policies);
    fixture.write(
        "entities.json",
        r#"[{"uid": {"type": "Doc", "id": "d"}, "attrs": {"expires": "2023-11-14T22:13:30Z"}, "parents": []}]"#,
    );
    fixture
}

fn question(action: &str, context: &Json) -> Json {
    json!({ "subject": { "type": "User", "id": "u" }, "action": { "name": action },
        "resource": { "type": "Doc", "id": "d" }, "context": context })
}

async fn max_age(pdp: &Pdp, question: Json) -> (bool, Option<u64>) {
    let answer = ask(pdp, &question).await.unwrap();
    let cache = answer.context.cache.unwrap();
    (answer.decision.is_permit(), cache.max_age)
}

#[tokio::test]
async fn what_is_left_says_where_it_may_not_hold() {
    let mut fixture = fixture(
        "@id(\"hours\") permit (principal, action == Action::\"read\", resource)
         when { context.now < datetime(\"2023-11-15\") };
         @id(\"write\") permit (principal, action == Action::\"write\", resource);
         @id(\"list\") permit (principal, action == Action::\"list\", resource);",
    );
    let table = "entities:\n  Doc:\n    table: docs\n    id: id\n";
    fixture.write("tables.yaml", table);
    fixture.config.filters = Some("tables.yaml".into());
    fixture.config.residuals_without_callers = true;
    let pdp = fixture.open();
    let now = json!({ "max_age": 0 });
    for (action, context, partial, filter) in [
        ("read", json!({}), &now, &now),
        // It could look at the clock, and does not.
        ("write", json!({}), &Json::Null, &Json::Null),
        ("list", json!({}), &Json::Null, &Json::Null),
        // Not known, so that what is left still asks for the time.
        ("read", Json::Null, &Json::Null, &Json::Null),
    ] {
        let asked = json!({ "principal": "User::\"u\"", "action": format!("Action::\"{action}\""),
            "resource": { "type": "Doc" }, "context": context, "dialect": "sqlite" });
        let (_, _, left) = post(&pdp, "/cedar/v1/partial", asked.to_string()).await;
        assert_eq!(left["cache"], *partial, "{left}");
        assert_eq!(left["residuals"].as_array().unwrap().len(), 1, "{left}");
        let (status, _, rows) = post(&pdp, "/cedar/v1/filter", asked.to_string()).await;
        assert_eq!(status == 200, !context.is_null(), "{rows}");
        assert_eq!(rows["cache"], *filter, "{rows}");
    }
}

#[tokio::test]
async fn an_answer_says_how_long_it_holds() {
    // It is 22:13:20.
    let pdp = fixture(
        "@id(\"hours\") permit (principal, action == Action::\"read\", resource)
         when { context.now < datetime(\"2023-11-15\") };
         @id(\"expires\") forbid (principal, action == Action::\"read\", resource)
         when { context has tries && resource.expires <= context.now };
         @id(\"days\") permit (principal, action == Action::\"write\", resource)
         when { context.now.toDate() == datetime(\"2023-11-14\") };
         @id(\"list\") permit (principal, action == Action::\"list\", resource);",
    )
    .open();
    let read = |context: Json| max_age(&pdp, question("read", &context));
    assert_eq!(read(json!({})).await, (true, Some(6399)));
    // Only who tries is told that it expires; in ten seconds it is turned around, and holds for nine whole ones.
    assert_eq!(read(json!({ "tries": 1 })).await, (true, Some(9)));
    // What it says itself is not believed.
    let past = json!({ "now": "2030-01-01" });
    assert_eq!(read(past).await, (true, Some(6399)));
    // What is made of the time may be another thing at once.
    let write = max_age(&pdp, question("write", &json!({}))).await;
    assert_eq!(write, (true, Some(0)));
    let list = max_age(&pdp, question("list", &json!({}))).await;
    assert_eq!(list, (true, None));
    // In Cedar's words it is no other answer.
    let native = async |action: &str| {
        let asked = json!({ "principal": "User::\"u\"", "action": { "type": "Action", "id": action },
            "resource": "Doc::\"d\"", "context": {} });
        let (_, _, said) = post(&pdp, "/cedar/v1/authorize", asked.to_string()).await;
        said["cache"].clone()
    };
    let vary =
        |context: Json| json!({ "subject": [], "action": [], "resource": [], "context": context });
    assert_eq!(
        native("read").await,
        json!({ "vary": vary(json!(["tries"])), "max_age": 6399 })
    );
    assert_eq!(
        native("write").await,
        json!({ "vary": vary(json!([])), "max_age": 0 })
    );
    assert_eq!(native("list").await, json!({ "vary": vary(json!([])) }));
    // What is published cannot say for how long an answer holds.
    let snapshot = pdp.0.snapshot.load_full();
    let published: Vec<Json> = snapshot
        .contracts
        .iter()
        .map(|contract| serde_json::to_value(contract).unwrap())
        .collect();
    let of = |action: &str| {
        published
            .iter()
            .find(|one| one["action"] == action)
            .unwrap()
    };
    assert_eq!(of("read")["max_age"], 0);
    assert_eq!(of("read")["vary"]["context"], json!(["tries"]));
    assert_eq!(of("list").get("max_age"), None);
}

#[tokio::test]
async fn everybody_who_decides_knows_the_time() {
    let pdp = fixture(
        "@id(\"hours\") permit (principal, action == Action::\"read\", resource)
         when { context.now < datetime(\"2023-11-15\") };",
    )
    .open();
    let whole = question("read", &json!({}));
    let mut search = whole.clone();
    search["resource"] = json!({ "type": "Doc" });
    let (_, _, found) = post(&pdp, "/access/v1/search/resource", search.to_string()).await;
    assert_eq!(found["results"], json!([{ "type": "Doc", "id": "d" }]));
    let mut search = whole.clone();
    search.as_object_mut().unwrap().remove("action");
    let (_, _, found) = post(&pdp, "/access/v1/search/action", search.to_string()).await;
    assert_eq!(found["results"], json!([{ "name": "read" }]));
    let (_, _, told) = post(&pdp, "/cedar/v1/explain", whole.to_string()).await;
    assert_eq!(told["explanation"]["outcome"], "permitted", "{told}");
    let native = json!({ "principal": "User::\"u\"", "action": "Action::\"read\"",
        "resource": "Doc::\"d\"", "context": {} });
    let (_, _, said) = post(&pdp, "/cedar/v1/authorize", native.to_string()).await;
    assert_eq!(said["decision"], "Allow", "{said}");
}

#[test]
fn a_clock_that_no_context_has_is_refused() {
    let mut fixture = fixture("@id(\"x\") permit (principal, action, resource);");
    fixture.config.clock = Some("time".into());
    let refused = fixture.try_open().unwrap_err().to_string();
    assert!(refused.contains("`pdp.clock` is `time`"), "{refused}");
    assert!(refused.contains("context: { time: datetime }"), "{refused}");
}

/// A comparison of the time with another that is `away` milliseconds from now.
fn comparison() -> impl Strategy<Value = String> {
    let at = prop_oneof![-3000..3000_i64, -10..10_i64];
    let other = (at, select(vec!["read", "made", "attribute"])).prop_map(|(away, form)| {
        let at = UnixTime::from_millis(NOW.saturating_add_signed(away)).rfc3339();
        match form {
            "read" => format!("datetime(\"{at}\")"),
            "made" => format!("datetime(\"{at}\").offset(duration(\"1s\"))"),
            _ => "resource.expires".to_owned(),
        }
    });
    let op = select(vec!["<", "<=", ">", ">="]);
    (other, op, any::<bool>()).prop_map(|(other, op, turned)| {
        if turned {
            format!("{other} {op} context.now")
        } else {
            format!("context.now {op} {other}")
        }
    })
}

fn conditions() -> impl Strategy<Value = String> {
    let few = proptest::collection::vec((comparison(), any::<bool>()), 1..4);
    few.prop_map(|parts| {
        let mut text = String::new();
        for (at, (part, and)) in parts.iter().enumerate() {
            let joined = if *and { " && " } else { " || " };
            text = if at == 0 {
                format!("({part})")
            } else {
                format!("({text}{joined}!({part}))")
            };
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn an_answer_holds_for_as_long_as_it_says(
        permit in conditions(), forbid in conditions(), later in proptest::collection::vec(0..1_000_000_u64, 4)
    ) {
        let fixture = fixture(&format!(
            "@id(\"p\") permit (principal, action, resource) when {{ context has now && {permit} }};
             @id(\"f\") forbid (principal, action, resource) when {{ context has now && {forbid} }};"
        ));
        // `list` has no time, and its context is not read.
        let snapshot = fixture.open().0.snapshot.load_full();
        let asked = question("read", &json!({})).to_string();
        let request = EvaluationRequest::from_json(asked.as_bytes()).unwrap();
        let at = |millis: u64| {
            let now = UnixTime::from_millis(NOW + millis);
            let answered = answer(&snapshot, &request, now).unwrap();
            let (question, verdict) = *answered.decided.unwrap();
            assert_eq!(verdict, snapshot.by_cedar(&question).unwrap());
            (verdict, answered.answer.cache.unwrap().max_age)
        };
        let (now, holds) = at(0);
        let native = |question| {
            let answered = snapshot.decide_native(question, false, crate::answer::Id::NONE, true);
            let answered = answered.unwrap();
            (answered.decided.unwrap().1, answered.answer.cache.unwrap().max_age)
        };
        let whole = |millis: u64| {
            let now = UnixTime::from_millis(NOW + millis);
            answer(&snapshot, &request, now).unwrap().decided.unwrap().0
        };
        prop_assert_eq!(native(whole(0)), (now.clone(), holds));
        for later in later {
            let millis = holds.map_or(later, |seconds| later % (seconds * 1000 + 1));
            prop_assert_eq!(&at(millis).0, &now, "in {} ms, holds {:?} s", millis, holds);
        }
        // And not for much less: a second and a bit later, or never, it is another answer's turn.
        if let Some(seconds) = holds {
            prop_assert!(seconds <= 4 || seconds == 9 || seconds == 10, "{}", seconds);
        }
    }
}
