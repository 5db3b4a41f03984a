//! Explanations agree with what is decided, and say what a reader needs.

use ::http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};
use strict_json::Arena;

use super::*;
use crate::config::ExplainRight;
use crate::fixture::Fixture;
use crate::http::tests::post;
use crate::mapping::Readable;

fn explain(fixture: &Fixture, question: &Value) -> Explanation {
    explain_policies(fixture.folder.path(), question.to_string().as_bytes()).unwrap()
}

fn read(user: &str, doc: &str) -> Value {
    json!({ "subject": { "type": "user", "id": user }, "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc", "id": doc } })
}

#[test]
fn a_deny_names_the_nearest_permits_and_what_would_have_to_change() {
    let fixture = Fixture::new();
    fixture.write(
        "more.cedar",
        "@id(\"small\")\npermit (principal in Team::\"t9\", action == Action::\"read\", resource)\nwhen { resource has level && resource.level < 3 };\n",
    );
    let mut question = read("ben", "d1");
    question["subject"] = json!({ "type": "user", "id": "ann" });
    question["resource"] =
        json!({ "type": "urn:x:doc", "id": "other", "properties": { "level": 7 } });
    let told = explain(&fixture, &question);
    assert_eq!(told.outcome, ExplainedOutcome::NotPermitted);
    assert_eq!(told.summary, "Nothing permits this.");
    let near: Vec<_> = told.nearest.iter().map(|one| one.policy.as_str()).collect();
    assert_eq!(near.len(), 3);
    let small =
        Snapshot::open(fixture.folder.path(), &crate::config::Reading::default(), 0).unwrap();
    let body = question.to_string();
    let arena = Arena::new();
    let members = Members::parse(body.as_bytes(), &arena).unwrap();
    let asked = Asked::of(&members).unwrap();
    let mapped = small
        .loaded
        .vocabulary
        .question(&asked, &small.store, &mut Before::default(), |_| {
            (None, Readable::ALL)
        })
        .unwrap();
    let rule = small
        .loaded
        .rules
        .iter()
        .find(|rule| rule.reason.policy == "small")
        .unwrap();
    let told = small.explained(rule, &mapped.question, true).unwrap();
    assert_eq!(
        told.changes,
        [
            "`principal in Team::\"t9\"` would have to hold; it is User::\"ann\"",
            "`resource.level < 3` is false, and would have to be true",
        ]
    );
    let [condition] = told.conditions.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(
        condition.values,
        [("resource.level".to_owned(), "7".to_owned())]
    );
    let place = condition.place.as_ref().unwrap();
    assert!(place.file.ends_with("more.cedar"));
    assert_eq!((place.line, place.column), (3, 30));
}

#[test]
fn a_forbid_is_told_from_what_nothing_permits() {
    let fixture = Fixture::new();
    let mut question = read("mallory", "d1");
    question["subject"]["properties"] = json!({ "name": "mallory" });
    let told = explain(&fixture, &question);
    assert_eq!(told.outcome, ExplainedOutcome::Forbidden);
    assert_eq!(told.summary, "This is forbidden: barred by name.");
    assert_eq!(told.policies[0].policy, "barred");
    assert_eq!(
        told.policies[0].conditions[0].values,
        [("principal.name".to_owned(), "\"mallory\"".to_owned())]
    );
    assert_eq!(
        told.policies[0].changes,
        ["`principal.name == \"mallory\"` is true, and would have to be false"]
    );
    // Without it, still nothing would permit this: ben owns the document.
    let near: Vec<_> = told.nearest.iter().map(|one| one.policy.as_str()).collect();
    assert!(near.contains(&"owner-reads"), "{near:?}");
    let mut own = read("mallory", "d2");
    own["subject"]["properties"] = json!({ "name": "mallory" });
    own["resource"]["properties"] = json!({ "owner": "mallory" });
    let told = explain(&fixture, &own);
    assert_eq!(told.outcome, ExplainedOutcome::Forbidden);
    assert!(
        told.nearest.is_empty(),
        "the forbid alone is in the way: {told}"
    );
    let unheard = explain(&fixture, &read("nobody", "d1"));
    assert_eq!(unheard.outcome, ExplainedOutcome::Unevaluable);
    let barred = unheard
        .policies
        .iter()
        .find(|one| one.policy == "barred")
        .unwrap();
    assert_eq!(barred.applies, None);
    assert!(
        barred.conditions[0]
            .error
            .as_ref()
            .unwrap()
            .contains("nobody")
    );
    let permitted = explain(&fixture, &read("ben", "d1"));
    assert_eq!(permitted.summary, "This is permitted: it is theirs.");
    assert!(
        permitted
            .to_string()
            .contains("permit `owner-reads` applies"),
        "{permitted}"
    );
    let mut unknown = read("ben", "d1");
    unknown["action"]["name"] = json!("fly");
    assert_eq!(
        explain(&fixture, &unknown).outcome,
        ExplainedOutcome::Unknown
    );
}

#[tokio::test]
async fn nobody_is_told_more_than_they_may_know() {
    let path = "/cedar/v1/explain";
    for (right, short, full, default) in [
        (ExplainRight::None, 403, 403, 403),
        (ExplainRight::Short, 200, 403, 200),
        (ExplainRight::Full, 200, 200, 200),
    ] {
        let mut fixture = Fixture::new();
        fixture.config.explain_without_callers = right;
        let pdp = fixture.open();
        for (form, expected) in [("?form=short", short), ("?form=full", full), ("", default)] {
            let (status, _, body) = post(
                &pdp,
                &format!("{path}{form}"),
                read("ben", "d1").to_string(),
            )
            .await;
            assert_eq!(status.as_u16(), expected, "{form} {body}");
            let text = body.to_string();
            let tells = text.contains("owner-reads") || text.contains("resource.owner");
            let is_full = right == ExplainRight::Full && form != "?form=short";
            assert_eq!(tells, is_full, "{text}");
        }
        let (status, ..) = post(
            &pdp,
            &format!("{path}?form=none"),
            read("ben", "d1").to_string(),
        )
        .await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn an_explanation_agrees_with_the_decision(world in crate::filter::tests::world::worlds(), doc in 0..12_usize) {
        let snapshot = crate::filter::tests::snapshot(&world);
        let id = format!("Doc::\"d{doc}\"").parse().unwrap();
        let question = crate::filter::tests::question(id, world.n);
        let outcome = snapshot.loaded.rules.decide(&question, &snapshot.store).unwrap();
        let request = json!({ "subject": { "type": "User", "id": "u0" }, "action": { "name": "read" },
            "resource": { "type": "Doc", "id": format!("d{doc}") }, "context": { "n": world.n } });
        let body = request.to_string();
        let arena = Arena::new();
    let members = Members::parse(body.as_bytes(), &arena).unwrap();
        let told = snapshot.explain(&Asked::of(&members).unwrap(), service_kit::UnixTime::from_secs(0)).unwrap();
        prop_assert_eq!(told.outcome == ExplainedOutcome::Permitted, outcome.permitted);
        prop_assert_eq!(told.outcome, way_of(&outcome));
        let failing: Vec<&str> = outcome.failures.iter().map(|(rule, _)| rule.reason.policy.as_str()).collect();
        let determining: Vec<&str> = outcome.determining.iter().map(|rule| rule.reason.policy.as_str()).collect();
        for one in &told.policies {
            // Its own conditions say the same as the engine.
            let name = one.policy.as_str();
            prop_assert_eq!(one.applies.is_none(), failing.contains(&name), "{}", one);
            if determining.contains(&name) {
                prop_assert_eq!(one.applies, Some(true));
            }
            let (last, before) = match one.conditions.split_last() {
                Some((last, before)) => (Some(last), before),
                None => (None, &[][..]),
            };
            prop_assert!(before.iter().all(|condition| condition.holds == Some(true)));
            if let Some(last) = last {
                prop_assert_eq!(last.holds, one.applies);
            }
        }
        for one in &told.nearest {
            prop_assert!(one.effect == "permit" && one.applies != Some(true) && !one.changes.is_empty());
        }
    }
}

#[test]
fn among_very_many_policies_those_whose_scope_matches_are_nearest() {
    let fixture = Fixture::new();
    let many: Vec<_> = (0..LOOKED_AT + 10)
        .map(|n| {
            format!(
                "@id(\"p{n}\") permit (principal == User::\"u{n}\", action, resource is Doc) \
                 when {{ resource has level && resource.level > {n} }};\n"
            )
        })
        .collect();
    fixture.write("policies.cedar", &many.concat());
    let last = LOOKED_AT + 9;
    let told = explain(&fixture, &read(&format!("u{last}"), "d1"));
    assert_eq!(told.outcome, ExplainedOutcome::NotPermitted);
    assert_eq!(told.nearest[0].policy, format!("p{last}"));
    assert!(told.nearest[0].mismatches.is_empty());
}
