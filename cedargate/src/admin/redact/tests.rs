//! No secret is shown: of every field that holds one, by the schema and by whoever may have forgotten to say so.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use service_kit::Variables;

use super::*;
use crate::config::Loaded;

/// Has a secret in every field that there is for one. `S3CRET` is in each, and nowhere else.
const PLANTED: &str = include_str!("planted.yaml");

/// The fields of the schema that hold secrets, as `Definition.field`.
fn secret_fields() -> BTreeSet<String> {
    let schema = schema_for!(FileConfig).to_value();
    let none = Map::new();
    let definitions = schema.get("$defs").and_then(Value::as_object);
    let redactor = Redactor {
        definitions: definitions.unwrap_or(&none),
    };
    let mut fields = BTreeSet::new();
    let named = redactor.definitions.iter().map(|(name, it)| (&**name, it));
    for (name, definition) in named.chain([("FileConfig", &schema)]) {
        find(&redactor, name, definition, &mut fields);
    }
    fields
}

fn find(redactor: &Redactor<'_>, name: &str, schema: &Value, fields: &mut BTreeSet<String>) {
    let Some(members) = schema.as_object() else {
        return;
    };
    if let Some(properties) = members.get("properties").and_then(Value::as_object) {
        for (field, schema) in properties {
            if redactor.forms(&[schema]).is_secret {
                fields.insert(format!("{name}.{field}"));
            }
        }
    }
    for member in within(members) {
        match member {
            Value::Array(forms) => forms.iter().for_each(|it| find(redactor, name, it, fields)),
            other => find(redactor, name, other, fields),
        }
    }
}

/// What belongs to a definition itself.
fn within(members: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let own = members.iter().filter(|(name, _)| *name != "$defs");
    own.map(|(_, member)| member)
}

#[test]
fn every_field_for_a_secret_is_planted_and_none_is_shown() {
    let (file, variables) = (Path::new("planted.yaml"), Variables::default());
    if let Err(error) = Loaded::of(file, PLANTED, &variables) {
        panic!("{error}");
    }
    let planted = service_kit::config::parse_file(file, PLANTED, &variables).unwrap();
    let planted = redacted(planted);
    let shown = planted.to_string();
    assert!(!shown.contains("S3CRET"), "{shown}");
    // Each of them is in the file: whoever adds one plants it, too.
    let fields = secret_fields();
    let known: BTreeSet<String> = PLANTED
        .lines()
        .filter_map(|line| line.split_once("# plants "))
        .flat_map(|(_, names)| names.split(' ').map(str::to_owned))
        .collect();
    assert_eq!(known, fields);
    let secrets = PLANTED.matches("S3CRET").count();
    let redacted = shown.matches(REDACTED).count()
        + shown.matches("redacted@").count()
        + shown.matches("?redacted").count();
    assert_eq!(redacted, secrets, "{shown}");
    // And what is no secret is shown.
    assert_eq!(planted["gateway"]["cache"]["tokens"], 5);
    assert_eq!(planted["routes"][0]["match"], "/records/{id}");
    assert_eq!(planted["gateway"]["cache"]["secret"], REDACTED);
}

#[test]
fn a_field_with_a_telling_name_is_a_secret_or_known_to_be_none() {
    let schema = schema_for!(FileConfig).to_value();
    let definitions = schema["$defs"].as_object().unwrap();
    let secrets = secret_fields();
    let mut telling = BTreeSet::new();
    let all = definitions.iter().map(|(name, it)| (&**name, it));
    for (name, definition) in all.chain([("FileConfig", &schema)]) {
        texts(name, definition, &mut telling);
    }
    let unknown: Vec<_> = telling.difference(&secrets).collect();
    assert_eq!(unknown, NO_SECRETS, "a `Secret`, or known to be none?");
}

/// Fields that are texts and have names as secrets have.
fn texts(name: &str, schema: &Value, fields: &mut BTreeSet<String>) {
    let Some(members) = schema.as_object() else {
        return;
    };
    if let Some(properties) = members.get("properties").and_then(Value::as_object) {
        for (field, schema) in properties {
            let is_telling = ["secret", "password", "key", "token", "credential"]
                .iter()
                .any(|word| field.contains(word));
            let is_text = schema["type"] == "string"
                || schema["type"]
                    .as_array()
                    .is_some_and(|it| it.contains(&json!("string")));
            if is_telling && is_text && !field.ends_with("_file") {
                fields.insert(format!("{name}.{field}"));
            }
        }
    }
    for member in within(members) {
        match member {
            Value::Array(forms) => forms.iter().for_each(|it| texts(name, it, fields)),
            other => texts(name, other, fields),
        }
    }
}

/// Names, places and times, for all their names.
const NO_SECRETS: &[&str] = &[
    "ExternalAccountConfig.key_id",
    "GatewayConfig.api_key_header",
];

#[test]
fn what_the_schema_does_not_know_is_not_shown() {
    let shown = redacted(json!({
        "gateway": { "surprise": "S3CRET", "realm": "x", "cache": "S3CRET", "issuers": { "a": { "S": { "t": "S3CRET" } } } },
        "unknown": { "deep": ["S3CRET", 7] },
        "admin": ["S3CRET"],
    }));
    assert_eq!(shown["gateway"]["realm"], "x");
    assert_eq!(shown["unknown"], REDACTED);
    assert_eq!(shown["gateway"]["surprise"], REDACTED);
    let text = shown.to_string();
    assert!(!text.contains("S3CRET"), "{text}");
}

#[test]
fn a_url_is_shown_without_what_stands_beside_the_place() {
    for (text, shown) in [
        ("redis://u:S3CRET@h:6379/0", "redis://redacted@h:6379/0"),
        ("redis://:S3CRET@h:6379", "redis://redacted@h:6379"),
        ("https://h/p?token=S3CRET#S3CRET", "https://h/p?redacted"),
        ("https://h/p", "https://h/p"),
        ("http://[::1", "http://[::1"),
        ("http://u:S3CRET@[::1", REDACTED),
        ("view_record?", "view_record?"),
    ] {
        assert_eq!(without_credentials(text.to_owned()), shown);
    }
}
