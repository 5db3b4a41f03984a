//! Policies of one scope, told apart by how their clauses begin: against Cedar's authorizer, and
//! against evaluating them all.

use std::collections::BTreeSet;

use cedar_policy::{Entities, PolicySet};
use proptest::prelude::*;
use proptest::sample::select;

use crate::engine::tests::{
    asked, assert_agree, entities, ours, question, rules_with, theirs, uid,
};
use crate::engine::{Question, Rules, Scene, Surroundings, Verdict};
use crate::entities::EntityStore;
use crate::reads::{Names, Reads};

/// What a clause may begin with, in every form that is filed, and some that are not.
fn beginning() -> impl Strategy<Value = String> {
    let subject = || {
        let of = select(vec!["principal", "resource", "context"]);
        let name = select(vec!["flag", "size", "peer", "nothing"]);
        (of, name).prop_map(|(of, name)| format!("{of}.{name}"))
    };
    let word = || {
        prop_oneof![
            (0..3_i64).prop_map(|number| number.to_string()),
            any::<bool>().prop_map(|flag| flag.to_string()),
            uid(),
            Just("[1]".to_owned()),
        ]
    };
    prop_oneof![
        6 => (subject(), word()).prop_map(|(subject, word)| format!("{subject} == {word}")),
        1 => (subject(), word()).prop_map(|(subject, word)| format!("{word} == {subject}")),
        2 => subject().prop_map(|subject| subject.replacen('.', " has ", 1)),
        1 => subject().prop_map(|subject| format!("!({})", subject.replacen('.', " has ", 1))),
        1 => subject(),
        1 => subject().prop_map(|subject| format!("!{subject}")),
        1 => subject().prop_map(|subject| format!("{subject} != 1")),
        1 => Just("resource in principal".to_owned()),
    ]
}

fn policies() -> impl Strategy<Value = String> {
    let policy = (
        select(vec!["permit", "permit", "forbid"]),
        prop::collection::vec(beginning(), 1..5),
        select(vec![
            "action",
            "action == Action::\"a\"",
            "action in [Action::\"a\", Action::\"g\"]",
        ]),
    );
    let policy = policy.prop_map(|(effect, parts, action)| {
        let clauses = parts.join(" && ");
        format!("{effect} (principal, {action}, resource) when {{ {clauses} }};\n")
    });
    prop::collection::vec(policy, 3..25).prop_map(|policies| policies.concat())
}

/// Whatever has this scope is evaluated.
fn without_choosing(rules: &Rules, question: &Question, store: &EntityStore) -> (Verdict, Reads) {
    let seen = Surroundings::of(question, store);
    let all = rules.candidates(&seen, &mut |_| crate::index::guards::Answer::Unknown);
    let outcome = rules.weigh(&all, &Scene::of(question, &seen)).unwrap();
    (Verdict::of(&outcome), outcome.reads)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn choosing_changes_neither_the_answer_nor_what_is_read(
        policies in policies(),
        entities in entities(),
        principal in uid(),
        resource in uid(),
        peer in uid(),
        flag in any::<bool>(),
        removed in prop::collection::btree_set(0..25_usize, 0..12),
    ) {
        let mut set: PolicySet = policies.parse().unwrap();
        let all = Entities::from_json_value(entities, None).unwrap();
        let store = EntityStore::of(all.as_ref());
        let request = asked(&principal, "a", &resource, &peer, flag);
        let names = Names::new(["flag", "size", "peer", "nothing"], ["flag", "peer", "size"]);
        let rules = rules_with(&set, &names);
        assert_agree(&ours(&rules, &store, &request), &theirs(&set, &all, &request), &policies);

        let mut fewer = rules.to_edit();
        let removed: BTreeSet<_> = removed.into_iter().filter(|at| *at < rules.len()).collect();
        for position in &removed {
            let rule = fewer.remove(*position).unwrap();
            set.remove_static(rule.policy().id().to_string().parse().unwrap()).unwrap();
        }
        assert_agree(&ours(&fewer, &store, &request), &theirs(&set, &all, &request), &policies);

        let question = question(&request);
        for rules in [rules, fewer] {
            let outcome = rules.decide(&question, &store).unwrap();
            let expected = without_choosing(&rules, &question, &store);
            prop_assert_eq!((Verdict::of(&outcome), outcome.reads), expected, "{}", policies);
        }
    }
}

#[test]
fn only_policies_that_name_the_value_are_evaluated() {
    let roles: Vec<String> = (0..100)
        .map(|n| {
            format!(
                "permit (principal, action, resource) when {{ principal has size && \
                 principal.size == {n} && resource.size == {} }};",
                n / 10
            )
        })
        .collect();
    let set: PolicySet = roles.concat().parse().unwrap();
    let entities = serde_json::json!([
        {"uid": {"type": "A", "id": "1"}, "attrs": {"size": 42}, "parents": []},
        {"uid": {"type": "B", "id": "1"}, "attrs": {"size": 4}, "parents": []},
    ]);
    let all = Entities::from_json_value(entities, None).unwrap();
    let store = EntityStore::of(all.as_ref());
    let rules = rules_with(&set, &Names::default());
    for (principal, found) in [("A::\"1\"", 1), ("A::\"2\"", 0)] {
        let question = question(&asked(principal, "a", "B::\"1\"", "A::\"0\"", true));
        let seen = Surroundings::of(&question, &store);
        let scene = Scene::of(&question, &seen);
        let candidates = rules.candidates(&seen, &mut |subject| scene.answer(subject));
        assert_eq!(candidates.len(), found, "{principal}");
        assert_eq!(
            rules.decide(&question, &store).unwrap().permitted,
            found == 1
        );
    }
}
