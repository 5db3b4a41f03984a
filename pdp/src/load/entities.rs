//! Reads `entities*.json` (Cedar's JSON entity format), each entity validated against the schema
//! and named by its place when it does not hold.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use cedar_policy::entities_errors::EntitiesError;
use cedar_policy::{Entities, Entity, EntityUid, Schema};
use cedar_policy_core::entities as core;
use miette::Diagnostic as _;

use crate::PolicyIssue;
use crate::entities::{Origin, Row};
use crate::short::cut;
use crate::source::SourceFile;
use service_kit::error::chain;

/// What the folder states, the schema's actions and their groups included.
pub(super) struct Stated {
    pub(super) rows: Vec<Row>,
    pub(super) count: usize,
}

/// The most issues that are told of one file.
const TOLD: usize = 100;

/// The most characters of what is said about one: that repeats what is written, a value of a megabyte,
/// too.
const MESSAGE: usize = 1000;

/// Where an entity is: its place is looked for only where there is an issue with it.
#[derive(Clone, Copy)]
struct Spot<'a> {
    file: &'a SourceFile,
    offset: usize,
}

/// What is found in the files, one after the other.
#[derive(Default)]
struct Found<'a> {
    entities: Vec<Entity>,
    taken: HashMap<EntityUid, Spot<'a>>,
    issues: Vec<PolicyIssue>,
}

/// Reads every entity of every file.
pub(super) fn read(files: &[SourceFile], schema: &Schema) -> Result<Stated, Vec<PolicyIssue>> {
    let mut found = Found::default();
    for file in files {
        found.add(file, schema);
    }
    let Found {
        entities, issues, ..
    } = found;
    if !issues.is_empty() {
        return Err(issues);
    }
    let count = entities.len();
    // Adds the schema's actions, closes the hierarchy and refuses circles.
    let closed = Entities::from_entities(entities, Some(schema))
        .map_err(|error| vec![crate::source::issue_among(files, &error)])?;
    Ok(Stated {
        rows: AsRef::<core::Entities>::as_ref(&closed)
            .iter()
            .map(|entity| Row::new(entity, Origin::Folder))
            .collect(),
        count,
    })
}

impl<'a> Found<'a> {
    fn add(&mut self, file: &'a SourceFile, schema: &Schema) {
        let spans = match elements(file, "entities", WRITE) {
            Ok(spans) => spans,
            Err(issue) => return self.issues.push(issue),
        };
        let mut wrong = 0_usize;
        for (start, end) in spans {
            let text = file.text.get(start..end).unwrap_or_default();
            let spot = Spot {
                file,
                offset: start,
            };
            if let Err(error) = self.add_one(text, spot, schema) {
                wrong += 1;
                if wrong <= TOLD {
                    self.issues.push(error.at(spot));
                }
            }
        }
        if let Some(more) = wrong.checked_sub(TOLD).filter(|more| *more > 0) {
            let message = format!("{more} more entities of this file do not hold");
            self.issues.push(PolicyIssue::of_file(&*file.path, message));
        }
    }

    fn add_one(&mut self, text: &str, spot: Spot<'a>, schema: &Schema) -> Result<(), Wrong<'a>> {
        let entity = Entity::from_json_str(text, Some(schema))
            .map_err(|error| Wrong::Invalid(Box::new(error)))?;
        match self.taken.entry(entity.uid()) {
            Entry::Occupied(other) => Err(Wrong::Twice(Box::new(entity.uid()), *other.get())),
            Entry::Vacant(free) => {
                free.insert(spot);
                self.entities.push(entity);
                Ok(())
            }
        }
    }
}

/// What is wrong with an entity. Many may be: only those that are told of are put into words.
enum Wrong<'a> {
    Invalid(Box<EntitiesError>),
    Twice(Box<EntityUid>, Spot<'a>),
}

impl Wrong<'_> {
    fn at(&self, spot: Spot<'_>) -> PolicyIssue {
        match self {
            Self::Invalid(error) => {
                let issue = spot.issue(&chain(&**error));
                match error.help() {
                    Some(help) => issue.hint(cut(&help.to_string(), MESSAGE)),
                    None => issue,
                }
            }
            Self::Twice(uid, other) => spot
                .issue(&format!("`{uid}` is stated twice"))
                .hint(format!("see {other}")),
        }
    }
}

impl Spot<'_> {
    fn issue(self, message: &str) -> PolicyIssue {
        self.file.issue_at(self.offset, cut(message, MESSAGE))
    }
}

impl fmt::Display for Spot<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.file.place(self.offset);
        write!(formatter, "{}:{line}:{column}", self.file.path.display())
    }
}

/// Shown where a file is written in another way.
const WRITE: &str = "write `[{\"uid\": …, \"attrs\": {…}, \"parents\": []}]`";

/// Where the elements of a file's array begin and end, which is to be one of `what`.
pub(super) fn elements(
    file: &SourceFile,
    what: &str,
    write: &str,
) -> Result<Vec<(usize, usize)>, PolicyIssue> {
    let value: serde_json::Value = serde_json::from_str(&file.text).map_err(|error| {
        file.issue_at_line(
            error.line(),
            error.column(),
            format!("not valid JSON: {error}"),
        )
    })?;
    if !value.is_array() {
        return Err(file
            .issue_at(0, format!("the file must hold an array of {what}"))
            .hint(write));
    }
    let mut spans = Vec::new();
    let (mut depth, mut start, mut in_text, mut escaped) = (0_usize, None, false, false);
    // The text is valid JSON: only strings can hide a bracket.
    for (offset, byte) in file.text.bytes().enumerate() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        if depth == 1
            && start.is_none()
            && !byte.is_ascii_whitespace()
            && byte != b','
            && byte != b']'
        {
            start = Some(offset);
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b',' | b']' if depth == 1 => {
                spans.extend(start.take().map(|start| (start, offset)));
                if byte == b']' {
                    depth = 0;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(spans)
}

#[cfg(test)]
mod tests;
