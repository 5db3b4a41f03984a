//! Any pointers, a line each, and after an empty line any document: masked as values would be, once and for
//! all, or refused where it is no JSON.
#![no_main]

use gateway_pep::fuzzing::mask;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|input: &[u8]| {
    let Some(border) = input.windows(2).position(|two| two == b"\n\n") else {
        return;
    };
    let Ok(pointers) = std::str::from_utf8(&input[..border]) else {
        return;
    };
    let pointers: Vec<&str> = pointers.split('\n').collect();
    let document = &input[border + 2..];
    let Ok(masked) = mask(&pointers, document) else {
        // A name that stands for no text (half of a surrogate pair, say) could be anybody's.
        let is_json = serde_json::from_slice::<Value>(document).is_ok();
        assert!(!is_json || mask(&pointers, b"null").is_err());
        return;
    };
    assert_eq!(mask(&pointers, &masked).as_ref(), Ok(&masked));
    // Names that stand twice are masked twice, which values cannot show.
    let Ok(mut value) = strict_json::parse_json(document) else {
        return;
    };
    for pointer in &pointers {
        let segments: Vec<String> = pointer.split('/').skip(1).map(unescape).collect();
        hide(&mut value, &segments);
    }
    assert_eq!(
        serde_json::from_slice::<Value>(&masked).expect("JSON"),
        value
    );
});

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// The same, the slow way.
fn hide(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        *value = json!("***");
        return;
    };
    let is_meant = |name: &str| name == first || first == "*";
    match value {
        Value::Object(members) => {
            let meant = members.iter_mut().filter(|(name, _)| is_meant(name));
            meant.for_each(|(_, member)| hide(member, rest));
        }
        Value::Array(items) => {
            let items = items.iter_mut().enumerate();
            let meant = items.filter(|(index, _)| is_meant(&index.to_string()));
            meant.for_each(|(_, item)| hide(item, rest));
        }
        _ => {}
    }
}
