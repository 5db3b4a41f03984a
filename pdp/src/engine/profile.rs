//! One workload by itself, to be looked at by a profiler: times lie where other work runs.

use std::hint::black_box;

use super::{KindPlace, Question, Rules, growth, workloads};
use crate::entities::EntityStore;

/// What is to be counted: nothing else is called by this name.
#[inline(never)]
fn one_decision(rules: &Rules, asked: &(KindPlace, Question), store: &EntityStore) -> bool {
    let (kind, question) = black_box(asked);
    let outcome = rules.decide_of_kind(*kind, question, store);
    black_box(outcome.unwrap()).permitted
}

/// Each question with its kind, as a snapshot knows it.
fn with_kinds(questions: Vec<Question>) -> Vec<(KindPlace, Question)> {
    let mut kinds = Vec::new();
    let kind = |question: &Question| {
        let types = [&question.principal, &question.resource].map(|uid| uid.entity_type().clone());
        (question.action.clone(), types)
    };
    let placed = questions.iter().map(|question| {
        let kind = kind(question);
        kinds
            .iter()
            .position(|known| *known == kind)
            .unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            })
    });
    let places: Vec<_> = placed.collect();
    let place = |at| KindPlace {
        at,
        of: kinds.len(),
    };
    places.into_iter().map(place).zip(questions).collect()
}

/// `WORKLOAD="growth 1000 50"` for so many policies and decisions; or `github`, `gdrive`,
/// `tinytodo`, `guards` or `scopes` with a size.
#[test]
#[ignore = "a measurement: `bench/instructions` runs it"]
fn decisions() {
    let workload = std::env::var("WORKLOAD").unwrap();
    let (name, rest) = workload.split_once(' ').unwrap();
    let (size, count) = rest.split_once(' ').unwrap();
    let (size, count) = (size.parse().unwrap(), count.parse().unwrap());
    let (rules, store, questions) = match name {
        "growth" => {
            let store = growth::entities(10);
            (growth::policies(size), store, vec![growth::question()])
        }
        _ => workloads::made(name, size),
    };
    let questions = with_kinds(questions);
    let permitted = (questions.iter().cycle().take(count))
        .filter(|question| one_decision(&rules, question, &store))
        .count();
    println!("{workload}: {permitted} of {count} permitted");
}
