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
use crate::source::{Lines, SourceFile, chain};

/// What the folder states, the schema's actions and their groups included.
pub(super) struct Stated {
    pub(super) rows: Vec<Row>,
    pub(super) count: usize,
}

/// The most issues that are told of one file.
const TOLD: usize = 100;

/// The most characters of what is said about one.
const MESSAGE: usize = 1000;

/// Where an entity is: its place is looked for only where there is an issue with it.
#[derive(Clone, Copy)]
struct Spot<'a> {
    lines: &'a Lines<'a>,
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
    let lines: Vec<Lines<'_>> = files.iter().map(SourceFile::lines).collect();
    let mut found = Found::default();
    for (file, lines) in files.iter().zip(&lines) {
        found.add(file, lines, schema);
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
    fn add(&mut self, file: &SourceFile, lines: &'a Lines<'a>, schema: &Schema) {
        let spans = match elements(file) {
            Ok(spans) => spans,
            Err(issue) => return self.issues.push(issue),
        };
        let mut wrong = 0_usize;
        for (start, end) in spans {
            let text = file.text.get(start..end).unwrap_or_default();
            let spot = Spot {
                lines,
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
        let entity = Entity::from_json_str(text, Some(schema));
        let entity = entity.map_err(|error| Wrong::Invalid(Box::new(error)))?;
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
                    Some(help) => issue.hint(shortened(&help.to_string())),
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
        self.lines.issue_at(self.offset, shortened(message))
    }
}

impl fmt::Display for Spot<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.lines.place(self.offset);
        write!(formatter, "{}:{line}:{column}", self.lines.path().display())
    }
}

/// Messages repeat what is written: a value of a megabyte, too.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

/// Where the elements of the file's array begin and end.
fn elements(file: &SourceFile) -> Result<Vec<(usize, usize)>, PolicyIssue> {
    let value: serde_json::Value = serde_json::from_str(&file.text).map_err(|error| {
        file.issue_at_line(
            error.line(),
            error.column(),
            format!("not valid JSON: {error}"),
        )
    })?;
    if !value.is_array() {
        return Err(file
            .issue_at(0, "the file must hold an array of entities")
            .hint("write `[{\"uid\": …, \"attrs\": {…}, \"parents\": []}]`"));
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
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use proptest::prelude::*;

    fn spans(text: &str) -> Vec<String> {
        elements(&file(text))
            .unwrap()
            .into_iter()
            .map(|(start, end)| text.get(start..end).unwrap().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn elements_are_found_behind_strings_that_look_like_brackets() {
        assert_eq!(
            spans(r#" [ {"a":"]}\"["}, [1,[2]] ,"x,]" , 3 ] "#),
            [r#"{"a":"]}\"["}"#, "[1,[2]]", r#""x,]""#, "3"]
        );
        assert!(spans("[]").is_empty());
    }

    fn file(text: &str) -> SourceFile {
        SourceFile {
            path: std::path::Path::new("entities.json").into(),
            text: text.into(),
        }
    }

    fn schema() -> Schema {
        "entity User { name: String };".parse().unwrap()
    }

    fn users(count: usize, between: &str, name: impl Fn(usize) -> serde_json::Value) -> String {
        let user = |at| {
            let name = name(at);
            format!(
                r#"{{"uid":{{"type":"User","id":"u{at}"}},"attrs":{{"name":{name}}},"parents":[]}}"#
            )
        };
        let users: Vec<_> = (0..count).map(user).collect();
        format!("[{between}{}]", users.join(&format!(",{between}")))
    }

    fn took(text: &str) -> (Duration, Result<Stated, Vec<PolicyIssue>>) {
        let (files, schema) = ([file(text)], schema());
        let begun = Instant::now();
        let read = read(&files, &schema);
        (begun.elapsed(), read)
    }

    #[test]
    fn one_line_is_read_as_fast_as_many_and_a_mistake_in_it_is_told_shortly() {
        let valid = |_| "x".into();
        let (lines, stated) = took(&users(40_000, "\n", valid));
        assert_eq!(stated.ok().unwrap().count, 40_000);
        let (one_line, stated) = took(&users(40_000, "", valid));
        assert_eq!(stated.ok().unwrap().count, 40_000);
        assert!(one_line < lines * 4, "{one_line:?} and {lines:?}");

        let last = |at| if at == 39_999 { 7.into() } else { "x".into() };
        let text = users(40_000, "", last);
        let offset = text.rfind("{\"uid\"").unwrap();
        let (took, stated) = took(&text);
        let issues = stated.err().unwrap();
        let [issue] = issues.as_slice() else {
            panic!("{issues:?}");
        };
        assert_eq!(issue.issue.place, Some((1, offset + 1)));
        let told = issue.to_string();
        assert!(told.len() < 1000 && told.contains("u39999"), "{told}");
        assert!(took < lines * 4, "{took:?} and {lines:?}");
    }

    #[test]
    fn many_mistakes_are_counted_and_few_are_told() {
        let (valid, _) = took(&users(10_000, "\n", |_| "x".into()));
        let (took_all, stated) = took(&users(10_000, "", |_| 7.into()));
        assert!(took_all < valid * 4, "{took_all:?} and {valid:?}");
        let issues = stated.err().unwrap();
        assert_eq!(issues.len(), TOLD + 1);
        assert_eq!(
            issues[TOLD].to_string(),
            "entities.json: 9900 more entities of this file do not hold"
        );
        let (_, stated) = took(&users(TOLD, "", |_| 7.into()));
        assert_eq!(stated.err().unwrap().len(), TOLD);
    }

    #[test]
    fn a_large_value_is_not_repeated() {
        let large = "x".repeat(1_000_000);
        let wrong = serde_json::json!([large]);
        for text in [
            users(1, "", |_| wrong.clone()),
            users(1, "", |_| large.clone().into())
                .replace("u0", &large)
                .replace("name", "nome"),
            format!("[{{\"uid\": \"{large}\"}}]"),
            format!("[\"{large}\"]"),
            format!("[\"{large}]"),
        ] {
            let (_, stated) = took(&text);
            let told: Vec<_> = stated
                .err()
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            let told = told.join("\n");
            assert!(told.len() < 3000, "{}", told.len());
        }
    }

    #[test]
    fn an_entity_that_is_stated_twice_names_both_places() {
        let files = [
            file(&users(1, "\n", |_| "x".into())),
            file(&users(2, "", |_| "x".into())),
        ];
        let issues = read(&files, &schema()).err().unwrap();
        let [issue] = issues.as_slice() else {
            panic!("{issues:?}");
        };
        assert_eq!(issue.issue.place, Some((1, 2)));
        assert_eq!(issue.issue.message, "`User::\"u0\"` is stated twice");
        assert_eq!(issue.issue.hint.as_deref(), Some("see entities.json:2:1"));
    }

    proptest! {
        #[test]
        fn every_element_is_found(texts in proptest::collection::vec("[ -~]{0,12}", 0..6)) {
            let items: Vec<_> = texts.iter().map(|t| serde_json::json!({ t.as_str(): [t] })).collect();
            let found: Vec<serde_json::Value> = spans(&serde_json::to_string_pretty(&items).unwrap())
                .iter()
                .map(|text| serde_json::from_str(text).unwrap())
                .collect();
            prop_assert_eq!(found, items);
        }
    }
}
