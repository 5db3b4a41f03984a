//! Random policies, entities and questions: what is answered here is what is answered there, to the letter, but
//! for the name of the decision.

use authzen::Semantic;
use serde_json::{Value, json};

use super::{Remote, eventually};
use crate::local::*;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

const SCOPES: [&str; 5] = [
    "principal, action, resource",
    "principal, action == Action::\"read\", resource is Doc",
    "principal in Team::\"t1\", action == Action::\"read\", resource",
    "principal, action in Action::\"reading\", resource == Doc::\"d2\"",
    "principal == User::\"u1\", action == Action::\"read\", resource",
];

const CONDITIONS: [&str; 14] = [
    "true",
    "principal.name == \"ann\"",
    "principal has age && principal.age > 30",
    "principal has age && principal.age + 9223372036854775800 > 0",
    "principal has manager && principal.manager.name like \"a*\"",
    "principal has nets && principal.nets.contains(ip(\"10.0.0.0/8\"))",
    "principal has address && principal.address.city == \"Bern\"",
    "resource is Doc && resource has owner && resource.owner == principal",
    "resource is Doc && resource has level && resource.level < 3",
    "resource is Doc && resource has price && resource.price.lessThan(decimal(\"9.5\"))",
    "context has ip && context.ip.isInRange(ip(\"10.0.0.0/8\"))",
    "context has at && context.at < datetime(\"2024-01-01\")",
    "context has tries && context.tries < 3",
    "context has peer && context.peer in Team::\"t2\"",
];

fn policies(dice: &mut Dice) -> String {
    let policy = |dice: &mut Dice, n: usize| {
        let effect = dice.of(&["permit", "permit", "forbid"]);
        let notes = dice.of(&[
            "",
            "@reason(\"so it is\")",
            "@obligation(\"notify to=owner\")",
            "@advice(\"ask somebody\")",
        ]);
        let scope = dice.of(&SCOPES);
        let when = dice.of(&["when", "when", "unless"]);
        let condition = if scope.contains("is Doc") || scope.contains("read") {
            dice.of(&CONDITIONS)
        } else {
            dice.of(&CONDITIONS[..2])
        };
        format!("@id(\"p{n}\") {notes}\n{effect} ({scope})\n{when} {{ {condition} }};\n")
    };
    let count = 1 + dice.below(12);
    (0..count)
        .map(|n| policy(dice, n))
        .collect::<Vec<_>>()
        .concat()
}

fn user(dice: &mut Dice) -> Value {
    json!({ "type": "User", "id": format!("u{}", dice.below(6)) })
}

fn entities(dice: &mut Dice) -> Vec<Value> {
    let mut all = Vec::new();
    for n in 0..6 {
        let mut attrs = json!({ "name": dice.of(&["ann", "ben", "mallory"]) });
        if dice.below(2) == 0 {
            attrs["age"] = json!(dice.below(60));
        }
        if dice.below(2) == 0 {
            attrs["manager"] = user(dice);
        }
        if dice.below(2) == 0 {
            let net = dice.of(&["10.0.0.0/8", "192.168.1.1"]);
            attrs["nets"] = json!([{ "__extn": { "fn": "ip", "arg": net } }]);
        }
        if dice.below(2) == 0 {
            attrs["address"] =
                json!({ "city": dice.of(&["Bern", "Basel"]), "zip": dice.of(&["3000", "4000"]) });
        }
        let team = json!({ "type": "Team", "id": dice.of(&["t1", "t2", "t3"]) });
        all.push(json!({ "uid": { "type": "User", "id": format!("u{n}") }, "attrs": attrs, "parents": [team] }));
    }
    all.push(json!({ "uid": { "type": "Team", "id": "t1" }, "attrs": {}, "parents": [{ "type": "Team", "id": "t2" }] }));
    for n in 0..4 {
        let mut attrs = json!({ "level": dice.below(5), "public": dice.below(2) == 0 });
        if dice.below(3) > 0 {
            attrs["owner"] = user(dice);
        }
        if dice.below(2) == 0 {
            let price = dice.of(&["1.5", "9.5", "20.25"]);
            attrs["price"] = json!({ "__extn": { "fn": "decimal", "arg": price } });
        }
        all.push(json!({ "uid": { "type": "Doc", "id": format!("d{n}") }, "attrs": attrs, "parents": [] }));
    }
    all
}

fn asked(dice: &mut Dice) -> Value {
    let mut context = json!({});
    if dice.below(2) == 0 {
        context["ip"] = json!(dice.of(&["10.1.2.3", "192.168.1.1", "nonsense"]));
    }
    if dice.below(2) == 0 {
        context["at"] = json!(dice.of(&["2023-05-05T00:00:00Z", "2025-05-05T00:00:00Z"]));
    }
    if dice.below(2) == 0 {
        context["tries"] = json!(dice.below(6));
    }
    if dice.below(3) == 0 {
        context["reason"] = json!("why not");
        context["peer"] = json!({ "type": "user", "id": format!("u{}", dice.below(7)) });
    }
    let mut subject = json!({ "type": "user", "id": format!("u{}", dice.below(7)) });
    if dice.below(4) == 0 {
        subject["properties"] = json!({ "name": "ann", "age": dice.below(60) });
    }
    json!({
        "subject": subject,
        "action": { "name": dice.of(&["GET /docs/{id}", "GET /docs/{id}", "delete", "unknown"]) },
        "resource": { "type": dice.of(&["urn:x:doc", "urn:x:doc", "Color"]), "id": dice.of(&["d0", "d1", "d2", "d9", "red"]) },
        "context": context,
    })
}

/// All of an answer but what each decision has of its own.
fn comparable(answer: Result<Evaluation, DecisionError>) -> Value {
    match answer {
        Ok(evaluation) => {
            let mut value = serde_json::to_value(evaluation).unwrap();
            value["context"].as_object_mut().unwrap().remove("id");
            value
        }
        Err(DecisionError::Rejected { .. }) => json!("rejected"),
        Err(error) => panic!("{error:?}"),
    }
}

/// Batches of every kind, entries that are no questions of this schema among them.
async fn compare_batches(dice: &mut Dice, here: &dyn DecisionPoint, there: &dyn DecisionPoint) {
    for semantic in [
        Semantic::ExecuteAll,
        Semantic::DenyOnFirstDeny,
        Semantic::PermitOnFirstPermit,
    ] {
        let entries = (0..40).map(|_| asked(dice).to_string());
        let entries = entries.map(|text| EvaluationRequest::from_json(text.as_bytes()));
        let request = EvaluationsRequest {
            entries: entries.collect(),
            semantic,
        };
        let many = async |point: &dyn DecisionPoint| -> Vec<Value> {
            let replies = point.evaluate_many(&request).await.unwrap();
            replies.into_iter().map(|it| comparable(Ok(it))).collect()
        };
        assert_eq!(many(here).await, many(there).await, "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_here_is_what_is_answered_there() {
    let mut dice = Dice(7);
    let remote = Remote::start().await;
    std::fs::remove_file(remote.fixture.folder.path().join("entities.json")).unwrap();
    eventually("they are gone there", || {
        remote.pdp.changes().borrow().epoch == 2
    })
    .await;
    let local = remote.local().await;
    let url = format!("http://{}", remote.address).parse().unwrap();
    let there = HttpDecisionPoint::new(&HttpDecisionPointConfig::new(url)).unwrap();
    let (mut permits, mut denies, mut cached, mut rounds) = (0, 0, 0, 0);
    for _ in 0..25 {
        let epoch = remote.pdp.changes().borrow().epoch;
        remote.edit(&policies(&mut dice));
        let changes = remote.pdp.changes();
        eventually("an edit decides there", || {
            let refused = remote.fixture.health.parts();
            let is_stale = matches!(refused.get("policies"), Some(Status::Stale { .. }));
            assert!(!is_stale, "{refused:?}");
            changes.borrow().epoch > epoch
        })
        .await;
        remote
            .write(&json!({ "upsert": entities(&mut dice) }))
            .await;
        eventually("the same decides here", || {
            local.version() == *changes.borrow()
        })
        .await;
        rounds += 1;
        for _ in 0..40 {
            let question = asked(&mut dice);
            let request = EvaluationRequest::from_json(question.to_string().as_bytes()).unwrap();
            let expected = comparable(there.evaluate(&request).await);
            let actual = comparable(local.pdp.evaluate(&request).await);
            assert_eq!(actual, expected, "{question}");
            match expected["decision"].as_bool() {
                Some(true) => permits += 1,
                Some(false) => denies += 1,
                None => {}
            }
            cached += i32::from(expected["context"]["cache"].is_object());
        }
        compare_batches(&mut dice, &local.pdp, &there).await;
    }
    println!("{rounds} rounds: {permits} permits, {denies} denies, {cached} with a cache contract");
    assert!(
        permits > 100 && denies > 100 && cached > 200,
        "{permits} {denies} {cached}"
    );
    let by = |by: &str| local.metric(&format!("pdp_local_decisions_total{{by=\"{by}\"}}"));
    assert!(
        by("local") >= 1000.0 && by("remote") < 1.0,
        "{}",
        local.metrics.render()
    );
}
