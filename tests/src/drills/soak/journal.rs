//! What the endpoints have written down: nothing that must not be sent twice was, and nothing that was refused
//! has reached them.

use std::collections::{BTreeMap, BTreeSet};

use super::stage::Stage;
use super::tally::Tally;

/// What was read.
#[derive(Debug, Default, Clone, Copy)]
pub struct Journal {
    pub orders: usize,
    /// With a key, and taken more than once.
    pub repeated: usize,
}

/// Reads it, and fails what must not be in it.
pub fn read(stage: &Stage, tally: &Tally) -> Journal {
    let mut taken: BTreeMap<u64, usize> = BTreeMap::new();
    for name in ["data/endpoint-1.journal", "data/endpoint-2.journal"] {
        let text = std::fs::read_to_string(stage.file(name)).unwrap_or_default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("order", number)) => {
                    *taken.entry(number.parse().unwrap_or(0)).or_default() += 1
                }
                _ => tally.fail(format!("WRONG an endpoint got what is refused: {line}")),
            }
        }
    }
    let sent = stage.orders.lock().expect("lock");
    let twice: BTreeSet<u64> = taken
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(number, _)| *number)
        .collect();
    for number in twice.difference(&sent.keyed) {
        tally.fail(format!(
            "WRONG order {number} has no key and was sent twice"
        ));
    }
    for number in &sent.answered {
        if !taken.contains_key(number) {
            tally.fail(format!("WRONG order {number} was answered by no endpoint"));
        }
    }
    Journal {
        orders: taken.len(),
        repeated: twice.len(),
    }
}
