//! One workload by itself, to be looked at by a profiler: times lie where other work runs.

use std::hint::black_box;

use super::{Question, Rules, growth, workloads};
use crate::entities::EntityStore;

/// What is to be counted: nothing else is called by this name.
#[inline(never)]
fn one_decision(rules: &Rules, question: &Question, store: &EntityStore) -> bool {
    let outcome = rules.decide(black_box(question), store);
    black_box(outcome.unwrap()).permitted
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
    let permitted = (questions.iter().cycle().take(count))
        .filter(|question| one_decision(&rules, question, &store))
        .count();
    println!("{workload}: {permitted} of {count} permitted");
}
