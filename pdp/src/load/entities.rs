//! Reads `entities*.json` (Cedar's JSON entity format), each entity validated against the schema
//! and named by its place when it does not hold.

use std::collections::HashMap;

use cedar_policy::{Entities, Entity, EntityUid, Schema};
use cedar_policy_core::entities as core;

use crate::PolicyIssue;
use crate::entities::{Origin, Row};
use crate::source::SourceFile;

/// What the folder states, the schema's actions and their groups included.
pub(super) struct Stated {
    pub(super) rows: Vec<Row>,
    pub(super) count: usize,
}

/// Reads every entity of every file.
pub(super) fn read(files: &[SourceFile], schema: &Schema) -> Result<Stated, Vec<PolicyIssue>> {
    let mut entities = Vec::new();
    let mut issues = Vec::new();
    let mut taken: HashMap<EntityUid, String> = HashMap::new();
    for file in files {
        let spans = match elements(file) {
            Ok(spans) => spans,
            Err(issue) => {
                issues.push(issue);
                continue;
            }
        };
        for (start, end) in spans {
            let text = file.text.get(start..end).unwrap_or_default();
            match Entity::from_json_str(text, Some(schema)) {
                Ok(entity) => {
                    let here = file.issue_at(start, "");
                    let place = here.issue.place.unwrap_or_default();
                    let described = format!("{}:{}:{}", file.path.display(), place.0, place.1);
                    if let Some(other) = taken.insert(entity.uid(), described) {
                        let message = format!("`{}` is stated twice", entity.uid());
                        issues.push(file.issue_at(start, message).hint(format!("see {other}")));
                    } else {
                        entities.push(entity);
                    }
                }
                Err(error) => {
                    let mut issue = file.issue_from(&error);
                    issue.issue.place = file.issue_at(start, "").issue.place;
                    issue.issue.excerpt = file.issue_at(start, "").issue.excerpt;
                    issues.push(issue);
                }
            }
        }
    }
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
    use super::*;
    use proptest::prelude::*;

    fn spans(text: &str) -> Vec<String> {
        let file = SourceFile {
            path: std::path::Path::new("entities.json").into(),
            text: text.into(),
        };
        elements(&file)
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
