//! The instructions that travel with a policy: `@reason`, `@advice` and `@obligation`, read when
//! the policy is loaded so that a malformed one never reaches a decision.

use authzen::{Condition, Obligation, Properties};
use serde_json::Value;

/// Reads the value of an `@obligation`: JSON (`{"type": …}` or an array of such), or the
/// shorthand `TYPE name=value,value other=value`, in which every property is an array of
/// strings. An obligation without an id of its own is named after its policy.
pub(crate) fn obligations(policy: &str, text: &str) -> Result<Vec<Obligation>, String> {
    let text = text.trim();
    let mut read = Vec::new();
    if text.starts_with(['{', '[']) {
        for item in json_items(text)? {
            read.push(from_json(item)?);
        }
    } else {
        read.push(from_shorthand(text)?);
    }
    let alone = read.len() == 1;
    let obligations: Vec<_> = read
        .into_iter()
        .enumerate()
        .map(|(index, (id, kind, properties))| Obligation {
            id: id.unwrap_or_else(|| {
                if alone {
                    policy.to_owned()
                } else {
                    format!("{policy}#{}", index + 1)
                }
            }),
            kind,
            properties,
        })
        .collect();
    for obligation in &obligations {
        // Of types that are not known here, whoever keeps them knows more.
        Condition::of(obligation).map_err(|wrong| format!("`{}`: {wrong}", obligation.kind))?;
    }
    Ok(obligations)
}

/// Reads the value of an `@advice`: JSON where it looks like JSON, else a sentence.
pub(crate) fn advice(text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with(['{', '[']) {
        json_items(text)
    } else {
        Ok(vec![Value::String(text.to_owned())])
    }
}

type Parts = (Option<String>, String, Properties);

fn json_items(text: &str) -> Result<Vec<Value>, String> {
    // Strict reading (no name twice) through an object, which is what can be read strictly.
    let wrapped = strict_json::parse_object(format!("{{\"items\":{text}}}").as_bytes())
        .map_err(|error| error.to_string())?;
    match wrapped.get("items") {
        _ if wrapped.len() != 1 => Err("it is not one JSON value".into()),
        Some(Value::Array(items)) => Ok(items.clone()),
        Some(item) => Ok(vec![item.clone()]),
        None => Ok(Vec::new()),
    }
}

fn from_json(item: Value) -> Result<Parts, String> {
    let Value::Object(mut object) = item else {
        return Err("it must be a JSON object or an array of them".into());
    };
    let Some(Value::String(kind)) = object.remove("type") else {
        return Err("`type` must be a string".into());
    };
    if kind.is_empty() {
        return Err("`type` is empty".into());
    }
    let id = match object.remove("id") {
        None => None,
        Some(Value::String(id)) => Some(id),
        Some(_) => return Err("`id` must be a string".into()),
    };
    let properties = match object.remove("properties") {
        None => Properties::new(),
        Some(Value::Object(properties)) => properties,
        Some(_) => return Err("`properties` must be an object".into()),
    };
    match object.keys().next() {
        Some(name) => Err(format!(
            "unknown member `{name}`; known are `id`, `type` and `properties`"
        )),
        None => Ok((id, kind, properties)),
    }
}

fn from_shorthand(text: &str) -> Result<Parts, String> {
    let mut words = text.split_whitespace();
    let kind = words
        .next()
        .filter(|kind| !kind.contains('='))
        .ok_or("it must begin with the obligation's type")?;
    let mut properties = Properties::new();
    for word in words {
        let (name, values) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` must be `name=value,value`"))?;
        let values: Vec<Value> = values.split(',').map(Value::from).collect();
        if name.is_empty() || values.iter().any(|value| value == "") {
            return Err(format!("`{word}` has an empty name or value"));
        }
        if properties
            .insert(name.to_owned(), Value::Array(values))
            .is_some()
        {
            return Err(format!("`{name}` appears twice"));
        }
    }
    Ok((None, kind.to_owned(), properties))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_shorthand_and_json_say_the_same() {
        let short = obligations("p", "mask fields=/ssn,/email").unwrap();
        let long = obligations(
            "p",
            r#"{"type":"mask","properties":{"fields":["/ssn","/email"]}}"#,
        )
        .unwrap();
        assert_eq!(short, long);
        assert_eq!(
            serde_json::to_value(&short).unwrap(),
            json!([{"id":"p","type":"mask","properties":{"fields":["/ssn","/email"]}}])
        );
    }

    #[test]
    fn every_type_that_gateways_keep_can_be_written_short() {
        for text in [
            "mask fields=/ssn,/email",
            "log",
            "step_up acr_values=phr,phrh max_age=300",
            "headers request=x-team:blue response=x-tier:gold",
            "rate class=gold",
            "notify to=owner,audit required=true",
            "filter array=/items type=Record id=/id action=view",
            "of_another_system anything=1",
        ] {
            assert!(obligations("p", text).is_ok(), "{text}");
        }
    }

    #[test]
    fn several_obligations_get_names_of_their_own() {
        let read = obligations("p", r#"[{"type":"a"},{"id":"mine","type":"b"}]"#).unwrap();
        assert_eq!(
            read.iter().map(|o| o.id.as_str()).collect::<Vec<_>>(),
            ["p#1", "mine"]
        );
    }

    #[test]
    fn malformed_obligations_are_refused() {
        for text in [
            "",
            "fields=/ssn",
            "mask fields",
            "mask =x",
            "mask a=1 a=2",
            "mask a=1,,2",
            "{}",
            r#"{"type":""}"#,
            r#"{"type":1}"#,
            r#"{"type":"a","x":1}"#,
            r#"{"type":"a","type":"b"}"#,
            r#"{"type":"a"},"more":[]"#,
            r#"{"type":"a"#,
            r#"["a"]"#,
            "mask fields=ssn",
            "mask fields=/ssn how=x",
            "step_up max_age=soon",
            "rate",
            "headers request=x-a",
            "notify",
            "filter type=Record",
            "log level=high",
        ] {
            assert!(obligations("p", text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = obligations("p", &text);
            let _ = advice(&text);
        }
    }
}
