//! The contract names what matters: whatever it does not name may differ.

use authzen::{DecisionError, Evaluation, Vary};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::fixture::{Fixture, ask};
use crate::search::tests::{World, worlds};

fn of<'a>(contracts: &'a [Contract], names: (&str, &str, &str)) -> &'a Vary {
    let contract = contracts.iter().find(|contract| contract.kind() == names);
    contract.unwrap().advice.vary.as_deref().unwrap()
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

fn uses(policy: &str) -> Reads {
    let text = format!("permit (principal, action, resource) when {{ {policy} }};");
    let policy: cedar_policy::Policy = text.parse().unwrap();
    let mut reads = Reads::default();
    reads.add(policy.as_ref());
    reads
}

#[test]
fn reads_are_found_wherever_they_hide() {
    for (policy, attributes, context, whole) in [
        ("principal.a.b == resource", vec!["a", "b"], vec![], false),
        (
            "context.x.y && context has z",
            vec!["y"],
            vec!["x", "z"],
            false,
        ),
        ("context has p.q", vec!["q"], vec!["p"], false),
        (
            "if context.t then principal.u else resource.v",
            vec!["u", "v"],
            vec!["t"],
            false,
        ),
        ("{m: context}.m.n", vec!["m", "n"], vec![], true),
        ("[context].contains({})", vec![], vec![], true),
        (
            "context.ip.isInRange(principal.net)",
            vec!["net"],
            vec!["ip"],
            false,
        ),
        (
            "principal.getTag(resource.k) like \"*\"",
            vec!["k"],
            vec![],
            false,
        ),
        (
            "principal in [resource.up] || !(-principal.n < 1)",
            vec!["n", "up"],
            vec![],
            false,
        ),
    ] {
        let reads = uses(policy);
        assert!(
            reads.attributes.iter().eq(attributes.iter()),
            "{policy}: {reads:?}"
        );
        assert!(
            reads.context.iter().eq(context.iter()),
            "{policy}: {reads:?}"
        );
        assert_eq!(reads.whole_context, whole, "{policy}");
    }
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
        let members = agreeing[part].as_object_mut().unwrap();
        for name in names {
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
            let expected = verdict(&ask(&pdp, &question(&world, &one, ids)).await);
            prop_assert!(expected.is_some());
            for other in others {
                let asked = question(&world, &agreeing(&one, &other, vary), ids);
                let actual = verdict(&ask(&pdp, &asked).await);
                prop_assert_eq!(&actual, &expected, "{}", asked);
            }
            Ok(())
        })?;
    }
}
