//! Filtering: which elements of an array of a JSON document are asked about, and the document without those that
//! the caller may not see. What stays comes out as it went in, byte for byte.

use authzen::{Filter, Kind};
use strict_json::{Arena, Json, Pointer};

use super::mask::Mask;
use super::scan;

/// What an element is to the decision point. None of an element that does not say: nobody may see that.
pub(crate) type Element = Option<(String, String)>;

/// What becomes of an element.
#[derive(Debug)]
pub(crate) enum Fate<'m> {
    Removed,
    Kept(Option<&'m Mask>),
}

/// Why a document cannot be filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfilterable {
    #[error("the response is not JSON, or can be read in two ways")]
    NotJson,
    #[error("the response has no array where one was expected")]
    NoArray,
    #[error("the response has too many elements")]
    TooMany,
}

/// The resources that the elements of a document are. None: it has no such place.
pub(crate) fn elements(
    filter: &Filter,
    document: &[u8],
    most: usize,
) -> Result<Option<Vec<Element>>, Unfilterable> {
    let arena = Arena::new();
    let document = Json::parse(document, &arena).map_err(|_| Unfilterable::NotJson)?;
    let elements = match filter.array.find(&document) {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Array(elements)) => elements,
        Some(_) => return Err(Unfilterable::NoArray),
    };
    if elements.len() > most {
        return Err(Unfilterable::TooMany);
    }
    let element = |element: &Json<'_>| {
        let kind = match &filter.kind {
            Kind::Constant(kind) => Some(kind.clone()),
            Kind::At(place) => text_at(place, element),
        };
        kind.zip(text_at(&filter.id, element))
    };
    Ok(Some(elements.iter().map(element).collect()))
}

/// The document with each element treated as said, in their order. None: it is not the document that the elements
/// are of.
pub(crate) fn without(filter: &Filter, document: &[u8], fates: &[Fate<'_>]) -> Option<Vec<u8>> {
    let found = scan::elements(document, &filter.array)?;
    if found.each.len() != fates.len() {
        return None;
    }
    let mut out = Vec::with_capacity(document.len());
    out.extend_from_slice(document.get(..found.inside.start)?);
    let mut is_first = true;
    for (range, fate) in found.each.iter().zip(fates) {
        let Fate::Kept(mask) = fate else {
            continue;
        };
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        let element = document.get(range.clone())?;
        match mask {
            None => out.extend_from_slice(element),
            Some(mask) => out.extend_from_slice(&mask.apply(element).ok()?),
        }
    }
    out.extend_from_slice(document.get(found.inside.end..)?);
    Some(out)
}

/// A text, or a whole number as it is written.
fn text_at(place: &Pointer, element: &Json<'_>) -> Option<String> {
    match place.find(element)? {
        Json::Text(text) if !text.is_empty() => Some((*text).to_owned()),
        Json::Number(number) => number.as_i64().map(|number| number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn filter(array: &str) -> Filter {
        Filter {
            array: match array {
                "" => Pointer::default(),
                array => Pointer::parse(array).unwrap(),
            },
            kind: Kind::Constant("R".into()),
            id: Pointer::parse("/id").unwrap(),
            action: None,
        }
    }

    /// Keeps what is not called `no`.
    fn filtered(array: &str, document: &str) -> String {
        let filter = filter(array);
        let found = elements(&filter, document.as_bytes(), 100)
            .unwrap()
            .unwrap();
        let fates: Vec<Fate<'_>> = found
            .iter()
            .map(|element| match element {
                Some((_, id)) if id != "no" => Fate::Kept(None),
                _ => Fate::Removed,
            })
            .collect();
        let out = without(&filter, document.as_bytes(), &fates).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_stays_stays_as_it_was() {
        for (array, document, expected) in [
            (
                "",
                r#"[ {"id":"a","n":1.0} , {"id":"no"},{"id":7} ]"#,
                r#"[{"id":"a","n":1.0},{"id":7}]"#,
            ),
            (
                "/a~1b/1",
                r#" {"x":[1], "a\/b" : ["]", [{"id":"no"}] ], "z":2}"#,
                r#" {"x":[1], "a\/b" : ["]", [] ], "z":2}"#,
            ),
            ("/items", r#"{"items":[]}"#, r#"{"items":[]}"#),
            // What does not say what it is stays for nobody.
            (
                "",
                r#"[1,"x",null,[],{},{"id":null},{"id":""},{"id":1.5},{"id":"a"}]"#,
                r#"[{"id":"a"}]"#,
            ),
        ] {
            assert_eq!(filtered(array, document), expected);
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        for (document, expected) in [
            (
                r#"{"items":[{"id":"a","id":"b"}]}"#,
                Err(Unfilterable::NotJson),
            ),
            (
                r#"{"items":[],"items":[{"id":"a"}]}"#,
                Err(Unfilterable::NotJson),
            ),
            (r#"{"items":[{"id":"a"}]"#, Err(Unfilterable::NotJson)),
            (r#"{"items":{"id":"a"}}"#, Err(Unfilterable::NoArray)),
            (r#"{"items":[{},{},{}]}"#, Err(Unfilterable::TooMany)),
            (r#"{"items":null}"#, Ok(None)),
            (r#"{"error":"gone"}"#, Ok(None)),
        ] {
            let found = elements(&filter("/items"), document.as_bytes(), 2);
            assert_eq!(found, expected, "{document}");
        }
    }

    proptest! {
        #[test]
        fn filtering_bytes_agrees_with_filtering_values(
            items in prop::collection::vec(prop_oneof![
                "[a-c\\]\\[,{}\"\\\\é]{0,4}".prop_map(|id| json!({ "x": [id.clone(), { "id": "y" }], "id": id })),
                Just(json!("no")),
                Just(json!([[1], { "id": "no" }])),
            ], 0..8),
            pretty: bool,
        ) {
            let document = json!({ "before": ["]", { "items": 1 }], "list": { "items": items }, "z": "[" });
            let text = if pretty {
                serde_json::to_string_pretty(&document).unwrap()
            } else {
                document.to_string()
            };
            let kept: Vec<&Value> = items.iter().filter(|item| item["id"].as_str().is_some_and(|id| !id.is_empty())).collect();
            let out: Value = serde_json::from_str(&filtered("/list/items", &text)).unwrap();
            prop_assert_eq!(&out["list"]["items"], &json!(kept));
            prop_assert_eq!(&out["before"], &document["before"]);
        }
    }
}
