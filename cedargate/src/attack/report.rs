//! What came of an attack: a table for people, the same as JSON for machines, and failures so that
//! somebody can act.

use std::fmt;

use serde::Serialize;

use super::case::{Case, Class};
use super::upstream::Seen;
use super::verdict::Outcome;

/// The result of a whole attack.
#[derive(Debug, Serialize)]
pub struct Report {
    pub classes: Vec<Row>,
    pub not_applicable: Vec<NotApplicable>,
    pub failures: Vec<Failure>,
}

/// One class.
#[derive(Debug, Serialize)]
pub struct Row {
    pub class: &'static str,
    pub cases: usize,
    pub passed: usize,
    pub failed: usize,
}

/// What was not tried.
#[derive(Debug, Serialize)]
pub struct NotApplicable {
    pub what: &'static str,
    pub reason: String,
}

/// A case that failed.
#[derive(Debug, Serialize)]
pub struct Failure {
    pub class: &'static str,
    pub title: String,
    pub why: String,
    pub sent: String,
    pub answered: String,
    pub upstream_received: Vec<String>,
    pub advice: &'static str,
}

/// More of an exchange is not shown.
const SHOWN: usize = 600;

impl Report {
    pub(super) fn new<'c>(
        classes: impl Iterator<Item = &'c Class>,
        not_applicable: Vec<NotApplicable>,
    ) -> Self {
        let row = |class: &Class| Row {
            class: class.name(),
            cases: 0,
            passed: 0,
            failed: 0,
        };
        Self {
            classes: classes.map(row).collect(),
            not_applicable,
            failures: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, case: &Case, outcome: &Outcome, why: Option<String>) {
        let name = case.class.name();
        if let Some(row) = self.classes.iter_mut().find(|row| row.class == name) {
            row.cases += 1;
            row.passed += usize::from(why.is_none());
            row.failed += usize::from(why.is_some());
        }
        if let Some(why) = why {
            self.failures.push(Failure {
                class: name,
                title: case.title.clone(),
                why,
                sent: shown(&case.bytes),
                answered: shown(&outcome.answer),
                upstream_received: outcome.seen.iter().map(received).collect(),
                advice: case.class.advice(),
            });
        }
    }

    /// Cases of a class, by its name in the table.
    pub fn class(&self, name: &str) -> Option<&Row> {
        self.classes.iter().find(|row| row.class == name)
    }

    pub fn cases(&self) -> usize {
        self.classes.iter().map(|row| row.cases).sum()
    }

    /// Nothing failed, and what should pass did: a gateway that refuses everything fails.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
            && self
                .class(Class::Control.name())
                .is_some_and(|row| row.passed > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(out, "FAILED {}: {}", failure.class, failure.title)?;
            writeln!(out, "  why       {}", failure.why)?;
            writeln!(out, "  sent      {}", failure.sent)?;
            writeln!(out, "  answered  {}", failure.answered)?;
            for received in &failure.upstream_received {
                writeln!(out, "  upstream  {received}")?;
            }
            writeln!(out, "  to do     {}\n", failure.advice)?;
        }
        writeln!(
            out,
            "{:<16}{:>7}{:>8}{:>8}",
            "class", "cases", "passed", "failed"
        )?;
        for row in &self.classes {
            writeln!(
                out,
                "{:<16}{:>7}{:>8}{:>8}",
                row.class, row.cases, row.passed, row.failed
            )?;
        }
        let failed = self.failures.len();
        let cases = self.cases();
        write!(
            out,
            "{:<16}{cases:>7}{:>8}{failed:>8}",
            "all",
            cases - failed
        )?;
        for absent in &self.not_applicable {
            write!(
                out,
                "\n{:<17}not applicable: {}",
                absent.what, absent.reason
            )?;
        }
        Ok(())
    }
}

fn received(seen: &Seen) -> String {
    let end = if seen.is_whole {
        String::new()
    } else {
        " (broken off)".to_owned()
    };
    let surplus = if seen.surplus.is_empty() {
        String::new()
    } else {
        format!(" and then {}", shown(&seen.surplus))
    };
    format!("{}{end}{surplus}", seen.head.escape_default())
}

fn shown(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(nothing)".to_owned();
    }
    let begin = bytes.get(..SHOWN).unwrap_or(bytes);
    let more = bytes.len() - begin.len();
    let text = begin.escape_ascii();
    if more == 0 {
        text.to_string()
    } else {
        format!("{text}… and {more} bytes more")
    }
}
