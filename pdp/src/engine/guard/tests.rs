//! Policies of one scope, told apart by how their clauses begin: against Cedar's authorizer, and
//! against evaluating them all.

use std::collections::BTreeSet;
use std::sync::Mutex;

use cedar_policy::{Entities, PolicySet};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::engine::tests::{
    asked, assert_agree, entities, ours, question, rules_with, theirs, uid,
};
use crate::engine::{KindPlace, Question, Rules, Scene, Surroundings, Verdict, weigh};
use crate::entities::EntityStore;
use crate::reads::{Names, Reads};

/// What policies ask about: few things, or few policies would ask about the same.
#[derive(Debug, Clone, Copy)]
struct About {
    sides: &'static [&'static str],
    names: &'static [&'static str],
}

fn about() -> impl Strategy<Value = About> {
    let sides: Vec<&'static [&'static str]> = vec![
        &["principal"],
        &["resource"],
        &["context"],
        &["principal", "resource", "context"],
    ];
    let names: Vec<&'static [&'static str]> = vec![
        &["size"],
        &["peer"],
        &["all"],
        &["flag", "size", "peer", "all", "nothing"],
    ];
    (select(sides), select(names)).prop_map(|(sides, names)| About { sides, names })
}

/// An attribute.
fn subject(of: About) -> impl Strategy<Value = String> {
    (select(of.sides), select(of.names)).prop_map(|(side, name)| format!("{side}.{name}"))
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..3_i64).prop_map(|number| number.to_string()),
        2 => any::<bool>().prop_map(|flag| flag.to_string()),
        4 => uid(),
        1 => Just("[1]".to_owned()),
    ]
}

/// A set that is written out.
fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..4).prop_map(|words| format!("[{}]", words.join(", ")))
}

/// One entity or several.
fn above() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => uid(),
        2 => prop::collection::vec(uid(), 0..3).prop_map(|uids| format!("[{}]", uids.join(", "))),
        1 => Just("[A::\"1\", 1]".to_owned()),
    ]
}

/// What a clause may begin with, in every form that is filed, and some that are not.
fn beginning(of: About) -> impl Strategy<Value = String> {
    let subject = move || subject(of);
    let side = || select(vec!["principal", "resource"]);
    let single = prop_oneof![
        6 => (subject(), word()).prop_map(|(subject, word)| format!("{subject} == {word}")),
        1 => (subject(), word()).prop_map(|(subject, word)| format!("{word} == {subject}")),
        2 => subject().prop_map(|subject| subject.replacen('.', " has ", 1)),
        1 => subject().prop_map(|subject| format!("!({})", subject.replacen('.', " has ", 1))),
        1 => subject(),
        1 => subject().prop_map(|subject| format!("!{subject}")),
        1 => subject().prop_map(|subject| format!("{subject} != 1")),
        2 => (side(), uid()).prop_map(|(side, uid)| format!("{side} == {uid}")),
        3 => (side(), above()).prop_map(|(side, above)| format!("{side} in {above}")),
        2 => (subject(), above()).prop_map(|(subject, above)| format!("{subject} in {above}")),
        1 => (side(), words()).prop_map(|(side, words)| format!("{words}.contains({side})")),
        2 => (subject(), words()).prop_map(|(subject, words)| format!("{words}.contains({subject})")),
        4 => (subject(), word()).prop_map(|(subject, word)| format!("{subject}.contains({word})")),
        1 => (subject(), words()).prop_map(|(subject, words)| format!("{subject}.containsAny({words})")),
        1 => (subject(), words()).prop_map(|(subject, words)| format!("{words}.containsAny({subject})")),
        1 => (subject(), words()).prop_map(|(subject, words)| format!("{subject}.containsAll({words})")),
        1 => Just("resource in principal".to_owned()),
    ];
    single.prop_recursive(3, 8, 3, move |inner| {
        let equal = move || (subject(), word(), word());
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} || {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} && {other})")),
            equal().prop_map(|(of, one, two)| format!("({of} == {one} || {of} == {two})")),
            // What follows the first condition may fail, or be false.
            (equal(), inner.clone()).prop_map(|((of, one, two), inner)| {
                format!("(({of} == {one} && {inner}) || {of} == {two})")
            }),
            inner.clone().prop_map(|inner| format!("!({inner})")),
            inner.prop_map(|inner| format!("!(!({inner}))")),
        ]
    })
}

fn policies() -> impl Strategy<Value = String> {
    about().prop_flat_map(|of| {
        let policy = (
            select(vec!["permit", "permit", "forbid"]),
            prop::collection::vec(beginning(of), 1..4),
            select(vec!["when", "when", "unless"]),
            select(vec![
                "action",
                "action == Action::\"a\"",
                "action in [Action::\"a\", Action::\"g\"]",
            ]),
        );
        let policy = policy.prop_map(|(effect, parts, word, action)| {
            let clauses = match word {
                "when" => parts.join(" && "),
                _ => format!("!({})", parts.join(") || !(")),
            };
            format!("{effect} (principal, {action}, resource) {word} {{ {clauses} }};\n")
        });
        prop::collection::vec(policy, 3..40).prop_map(|policies| policies.concat())
    })
}

/// Whatever has this scope is evaluated.
fn without_choosing(rules: &Rules, question: &Question, store: &EntityStore) -> (Verdict, Reads) {
    let seen = Surroundings::of(question, store);
    let all = rules.candidates(&seen, &mut |_, _| crate::index::guards::Answer::Unknown);
    let scene = Scene::of(question, &seen);
    let outcome = weigh(rules.at(&all), false, &scene).unwrap();
    (Verdict::of(&outcome), outcome.reads)
}

/// One question about random policies, and which of them are taken out.
fn asks() -> impl Strategy<Value = Asks> {
    let request = (uid(), uid(), uid(), any::<bool>());
    let removed = prop::collection::btree_set(0..40_usize, 0..12);
    (policies(), entities(), request, removed).prop_map(
        |(policies, entities, (principal, resource, peer, flag), removed)| Asks {
            policies,
            entities,
            request: asked(&principal, "a", &resource, &peer, flag),
            removed,
        },
    )
}

#[derive(Debug)]
struct Asks {
    policies: String,
    entities: serde_json::Value,
    request: cedar_policy::Request,
    removed: BTreeSet<usize>,
}

/// How many policies have the scope, and how many are evaluated.
fn chosen(rules: &Rules, question: &Question, store: &EntityStore) -> (usize, usize) {
    let seen = Surroundings::of(question, store);
    let scene = Scene::of(question, &seen);
    let all = rules.candidates(&seen, &mut |_, _| crate::index::guards::Answer::Unknown);
    let some = rules.candidates(&seen, &mut |subject, most| scene.answer(subject, most));
    (all.len(), some.len())
}

fn check(asks: Asks) -> (usize, usize) {
    let Asks {
        policies,
        entities,
        request,
        removed,
    } = asks;
    let mut set: PolicySet = policies.parse().unwrap();
    let all = Entities::from_json_value(entities, None).unwrap();
    let store = EntityStore::of(all.as_ref());
    let names = Names::new(
        ["flag", "size", "peer", "all", "nothing"],
        ["flag", "peer", "size"],
    );
    let rules = rules_with(&set, &names);
    assert_agree(
        &ours(&rules, &store, &request),
        &theirs(&set, &all, &request),
        &policies,
    );

    let mut fewer = rules.to_edit();
    let removed: BTreeSet<_> = removed.into_iter().filter(|at| *at < rules.len()).collect();
    for position in &removed {
        let rule = fewer.remove(*position).unwrap();
        set.remove_static(rule.policy().id().to_string().parse().unwrap())
            .unwrap();
    }
    assert_agree(
        &ours(&fewer, &store, &request),
        &theirs(&set, &all, &request),
        &policies,
    );

    let question = question(&request);
    for rules in [&rules, &fewer] {
        // Nothing is lost, nor found that was taken out, where nothing is asked.
        assert_eq!(chosen(rules, &question, &store).0, rules.len());
        let outcome = rules.decide(&question, &store).unwrap();
        let expected = without_choosing(rules, &question, &store);
        assert_eq!(
            (Verdict::of(&outcome), outcome.reads),
            expected,
            "{policies}"
        );
    }
    chosen(&rules, &question, &store)
}

#[test]
fn choosing_changes_neither_the_answer_nor_what_is_read() {
    let tally = Mutex::new((0, 0));
    let mut runner = TestRunner::new(Config::with_cases(600));
    let outcome = runner.run(&asks(), |asks| {
        let (all, evaluated) = check(asks);
        let mut tally = tally.lock().unwrap();
        *tally = (tally.0 + all, tally.1 + evaluated);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (all, evaluated) = *tally.lock().unwrap();
    println!("{evaluated} of {all} policies were evaluated");
    assert!(
        evaluated * 20 < all * 19,
        "{evaluated} of {all} is no choice"
    );
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
        let candidates = rules.candidates(&seen, &mut |subject, most| scene.answer(subject, most));
        assert_eq!(candidates.len(), found, "{principal}");
        assert_eq!(
            rules.decide(&question, &store).unwrap().permitted,
            found == 1
        );
    }
}

/// Of 300 policies that begin so, each with its own number, the ones that are evaluated.
fn evaluated(beginning: &str) -> usize {
    let mut policies = String::new();
    for n in 0..300 {
        policies.push_str("permit (principal, action, resource) ");
        policies.push_str(&beginning.replace("{n}", &n.to_string()));
        policies.push(';');
    }
    let set: PolicySet = policies.parse().unwrap();
    let group = |n: usize| serde_json::json!({"type": "B", "id": n.to_string()});
    let entities = serde_json::json!([
        {"uid": {"type": "A", "id": "1"}, "parents": [group(7)], "attrs": {
            "size": 42, "all": [3, 5, [1]], "peer": {"__entity": group(9)} }},
        {"uid": group(1), "attrs": {}, "parents": []},
        {"uid": group(7), "attrs": {}, "parents": [group(8)]},
        {"uid": group(9), "attrs": {}, "parents": [group(8)]},
    ]);
    let all = Entities::from_json_value(entities, None).unwrap();
    let store = EntityStore::of(all.as_ref());
    let rules = rules_with(&set, &Names::default());
    let question = question(&asked("A::\"1\"", "a", "B::\"1\"", "A::\"0\"", true));
    chosen(&rules, &question, &store).1
}

#[test]
fn conditions_that_clauses_begin_with_choose_policies() {
    for (beginning, expected) in [
        ("when { principal.size == {n} }", 1),
        ("when { {n} == principal.size }", 1),
        ("unless { principal.size != {n} }", 1),
        ("unless { principal.size != {n} || principal.size > 50 }", 1),
        ("when { !(!(principal.size == {n})) }", 1),
        ("when { [{n}, 1000].contains(principal.size) }", 1),
        (
            "when { principal.size == {n} || principal.size == 1{n} }",
            1,
        ),
        (
            "when { (principal.size == {n} && resource.no) || principal.size == 1000 }",
            1,
        ),
        ("when { principal in B::\"{n}\" }", 2),
        ("when { principal in [B::\"{n}\", B::\"1{n}\"] }", 2),
        ("when { principal.peer in B::\"{n}\" }", 2),
        ("when { resource == B::\"{n}\" }", 1),
        ("when { [B::\"{n}\", A::\"1{n}\"].contains(resource) }", 1),
        ("when { principal.all.contains({n}) }", 2),
        ("when { principal.all.containsAny([{n}, 1000]) }", 2),
        (
            "when { principal.all.contains({n}) && principal.size == {n} }",
            2,
        ),
        // An attribute that is not there, or not a set, fails each of them.
        ("when { principal.no.contains({n}) }", 300),
        ("when { principal.size.contains({n}) }", 300),
        ("when { principal.size in B::\"{n}\" }", 300),
        // These do not tell policies apart.
        ("when { principal.size != {n} }", 300),
        (
            "when { principal.size == {n} || resource.size == {n} }",
            300,
        ),
        ("when { principal.size < {n} }", 300),
        ("when { resource in [B::\"{n}\", 1] }", 300),
        // They may hold of something that is filed nowhere.
        ("when { [{n}, [1]].contains(principal.size) }", 300),
        ("when { [B::\"{n}\", [1]].contains(principal.size) }", 300),
        ("when { [{n}, context.flag].contains(principal.size) }", 300),
        (
            "when { [].contains(principal.size) || principal.size == {n} }",
            300,
        ),
    ] {
        assert_eq!(evaluated(beginning), expected, "{beginning}");
    }
}

#[test]
fn what_may_fail_behind_a_disjunction_is_evaluated() {
    // The second condition is false, and must not be looked at before the first has failed.
    let policies = "permit (principal, action, resource) when { \
        ((principal.size == 1 && principal.no) || principal.size == 2) && principal.flag };"
        .repeat(4);
    let set: PolicySet = policies.parse().unwrap();
    let entities = serde_json::json!([
        {"uid": {"type": "A", "id": "1"}, "attrs": {"size": 1, "flag": false}, "parents": []},
    ]);
    let all = Entities::from_json_value(entities, None).unwrap();
    let store = EntityStore::of(all.as_ref());
    let rules = rules_with(&set, &Names::default());
    let request = asked("A::\"1\"", "a", "B::\"1\"", "A::\"0\"", true);
    let ours = ours(&rules, &store, &request);
    assert_eq!(ours.2.len(), 4);
    assert_agree(&ours, &theirs(&set, &all, &request), &policies);
}

/// Scopes of all forms, few enough that several policies share one.
fn scoped() -> impl Strategy<Value = String> {
    about().prop_flat_map(|of| {
        let side = |side: &'static str| {
            let forms = [
                "",
                " is A",
                " is B",
                " in B::\"0\"",
                " in B::\"3\"",
                " == A::\"1\"",
                " is A in B::\"3\"",
            ];
            select(forms.to_vec()).prop_map(move |form| format!("{side}{form}"))
        };
        let action = select(vec![
            "action",
            "action == Action::\"a\"",
            "action in Action::\"g\"",
            "action in [Action::\"b\", Action::\"g\", Action::\"h\"]",
        ]);
        // Of one scope there are many, or none of them is chosen from.
        let alike = (side("principal"), action, side("resource"));
        let alike = alike.prop_flat_map(move |(principal, action, resource)| {
            let one = (
                select(vec!["permit", "permit", "forbid"]),
                prop::collection::vec(beginning(of), 1..3),
            );
            prop::collection::vec(one, 1..8).prop_map(move |all| {
                let policy = |(effect, parts): (&str, Vec<String>)| {
                    let parts = parts.join(" && ");
                    format!("{effect} ({principal}, {action}, {resource}) when {{ {parts} }};\n")
                };
                let policies: Vec<_> = all.into_iter().map(policy).collect();
                policies.concat()
            })
        });
        prop::collection::vec(alike, 1..8).prop_map(|policies| policies.concat())
    })
}

/// One kind of question after the other, some of a kind twice, and by what is planned for it.
fn check_planned(
    policies: &str,
    entities: &serde_json::Value,
    questions: &[(String, &str, String, String, bool)],
    removed: &BTreeSet<usize>,
) {
    let mut set: PolicySet = policies.parse().unwrap();
    let all = Entities::from_json_value(entities.clone(), None).unwrap();
    let store = EntityStore::of(all.as_ref());
    let names = Names::new(
        ["flag", "size", "peer", "all", "nothing"],
        ["flag", "peer", "size"],
    );
    let rules = rules_with(&set, &names);
    let agree = |rules: &Rules, set: &PolicySet| {
        for (principal, action, resource, peer, flag) in questions {
            let request = asked(principal, action, resource, peer, *flag);
            let kind = |name: &str| usize::from(name.starts_with('B'));
            let at = kind(principal) * 4 + kind(resource) * 2 + usize::from(*action == "b");
            let question = question(&request);
            let planned = rules
                .decide_of_kind(KindPlace { at, of: 8 }, &question, &store)
                .unwrap();
            let found = rules.decide(&question, &store).unwrap();
            assert_eq!(
                (Verdict::of(&planned), planned.reads),
                (Verdict::of(&found), found.reads),
                "{policies} {question:?}"
            );
            let expected = without_choosing(rules, &question, &store);
            assert_eq!(
                (Verdict::of(&found), found.reads),
                expected,
                "{policies} {question:?}"
            );
            assert_agree(
                &ours(rules, &store, &request),
                &theirs(set, &all, &request),
                policies,
            );
        }
    };
    agree(&rules, &set);
    let mut edited = rules.to_edit();
    let mut taken = Vec::new();
    for position in removed.iter().filter(|at| **at < rules.len()) {
        let rule = edited.remove(*position).unwrap();
        let id: cedar_policy::PolicyId = rule.policy().id().to_string().parse().unwrap();
        taken.push((rule, set.remove_static(id).unwrap()));
    }
    agree(&edited, &set);
    // Half of them come back, and take each other's places.
    for (rule, policy) in taken.into_iter().step_by(2) {
        edited.insert(rule);
        set.add(policy).unwrap();
        agree(&edited, &set);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_planned_and_chosen_agrees_whatever_scopes_say(
        policies in scoped(),
        entities in entities(),
        questions in prop::collection::vec(
            (uid(), select(vec!["a", "b"]), uid(), uid(), any::<bool>()),
            1..6,
        ),
        removed in prop::collection::btree_set(0..30_usize, 0..8),
    ) {
        check_planned(&policies, &entities, &questions, &removed);
    }
}
