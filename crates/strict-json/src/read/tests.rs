//! What is read is what `serde_json` reads, and what is refused is what it refuses.

use proptest::prelude::*;

use super::*;

#[test]
fn plain_ends_at_the_first_byte_that_is_not() {
    for odd in [0_u8, 7, 0x1f, b'"', b'\\'] {
        for at in 0..40 {
            let mut bytes = vec![b' '; 40];
            for (place, byte) in (0_u8..).zip(&mut bytes) {
                *byte = [b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff, b' '][place as usize % 8];
            }
            bytes[at] = odd;
            assert_eq!(plain(&bytes), at, "{odd}");
            assert_eq!(plain(&bytes[..at]), at);
        }
    }
}

#[test]
fn an_object_knows_its_text_where_it_is_one_line() {
    let text = "{\"a\":{\"b\": 1},\n\"c\":[{\"d\" :2}]}";
    let arena = Arena::new();
    let Ok(Json::Object(all)) = read(text.as_bytes(), &arena, 9) else {
        panic!("an object")
    };
    assert_eq!(all.text, None);
    let Some(Json::Object(first)) = all.get("a") else {
        panic!("an object")
    };
    assert_eq!(first.text, Some("{\"b\": 1}"));
    let Some(Json::Array(items)) = all.get("c") else {
        panic!("an array")
    };
    let [Json::Object(last)] = items else {
        panic!("an object")
    };
    assert_eq!(last.text, Some("{\"d\" :2}"));
}

#[test]
fn levels_are_those_of_arrays_and_objects() {
    for (json, deepest) in [("1", 0), ("[]", 1), (r#"{"a":[{}],"b":[[]],"c":"[["}"#, 3)] {
        let arena = Arena::new();
        assert!(read(json.as_bytes(), &arena, deepest).is_ok(), "{json}");
        if deepest > 0 {
            let refused = read(json.as_bytes(), &arena, deepest - 1).unwrap_err();
            let levels = deepest - 1;
            assert_eq!(refused, JsonError::TooDeep { levels });
        }
    }
}

/// Pieces that texts of JSON, and texts that nearly are JSON, are made of.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\"a\"",
        "\"b\":",
        "\"\\u00e9\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\"\\x\"",
        "true",
        "false",
        "null",
        "nul",
        "0",
        "-0",
        "01",
        "-1",
        "1.5",
        "1.",
        ".5",
        "1e3",
        "1E+400",
        "-",
        "--1",
        "12345678901234567890",
        "99999999999999999999",
        "\n",
        " ",
        "\t",
        "\r",
        "\u{c}",
        "\u{feff}",
        "é",
        "\u{0}",
        "\"é\n\"",
        "{\"a\":1}",
        "[1,2]",
        "[]",
        "{}",
        "\"12345678\\\"\"",
        "+1",
        "1e",
        "18446744073709551615",
        "-9223372036854775808",
    ];
    proptest::sample::select(fixed.map(str::to_owned).to_vec())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(".{0,12}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn agrees(body: &[u8]) -> Result<(), TestCaseError> {
    let arena = Arena::new();
    match (
        read(body, &arena, 120),
        serde_json::from_slice::<Value>(body),
    ) {
        (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.to_value(), theirs),
        // It takes the last one.
        (Err(JsonError::Malformed { message }), Ok(_)) => {
            prop_assert!(message.ends_with("appears twice"), "{}", message);
        }
        (Err(JsonError::Malformed { message }), Err(theirs)) => {
            prop_assert!(
                message == theirs.to_string() || message.ends_with("appears twice"),
                "{}",
                message
            );
        }
        (ours, theirs) => prop_assert!(false, "{:?} and {:?}", ours, theirs),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_read_is_what_serde_json_reads(
        value in json(),
        is_pretty in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let text = if is_pretty {
            serde_json::to_vec_pretty(&value)
        } else {
            serde_json::to_vec(&value)
        };
        let mut text = text.unwrap();
        agrees(&text)?;
        prop_assert!(read(&text, &Arena::new(), 120).is_ok());
        let at = cut.index(text.len());
        agrees(&text[..at])?;
        text[at] = byte;
        agrees(&text)?;
    }

    #[test]
    fn what_is_refused_is_what_serde_json_refuses(pieces in prop::collection::vec(piece(), 0..12)) {
        agrees(pieces.concat().as_bytes())?;
    }
}
