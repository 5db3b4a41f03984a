//! Which values a log must not show: by the name of an attribute, or by the path to it.

use std::collections::HashSet;

use service_kit::ConfigIssue;
use strict_json::{Json, JsonText, Members, name_bit};

/// Names and paths whose values are not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    /// At any depth.
    names: HashSet<String>,
    paths: Vec<Vec<Step>>,
    suspects: Suspects,
}

/// Which names are looked at more closely: nearly none of those that are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Suspects {
    /// The bits of the names that patterns end with.
    bits: u64,
    /// Some pattern ends with any name.
    all: bool,
}

/// A part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    /// `*`: any one name.
    One,
    /// `**`: any names, also none.
    Any,
}

/// What stands in the place of a masked value.
const MASKED: &str = "[masked]";

impl Mask {
    /// Reads patterns: a name (`ssn`), or a path from the record on (`subject.properties.ssn`), in
    /// which `*` is any name and `**` any number of them. Elements of arrays have no name.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, ConfigIssue> {
        let mut mask = Self::default();
        for pattern in patterns {
            if !pattern.contains(['.', '*']) && !pattern.is_empty() {
                mask.suspects.add(&Step::Name(pattern.clone()));
                mask.names.insert(pattern.clone());
                continue;
            }
            let mut steps = Vec::new();
            for step in pattern.split('.') {
                steps.push(match step {
                    "*" => Step::One,
                    "**" => Step::Any,
                    name if name.is_empty() || name.contains('*') => {
                        let message = format!("`pdp.decision_log_mask`: `{pattern}` is no path");
                        return Err(ConfigIssue::new(message).hint(
                            "write names with dots between them; `*` and `**` stand alone, as in \
                             `context.**.token`",
                        ));
                    }
                    name => Step::Name(name.to_owned()),
                });
            }
            if let Some(last) = steps.last() {
                mask.suspects.add(last);
            }
            mask.paths.push(steps);
        }
        Ok(mask)
    }

    /// Writes what may be shown of the members at a place of the record. Nothing is copied for it.
    pub(super) fn write(&self, place: &[&str], members: &Members<'_>, text: &mut JsonText) {
        let path = Path::Place(place);
        if !self.shows_all(members) && self.hides_in_members(&path, members) {
            self.write_members(&path, members, text);
        } else {
            text.members(members);
        }
    }

    /// Nothing of this is hidden, wherever it stands. Nearly always that is seen at once: nothing in it has a
    /// name that is looked at more closely.
    pub(super) fn shows_all(&self, members: &Members<'_>) -> bool {
        members.is_empty() || !self.suspects.all && !members.may_have(self.suspects.bits)
    }

    /// Whether a member has to be looked at more closely.
    fn is_suspect(&self, name: &str, value: &Json<'_>) -> bool {
        self.suspects.has(name) || has_names(value)
    }

    /// Whether anything below is hidden.
    fn hides_in_members(&self, path: &Path<'_>, members: &Members<'_>) -> bool {
        members.iter().any(|(name, value)| {
            // Nearly no name is looked at more closely, and where it stands is said for those alone.
            self.is_suspect(name, value) && {
                let path = Path::Below(path, name);
                self.hides(&path, name) || self.hides_in(&path, value)
            }
        })
    }

    fn hides_in(&self, path: &Path<'_>, value: &Json<'_>) -> bool {
        match value {
            Json::Object(members) => self.hides_in_members(path, members),
            Json::Array(items) => items.iter().any(|item| self.hides_in(path, item)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => false,
        }
    }

    fn write_members(&self, path: &Path<'_>, members: &Members<'_>, text: &mut JsonText) {
        text.object(members.iter(), |text, name, value| {
            let path = Path::Below(path, name);
            if self.hides(&path, name) {
                text.text(MASKED);
            } else {
                self.write_json(&path, value, text);
            }
        });
    }

    fn write_json(&self, path: &Path<'_>, value: &Json<'_>, text: &mut JsonText) {
        match value {
            Json::Object(members) => self.write_members(path, members, text),
            // Elements have no name of their own.
            Json::Array(items) => text.list(*items, |text, item| self.write_json(path, item, text)),
            other => text.json(other),
        }
    }

    fn hides(&self, path: &Path<'_>, name: &str) -> bool {
        if !self.suspects.has(name) {
            return false;
        }
        if self.names.contains(name) {
            return true;
        }
        if self.paths.is_empty() {
            return false;
        }
        let mut names = Vec::new();
        path.names(&mut names);
        self.paths.iter().any(|steps| matches(steps, &names))
    }
}

/// Whether there may be names in a value.
fn has_names(value: &Json<'_>) -> bool {
    match value {
        Json::Object(members) => !members.is_empty(),
        Json::Array(items) => items.iter().any(has_names),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => false,
    }
}

impl Suspects {
    fn add(&mut self, last: &Step) {
        match last {
            Step::Name(name) => self.bits |= name_bit(name),
            Step::One | Step::Any => self.all = true,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.all || self.bits & name_bit(name) != 0
    }
}

/// Where something is in a record.
#[derive(Debug, Clone, Copy)]
enum Path<'a> {
    Place(&'a [&'a str]),
    Below(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    fn names(&self, into: &mut Vec<&'a str>) {
        match self {
            Self::Place(names) => into.extend_from_slice(names),
            Self::Below(above, name) => {
                above.names(into);
                into.push(name);
            }
        }
    }
}

fn matches(steps: &[Step], path: &[&str]) -> bool {
    match (steps.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((Step::Any, rest)), _) => {
            matches(rest, path)
                || path
                    .split_first()
                    .is_some_and(|(_, others)| matches(steps, others))
        }
        (Some((Step::One, rest)), Some((_, others))) => matches(rest, others),
        (Some((Step::Name(name), rest)), Some((first, others))) => {
            name == first && matches(rest, others)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use authzen::Properties;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use strict_json::Arena;

    use super::*;

    fn mask(patterns: &[&str]) -> Mask {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        Mask::new(&patterns).unwrap()
    }

    fn written(mask: &Mask, members: &Members<'_>) -> String {
        let mut text = JsonText::default();
        mask.write(&["subject", "properties"], members, &mut text);
        String::from_utf8(text.into_bytes()).unwrap()
    }

    fn shown(patterns: &[&str]) -> Value {
        let Value::Object(properties) = json!({
            "token": 1, "deep": { "token": 2, "list": [{ "token": 3, "other": 4 }] }, "name": 5,
        }) else {
            panic!("an object")
        };
        let mut text = JsonText::default();
        mask(patterns).write(
            &["context"],
            &Members::lent(&properties, &Arena::new()),
            &mut text,
        );
        serde_json::from_slice(&text.into_bytes()).unwrap()
    }

    #[test]
    fn a_name_is_masked_anywhere_and_a_path_only_there() {
        let m = MASKED;
        for (patterns, expected) in [
            (
                &["token"][..],
                json!({ "token": m, "deep": { "token": m, "list": [{ "token": m, "other": 4 }] }, "name": 5 }),
            ),
            (
                &["context.token"],
                json!({ "token": m, "deep": { "token": 2, "list": [{ "token": 3, "other": 4 }] }, "name": 5 }),
            ),
            (&["subject.token"], shown(&[])),
            (
                &["context.*.token"],
                json!({ "token": 1, "deep": { "token": m, "list": [{ "token": 3, "other": 4 }] }, "name": 5 }),
            ),
            (&["**.token"], shown(&["token"])),
            (
                &["context.deep.**"],
                json!({ "token": 1, "deep": m, "name": 5 }),
            ),
            (
                &["context.deep.list", "context.name"],
                json!({ "token": 1, "deep": { "token": 2, "list": m }, "name": m }),
            ),
        ] {
            assert_eq!(shown(patterns), expected, "{patterns:?}");
        }
    }

    #[test]
    fn a_pattern_that_means_nothing_is_refused() {
        for odd in ["", ".", "a.", ".a", "a..b", "a*", "context.to*", "***"] {
            assert!(Mask::new(&[odd.to_owned()]).is_err(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_however_deep(depth in 0..6_usize, beside in "[a-z]{0,5}") {
            let mut value = json!({ "pin": "s3cret", "beside": beside });
            for level in 0..depth {
                value = if level % 2 == 0 { json!({ "in": [value] }) } else { json!({ "x": value, "pin": ["s3cret"] }) };
            }
            let text = [value.to_string(), serde_json::to_string_pretty(&value).unwrap()];
            let Value::Object(properties) = &value else { panic!("an object") };
            let arena = Arena::new();
            for members in [
                Members::lent(properties, &arena),
                Members::parse(text[0].as_bytes(), &arena).unwrap(),
                Members::parse(text[1].as_bytes(), &arena).unwrap(),
            ] {
                for patterns in [&["pin"][..], &["**.pin"], &["subject.**.pin"]] {
                    let shown = written(&mask(patterns), &members);
                    prop_assert!(!shown.contains("s3cret"), "{}", shown);
                    prop_assert!(serde_json::from_str::<Properties>(&shown).is_ok());
                    prop_assert!(!shown.contains('\n'));
                }
                for patterns in [&[][..], &["other"], &["context.**"], &["pins", "nip"]] {
                    let shown = written(&mask(patterns), &members);
                    prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value.clone());
                    prop_assert!(!shown.contains('\n'));
                }
            }
        }
    }
}
