//! What came of it, for people.

use std::collections::BTreeMap;
use std::fmt;

use super::draft::id;
use super::exchange::statuses;
use super::grammar::Class;
use super::readers;
use super::verdict::Outcome;

/// The result of a whole drill.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<Class, Row>,
    readers: BTreeMap<&'static str, Row>,
    pub failures: Vec<String>,
    seed: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Row {
    cases: usize,
    failed: usize,
    /// Requests at the upstream's end.
    forwarded: usize,
    /// Answered by the gateway with 4xx or 5xx.
    refused: usize,
    /// Ended by the gateway.
    closed: usize,
}

/// More of them say nothing new.
const SHOWN: usize = 20;

impl Table {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    pub fn count(&mut self, outcome: &Outcome) {
        let verdict = outcome.judge();
        for row in [
            self.rows.entry(outcome.class).or_default(),
            self.readers.entry(outcome.reader).or_default(),
        ] {
            row.cases += 1;
            row.failed += usize::from(verdict.is_err());
            row.forwarded += outcome.seen.len();
            let statuses = statuses(&outcome.answer.bytes);
            row.refused += statuses.iter().filter(|status| **status >= 400).count();
            row.closed += usize::from(outcome.answer.is_closed);
        }
        if let Err(why) = verdict {
            self.fail(format!(
                "{} {}: {why}\n  sent      {}\n  answered  {}\n  decided   {:?}\n  logged    {:?}\n  arrived   {:?}",
                outcome.class.name(),
                id(outcome.case, 0),
                outcome.sent.concat().escape_ascii(),
                outcome.answer.bytes.escape_ascii(),
                outcome.decided,
                outcome.logged,
                outcome.seen,
            ));
        }
    }

    pub fn fail(&mut self, why: String) {
        self.failures.push(why);
    }

    pub fn cases(&self) -> usize {
        self.rows.values().map(|row| row.cases).sum()
    }

    /// Every class and every reader had so many cases at least, and something got through each reader.
    pub fn has_tried(&self, at_least: usize) -> bool {
        let classes = Class::ALL.iter().map(|class| self.rows.get(class));
        let readers = readers::ALL.iter().map(|name| self.readers.get(name));
        let forwarded = readers.clone().flatten().all(|row| row.forwarded > 0);
        let mut all = classes.chain(readers);
        forwarded && all.all(|row| row.is_some_and(|row| row.cases >= at_least))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in self.failures.iter().take(SHOWN) {
            writeln!(out, "FAILED {failure}\n")?;
        }
        let heads = ["cases", "failed", "forwarded", "refused", "closed"];
        write!(out, "{:<20}", "class")?;
        for head in heads {
            write!(out, "{head:>11}")?;
        }
        let classes = self.rows.iter().map(|(class, row)| (class.name(), row));
        let readers = self.readers.iter().map(|(name, row)| (*name, row));
        for (name, row) in classes {
            write!(out, "\n{name:<20}{row}")?;
        }
        write!(out, "\nread by")?;
        for (name, row) in readers {
            write!(out, "\n  {name:<18}{row}")?;
        }
        let cases = self.cases();
        write!(
            out,
            "\n{cases} cases of seed {}, {} failed",
            self.seed,
            self.failures.len()
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cases,
            failed,
            forwarded,
            refused,
            closed,
        } = self;
        write!(
            out,
            "{cases:>11}{failed:>11}{forwarded:>11}{refused:>11}{closed:>11}"
        )
    }
}
