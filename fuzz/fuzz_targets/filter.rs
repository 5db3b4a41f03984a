//! Any place of an array, any place of names in its elements, a line each, and any document: what is left are
//! those elements that are to be kept, as values say it, and all else is as it was.
#![no_main]

use gateway_pep::fuzzing::filter;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &str| {
    let mut parts = input.splitn(3, '\n');
    let (Some(array), Some(id), Some(document)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let keeps = |name: &str| name.len() % 2 == 0;
    let Some(filtered) = filter((array, id), document.as_bytes(), keeps) else {
        return;
    };
    let Ok(filtered) = filtered else {
        return;
    };
    // A document that can be read in two ways is not filtered.
    let mut value = strict_json::parse_json(document.as_bytes()).expect("JSON");
    let elements = value.pointer_mut(array).and_then(Value::as_array_mut);
    elements.expect("an array").retain(|element| {
        let name = match element.pointer(id) {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            Some(Value::Number(number)) if number.is_i64() => number.to_string(),
            _ => return false,
        };
        keeps(&name)
    });
    let filtered: Value = serde_json::from_slice(&filtered).expect("JSON");
    assert_eq!(filtered, value);
});
