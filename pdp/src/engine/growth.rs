//! What a decision costs as policies and entities become many.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use cedar_policy::PolicySet;
use cedar_policy_core::ast::{Context, Entity, EntityUID, PartialValue, Value};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use tokio::time::Instant;

use super::tests::rules;
use super::{Oracle, Question, Rules, Verdict};
use crate::entities::EntityStore;

/// `count` policies, of which seven can apply to [`question`]. Four of them hold.
pub(super) fn policies(count: usize) -> Rules {
    let mut text = String::from(
        "permit (principal, action == Action::\"read\", resource is Doc) when { resource.owner == principal };
         permit (principal in Team::\"a\", action in [Action::\"read\"], resource) when { principal.level > 3 };
         permit (principal in Team::\"b\", action, resource in Folder::\"top\") when { resource.size < 10 && context.mfa };
         permit (principal is User in Team::\"c\", action, resource) when { [\"x\", \"y\"].contains(resource.kind) };
         permit (principal == User::\"u\", action, resource) when { resource.kind like \"x*\" };
         forbid (principal, action, resource) when { principal.level < 0 };
         forbid (principal, action, resource is Doc) when { !context.mfa };\n",
    );
    for n in 7..count {
        let _ = writeln!(
            text,
            "permit (principal in Team::\"t{n}\", action == Action::\"read\", resource in Folder::\"f{n}\") when {{ resource.size < {n} && principal.level > 1 }};"
        );
    }
    rules(&text.parse::<PolicySet>().unwrap())
}

fn uid(kind: &str, id: &str) -> EntityUID {
    format!("{kind}::\"{id}\"").parse().unwrap()
}

fn entity(name: EntityUID, attributes: Vec<(&str, Value)>, parents: &[EntityUID]) -> Entity {
    Entity::new_with_attr_partial_value(
        name,
        attributes
            .into_iter()
            .map(|(name, value)| (name.into(), PartialValue::from(value))),
        HashSet::new(),
        parents.iter().cloned().collect(),
        [],
    )
}

/// The question's own entities and `count` others.
pub(super) fn entities(count: usize) -> EntityStore {
    let teams = ["a", "b", "c"].map(|id| uid("Team", id));
    let top = uid("Folder", "top");
    let doc = |id: &str| {
        entity(
            uid("Doc", id),
            vec![
                ("size", Value::from(5)),
                ("kind", Value::from("x")),
                ("owner", Value::from(uid("User", "other"))),
            ],
            std::slice::from_ref(&top),
        )
    };
    let mut all = vec![
        entity(uid("User", "u"), vec![("level", Value::from(5))], &teams),
        doc("d"),
        entity(top.clone(), vec![], &[]),
    ];
    all.extend(teams.iter().map(|team| entity(team.clone(), vec![], &[])));
    all.extend((0..count).map(|n| doc(&format!("other-{n}"))));
    stored(all)
}

/// Entities whose ancestors are known.
fn stored(all: impl IntoIterator<Item = Entity>) -> EntityStore {
    let all = Entities::new()
        .add_entities(
            all.into_iter().map(Into::into),
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .unwrap();
    EntityStore::of(&all)
}

pub(super) fn question() -> Question {
    let context = [("mfa".into(), Value::from(true))];
    Question {
        principal: uid("User", "u").into(),
        action: uid("Action", "read").into(),
        resource: uid("Doc", "d").into(),
        context: Context::Value(std::sync::Arc::new(context.into())),
        now: None,
        overlays: crate::entities::Overlays::default(),
    }
}

#[test]
fn a_decision_evaluates_as_few_policies_among_many_as_among_few() {
    let (store, question) = (entities(10), question());
    for count in [10, 5000] {
        let rules = policies(count);
        let outcome = rules.decide(&question, &store).unwrap();
        assert_eq!(outcome.determining.len(), 4, "{count}");
        assert_eq!(rules.matching(&question, &store).len(), 7, "{count}");
        let cedar = Oracle::new(&rules).decide(&question, &store).unwrap();
        assert_eq!(Verdict::of(&outcome), cedar);
    }
}

/// The median of five rounds.
fn per_call(mut call: impl FnMut(), calls: u32) -> Duration {
    let mut rounds: Vec<Duration> = (0..5)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..calls {
                call();
            }
            started.elapsed() / calls
        })
        .collect();
    rounds.sort();
    rounds[2]
}

/// Clauses that policies of one scope begin with, each with a number of its own. Of however many,
/// one or two can hold for [`question`].
pub(super) const BEGINNINGS: &[&str] = &[
    "when { principal.team == \"t{n}\" }",
    "unless { principal.team != \"t{n}\" }",
    "when { [\"t{n}\", \"x{n}\"].contains(principal.team) }",
    "when { principal.team == \"t{n}\" || principal.team == \"x{n}\" }",
    "when { (principal.team == \"t{n}\" && context.mfa) || principal.team == \"x{n}\" }",
    "when { principal in Team::\"t{n}\" }",
    "when { resource in [Folder::\"f{n}\", Folder::\"x{n}\"] }",
    "when { principal == User::\"u{n}\" }",
    "when { principal.roles.contains(\"t{n}\") }",
    "when { principal.roles.containsAny([\"t{n}\", \"x{n}\"]) }",
    // Nothing tells these apart.
    "when { principal.team == \"t{n}\" || resource.team == \"t{n}\" }",
];

/// The policies, and who and what there is.
pub(super) fn of_one_scope(beginning: &str, count: usize) -> (Rules, EntityStore) {
    let mut policies = String::new();
    for n in 0..count {
        policies.push_str("permit (principal, action, resource) ");
        policies.push_str(&beginning.replace("{n}", &n.to_string()));
        policies.push_str(";\n");
    }
    let text = |text: &str| Value::from(text);
    let roles = Value::set([text("t3"), text("t5"), text("none")], None);
    let up = [uid("Team", "t3"), uid("Team", "t5")];
    let all = [
        entity(
            uid("User", "u"),
            vec![("team", text("t3")), ("roles", roles)],
            &up,
        ),
        entity(
            uid("Doc", "d"),
            vec![("team", text("none"))],
            &[uid("Folder", "f3")],
        ),
    ];
    (rules(&policies.parse::<PolicySet>().unwrap()), stored(all))
}

#[test]
fn policies_of_one_scope_are_decided_as_cedar_decides_them() {
    let question = question();
    for beginning in BEGINNINGS {
        let (rules, store) = of_one_scope(beginning, 50);
        let outcome = rules.decide(&question, &store).unwrap();
        let cedar = Oracle::new(&rules).decide(&question, &store).unwrap();
        assert_eq!(Verdict::of(&outcome), cedar, "{beginning}");
    }
}

#[test]
#[ignore = "a measurement: `bench/decide` runs it"]
fn measure_one_scope() {
    println!("{:<11}{:<11}{:<11}policies of one scope", 10, 1000, 30_000);
    let question = question();
    for beginning in BEGINNINGS {
        for count in [10, 1000, 30_000] {
            let (rules, store) = of_one_scope(beginning, count);
            let taken = per_call(
                || {
                    let outcome = black_box(&rules).decide(black_box(&question), &store);
                    black_box(outcome.unwrap().permitted);
                },
                500,
            );
            print!("{:<11}", format!("{taken:.2?}"));
        }
        println!("{beginning}");
    }
}

#[test]
#[ignore = "a measurement: `bench/decide` runs it"]
fn measure() {
    println!("policies  entities  ours      plain authorizer");
    let question = question();
    for (count, others) in [
        (10, 1),
        (100, 1),
        (1000, 1),
        (10_000, 1),
        (100_000, 1),
        (1000, 10_000),
        (1000, 1_000_000),
    ] {
        let (rules, store) = (policies(count), entities(others));
        let ours = per_call(
            || {
                let outcome = black_box(&rules).decide(black_box(&question), &store);
                assert!(black_box(outcome.unwrap()).permitted);
            },
            20_000,
        );
        let oracle = Oracle::new(&rules);
        let calls = u32::try_from(20_000 / count).unwrap().max(3);
        let plain = per_call(
            || {
                let verdict = oracle.decide(black_box(&question), &store).unwrap();
                assert!(black_box(verdict).permitted);
            },
            calls,
        );
        println!("{count:<9} {others:<9} {ours:<9.2?} {plain:.2?}");
    }
}
