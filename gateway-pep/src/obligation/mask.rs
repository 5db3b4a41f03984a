//! Masking: fields of a JSON document, named by JSON Pointers, are replaced by `"***"`.
//!
//! Works on the bytes: what is not masked comes out exactly as it went in (numbers keep their
//! digits, members their order), and a name that occurs twice is masked twice.

use serde::de::IgnoredAny;
use strict_json::Pointer;

use super::scan::value_length;

/// Which fields. A tree of pointer segments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    root: Node,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Node {
    masked: bool,
    named: Vec<(String, Node)>,
    /// `*`: every member and every element.
    every: Option<Box<Node>>,
}

/// The document is not JSON, so nothing can be found in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document is not JSON")]
pub(crate) struct NotJson;

const MASKED: &[u8] = b"\"***\"";

impl Mask {
    /// Adds a pointer, in which a segment `*` stands for all.
    pub(crate) fn add(&mut self, pointer: &Pointer) {
        let mut node = &mut self.root;
        for segment in pointer.segments() {
            node = node.child(segment);
        }
        node.masked = true;
    }

    /// What another masks, too.
    pub(crate) fn join(&mut self, other: &Self) {
        self.root.join(&other.root);
    }

    /// The document with its fields masked.
    pub(crate) fn apply(&self, document: &[u8]) -> Result<Vec<u8>, NotJson> {
        serde_json::from_slice::<IgnoredAny>(document).map_err(|_| NotJson)?;
        let mut writer = Writer {
            rest: document,
            out: Vec::with_capacity(document.len()),
        };
        writer.copy_space();
        writer.value(&[&self.root]).ok_or(NotJson)?;
        writer.out.extend_from_slice(writer.rest);
        Ok(writer.out)
    }
}

impl Node {
    /// As deep as pointers are.
    fn join(&mut self, other: &Self) {
        self.masked |= other.masked;
        for (name, node) in &other.named {
            self.child(name).join(node);
        }
        if let Some(every) = &other.every {
            self.every.get_or_insert_default().join(every);
        }
    }

    fn child(&mut self, segment: &str) -> &mut Self {
        if segment == "*" {
            return self.every.get_or_insert_default();
        }
        let known = self.named.iter().position(|(name, _)| *name == segment);
        let at = known.unwrap_or(self.named.len());
        if known.is_none() {
            self.named.push((segment.to_owned(), Self::default()));
        }
        match self.named.get_mut(at) {
            Some((_, node)) => node,
            // Just found or pushed.
            None => self.every.get_or_insert_default(),
        }
    }
}

/// The nodes that a member or element leads to.
fn descend<'n>(nodes: &[&'n Node], segment: &str) -> Vec<&'n Node> {
    let mut next = Vec::new();
    for node in nodes {
        let named = node.named.iter().find(|(name, _)| name == segment);
        next.extend(named.map(|(_, node)| node));
        next.extend(node.every.as_deref());
    }
    next
}

/// Copies a document that is known to be JSON. `None` would mean that it is not.
struct Writer<'d> {
    rest: &'d [u8],
    out: Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, nodes: &[&Node]) -> Option<()> {
        if nodes.iter().any(|node| node.masked) {
            let length = value_length(self.rest)?;
            self.rest = self.rest.get(length..)?;
            self.out.extend_from_slice(MASKED);
            return Some(());
        }
        match self.rest.first()? {
            b'{' if !nodes.is_empty() => self.members(nodes),
            b'[' if !nodes.is_empty() => self.elements(nodes),
            _ => {
                let length = value_length(self.rest)?;
                self.copy(length)
            }
        }
    }

    fn members(&mut self, nodes: &[&Node]) -> Option<()> {
        self.copy(1)?;
        loop {
            self.copy_space();
            if matches!(self.rest.first()?, b'}' | b',') {
                let end = self.rest.first() == Some(&b'}');
                self.copy(1)?;
                if end {
                    return Some(());
                }
                continue;
            }
            let length = value_length(self.rest)?;
            let name: String = serde_json::from_slice(self.rest.get(..length)?).ok()?;
            self.copy(length)?;
            self.copy_space();
            self.copy(1)?; // the colon
            self.copy_space();
            self.value(&descend(nodes, &name))?;
        }
    }

    fn elements(&mut self, nodes: &[&Node]) -> Option<()> {
        self.copy(1)?;
        let mut index = 0_usize;
        loop {
            self.copy_space();
            match self.rest.first()? {
                b']' => return self.copy(1),
                b',' => {
                    index += 1;
                    self.copy(1)?;
                }
                _ => self.value(&descend(nodes, &index.to_string()))?,
            }
        }
    }

    fn copy(&mut self, length: usize) -> Option<()> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.out.extend_from_slice(taken);
        self.rest = rest;
        Some(())
    }

    fn copy_space(&mut self) {
        let space = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        let (taken, rest) = self.rest.split_at(space);
        self.out.extend_from_slice(taken);
        self.rest = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn mask(pointers: &[&str]) -> Mask {
        let mut mask = Mask::default();
        for pointer in pointers {
            mask.add(&Pointer::parse(pointer).unwrap());
        }
        mask
    }

    #[track_caller]
    fn check(pointers: &[&str], document: &str, expected: &str) {
        let masked = mask(pointers).apply(document.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(masked).unwrap(), expected);
    }

    #[test]
    fn named_fields_are_masked_and_all_else_is_left_alone() {
        check(
            &["/ssn", "/a/b", "/none"],
            " { \"id\" : 1.50e3, \"ssn\":\"1\\\"2\" ,\"a\":{\"b\":[1,{}],\"c\":\"\\u00e9\"}} ",
            " { \"id\" : 1.50e3, \"ssn\":\"***\" ,\"a\":{\"b\":\"***\",\"c\":\"\\u00e9\"}} ",
        );
        check(
            &["/*/ssn", "/1/x"],
            r#"[{"ssn":1,"x":2},{"x":3,"ssn":null},[],"s"]"#,
            r#"[{"ssn":"***","x":2},{"x":"***","ssn":"***"},[],"s"]"#,
        );
    }

    #[test]
    fn a_name_cannot_hide_by_escapes_or_by_occurring_twice() {
        check(
            &["/ssn", "/a~1b"],
            r#"{"\u0073sn":1,"ssn":2,"ssn":3,"a/b":4}"#,
            r#"{"\u0073sn":"***","ssn":"***","ssn":"***","a/b":"***"}"#,
        );
    }

    #[test]
    fn what_is_not_json_is_not_masked() {
        for document in ["", "{", "{\"a\":1}x", "nope", "{'a':1}"] {
            assert_eq!(
                mask(&["/a"]).apply(document.as_bytes()),
                Err(NotJson),
                "{document}"
            );
        }
    }

    #[test]
    fn a_deep_document_does_not_overflow_the_stack() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let masked = mask(&["/a/0/b"]).apply(deep.as_bytes()).unwrap();
        assert_eq!(masked, deep.as_bytes());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(|n| json!(n)),
            "[a-c\"\\\\ é{}\\[\\]:,]{0,6}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same, the slow way.
    fn expected(value: &mut Value, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            *value = json!("***");
            return;
        };
        match value {
            Value::Object(map) => {
                for (name, member) in map.iter_mut() {
                    if name == first || *first == "*" {
                        expected(member, rest);
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if index.to_string() == *first || *first == "*" {
                        expected(item, rest);
                    }
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn masking_bytes_agrees_with_masking_values(
            mut value in value(),
            path in prop::collection::vec(prop_oneof!["[a-c]", "[01]", Just("*".to_owned())], 1..4),
        ) {
            let document = serde_json::to_vec_pretty(&value).unwrap();
            let masked = mask(&[&format!("/{}", path.join("/"))]).apply(&document).unwrap();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            expected(&mut value, &path);
            prop_assert_eq!(serde_json::from_slice::<Value>(&masked).unwrap(), value);
        }
    }
}
