//! What deciding allocates, which is nothing: what is looked at is borrowed, and what is found stands in
//! the outcome. Each allocation that comes back costs as much as a policy does.

use allocation_counter::measure;

use super::{KindPlace, Question, Rules, growth, workloads};
use crate::entities::EntityStore;

/// How often one decision allocates, and one that knows which kind of question it is: the first has
/// made what is made once.
fn allocations(rules: &Rules, question: &Question, store: &EntityStore) -> [u64; 2] {
    let kind = KindPlace { at: 0, of: 1 };
    let decides: [&dyn Fn() -> bool; 2] = [
        &|| rules.decide(question, store).unwrap().permitted,
        &|| {
            let outcome = rules.decide_of_kind(kind, question, store);
            outcome.unwrap().permitted
        },
    ];
    decides.map(|decide| {
        decide();
        measure(|| {
            decide();
        })
        .count_total
    })
}

#[test]
fn a_decision_allocates_nothing_however_many_policies_there_are() {
    let (store, question) = (growth::entities(10), growth::question());
    for count in [10, 1000, 20_000] {
        let rules = growth::policies(count);
        assert_eq!(allocations(&rules, &question, &store), [0, 0], "{count}");
    }
}

#[test]
fn choosing_among_policies_of_one_scope_allocates_nothing() {
    for beginning in growth::BEGINNINGS {
        // Nothing tells those of the last one apart; of more than these, a list of them is made.
        let (rules, store) = growth::of_one_scope(beginning, 16);
        let counted = allocations(&rules, &growth::question(), &store);
        assert_eq!(counted, [0, 0], "{beginning}");
    }
}

#[test]
fn questions_of_applications_allocate_nothing() {
    for (name, size) in [("github", 5), ("gdrive", 5), ("tinytodo", 5), ("guards", 5)] {
        let (rules, store, questions) = workloads::made(name, size);
        for question in &questions {
            let kind = allocations(&rules, question, &store)[0];
            assert_eq!(kind, 0, "{name}: {question:?}");
        }
    }
}
