//! The contract names what matters: whatever it does not name may differ.

use authzen::{DecisionError, Evaluation, Vary};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::Pdp;
use crate::fixture::{Fixture, ask};
use crate::http::tests::post;
use crate::search::tests::{World, worlds};

fn of<'a>(contracts: &'a Contracts, names: (&str, &str, &str)) -> &'a Vary {
    let contract = contracts.iter().find(|contract| contract.kind() == names);
    contract.unwrap().vary()
}

#[test]
fn a_contract_names_what_the_policies_of_its_kind_read() {
    let pdp = Fixture::new().open();
    let snapshot = pdp.0.snapshot.load_full();
    let contracts = &snapshot.contracts;
    // owner-reads, managers-read, public, barred.
    let read = of(contracts, ("user", "GET /docs/{id}", "urn:x:doc"));
    // An `address` can be incomplete, which is refused whoever reads it.
    assert_eq!(read.subject, ["address", "manager", "name"]);
    assert_eq!(read.resource, ["owner", "public"]);
    assert_eq!(read.context, Vec::<String>::new());
    // soft-delete; `reason` is required, so that leaving it out denies.
    let delete = of(contracts, ("user", "delete", "urn:x:doc"));
    assert_eq!(delete.action, ["soft"]);
    assert_eq!(delete.context, ["reason"]);
    assert!(delete.subject.contains(&"address".to_owned()), "{delete:?}");
}

#[tokio::test]
async fn an_answer_names_what_was_read_to_find_it() {
    let pdp = Fixture::new().open();
    let asked = |subject: &str, properties: Value| {
        json!({ "subject": { "type": "user", "id": subject }, "action": { "name": "GET /docs/{id}" },
            "resource": { "type": "urn:x:doc", "id": "new", "properties": properties } })
    };
    let vary = async |question: Value| {
        let cache = ask(&pdp, &question).await.unwrap().context.cache.unwrap();
        cache.vary.unwrap()
    };
    // Without an owner, nobody looks at the owner's manager.
    let less = vary(asked("ben", json!({ "public": true }))).await;
    assert_eq!(less.subject, ["address", "name"]);
    assert_eq!(less.resource, ["owner", "public"]);
    let more = vary(asked(
        "ben",
        json!({ "owner": { "type": "user", "id": "amy" } }),
    ))
    .await;
    assert_eq!(more.subject, ["address", "manager", "name"]);
    // The same again is the same list, not another one.
    let again = vary(asked("ben", json!({ "public": false }))).await;
    assert!(std::sync::Arc::ptr_eq(&less, &again));
}

/// Members beyond those of a world, each there or not.
fn extras() -> impl Strategy<Value = Value> {
    let user = || (0..6_u8).prop_map(|n| json!({ "type": "User", "id": format!("u{n}") }));
    (
        proptest::option::of(user()),
        proptest::option::of(0..5_i64),
        proptest::option::of(any::<bool>()),
        proptest::option::of(0..5_i64),
        proptest::option::of(user()),
        proptest::option::of(0..5_i64),
        proptest::option::of(user()),
    )
        .prop_map(|(manager, level, public, size, owner, n, peer)| {
            let some = |members: Vec<(&str, Option<Value>)>| -> Value {
                let there = members.into_iter();
                Value::Object(
                    there
                        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                        .collect::<Map<_, _>>(),
                )
            };
            json!({
                "subject": some(vec![("manager", manager), ("level", level.map(Value::from))]),
                "resource": some(vec![("public", public.map(Value::from)),
                    ("size", size.map(Value::from)), ("owner", owner)]),
                "context": some(vec![("n", n.map(Value::from)), ("peer", peer)]),
            })
        })
}

fn question(world: &World, extras: &Value, ids: (u8, u8)) -> Value {
    json!({
        "subject": { "type": "User", "id": format!("u{}", ids.0), "properties": extras["subject"] },
        "action": { "name": world.action },
        "resource": { "type": "Doc", "id": format!("d{}", ids.1), "properties": extras["resource"] },
        "context": extras["context"],
    })
}

/// `other`, but with what the contract names as in `one`.
fn agreeing(one: &Value, other: &Value, vary: &Vary) -> Value {
    let mut agreeing = other.clone();
    for (part, names) in [
        ("subject", &vary.subject),
        ("resource", &vary.resource),
        ("context", &vary.context),
    ] {
        for name in names {
            let members = agreeing[part].as_object_mut().unwrap();
            match one[part].get(name) {
                Some(value) => members.insert(name.clone(), value.clone()),
                None => members.remove(name),
            };
        }
    }
    agreeing
}

fn verdict(answer: &Result<Evaluation, DecisionError>) -> Option<(bool, Vec<String>)> {
    let answer = answer.as_ref().ok()?;
    let reasons = answer.context.reasons.iter();
    Some((
        answer.decision.is_permit(),
        reasons.map(|reason| reason.policy.clone()).collect(),
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn questions_that_agree_on_the_contract_get_the_same_decision(
        world in worlds(),
        // Known to the store and not: there the properties are all that there is.
        ids in (3..8_u8, 6..11_u8),
        one in extras(),
        others in proptest::collection::vec(extras(), 8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_fixture, pdp) = world.open();
            let snapshot = pdp.0.snapshot.load_full();
            let action = if world.action == "keep" { "read" } else { world.action };
            let mut world = world;
            world.action = action;
            let vary = of(&snapshot.contracts, ("User", action, "Doc"));
            let answer = ask(&pdp, &question(&world, &one, ids)).await;
            let expected = verdict(&answer);
            prop_assert!(expected.is_some());
            // What the answer itself names is less, and enough.
            let cache = answer.unwrap().context.cache.unwrap();
            let own = cache.vary.as_deref().unwrap();
            for (own, all) in [(&own.subject, &vary.subject), (&own.action, &vary.action),
                (&own.resource, &vary.resource), (&own.context, &vary.context)] {
                prop_assert!(own.iter().all(|name| all.contains(name)));
            }
            for other in others {
                for vary in [vary, own] {
                    let asked = question(&world, &agreeing(&one, &other, vary), ids);
                    let actual = verdict(&ask(&pdp, &asked).await);
                    prop_assert_eq!(&actual, &expected, "{}", asked);
                }
            }
            Ok(())
        })?;
    }
}

/// The same question in Cedar's words, which says nothing of subject and resource.
fn native(world: &World, extras: &Value, ids: (u8, u8)) -> Value {
    let mut context = extras["context"].clone();
    if let Some(peer) = context.get_mut("peer") {
        *peer = json!({ "__entity": *peer });
    }
    json!({
        "principal": { "type": "User", "id": format!("u{}", ids.0) },
        "action": { "type": "Action", "id": world.action },
        "resource": { "type": "Doc", "id": format!("d{}", ids.1) },
        "context": context,
    })
}

async fn authorized(pdp: &Pdp, question: &Value) -> Value {
    let (status, _, said) = post(pdp, "/cedar/v1/authorize", question.to_string()).await;
    assert_eq!(status, 200, "{said}");
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn so_do_questions_in_cedars_words(
        world in worlds(),
        ids in (0..8_u8, 0..11_u8),
        one in extras(),
        others in proptest::collection::vec(extras(), 8),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        runtime.block_on(async {
            let (_fixture, pdp) = world.open();
            let mut world = world;
            world.action = if world.action == "keep" { "read" } else { world.action };
            let one = native(&world, &one, ids);
            let expected = authorized(&pdp, &one).await;
            let vary: Vary = serde_json::from_value(expected["cache"]["vary"].clone()).unwrap();
            let of_context = Vary { context: vary.context.clone(), ..Vary::default() };
            prop_assert_eq!(&vary, &of_context);
            prop_assert_eq!(expected["cache"].get("max_age"), None);
            for other in others {
                let asked = agreeing(&one, &native(&world, &other, ids), &vary);
                let actual = authorized(&pdp, &asked).await;
                for part in ["decision", "determining"] {
                    prop_assert_eq!(&actual[part], &expected[part], "{} {}", part, asked);
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn in_cedars_words_parameters_are_of_the_context_and_entities_count_whole() {
    let mut fixture = Fixture::new();
    fixture.config.inline_entities = crate::InlineEntities::Add;
    let pdp = fixture.open();
    let delete = json!({ "principal": "User::\"ben\"", "action": "Action::\"delete\"",
        "resource": "Doc::\"d1\"", "context": { "reason": "old", "action": { "soft": true } } });
    let said = authorized(&pdp, &delete).await;
    let vary =
        json!({ "subject": [], "action": [], "resource": [], "context": ["action", "reason"] });
    assert_eq!(said["cache"]["vary"], vary, "{said}");
    let read = json!({ "principal": "User::\"ben\"", "action": "Action::\"read\"",
        "resource": "Doc::\"d1\"", "context": { "tries": 1 } });
    let said = authorized(&pdp, &read).await;
    assert_eq!(said["cache"]["vary"]["context"], json!([]), "{said}");
    let mut with_entities = read.clone();
    with_entities["entities"] = json!([{ "uid": { "type": "User", "id": "new" }, "attrs": { "name": "n" }, "parents": [] }]);
    let said = authorized(&pdp, &with_entities).await;
    assert_eq!(said["cache"], json!({}), "{said}");
    with_entities["entities"] = json!([]);
    let said = authorized(&pdp, &with_entities).await;
    assert_eq!(said["cache"]["vary"]["context"], json!([]), "{said}");
}
