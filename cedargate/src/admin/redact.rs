//! A configuration without its secrets, for whoever operates the process.
//!
//! SECURITY: what is shown is shown because the schema says that it is no secret. What the schema does not know is not
//! shown, and neither is what stands in a URL beside the place that it names.

use schemars::schema_for;
use serde_json::{Map, Value};
use url::Url;

use crate::config::FileConfig;

/// What stands in the place of a secret.
pub(crate) const REDACTED: &str = "(redacted)";

/// What the schema calls [`service_kit::Secret`].
const SECRET: &str = "#/$defs/Secret";
/// Schemas refer to each other no deeper.
const DEEPEST: usize = 16;

/// Shows a configuration as it stands in its file.
pub(crate) fn redacted(config: Value) -> Value {
    let schema = schema_for!(FileConfig).to_value();
    let none = Map::new();
    let definitions = schema.get("$defs").and_then(Value::as_object);
    let redactor = Redactor {
        definitions: definitions.unwrap_or(&none),
    };
    redactor.show(&redactor.forms(&[&schema]), config)
}

struct Redactor<'s> {
    definitions: &'s Map<String, Value>,
}

/// What may stand in a place.
#[derive(Default)]
struct Forms<'s> {
    schemas: Vec<&'s Value>,
    is_secret: bool,
}

impl<'s> Redactor<'s> {
    fn show(&self, forms: &Forms<'s>, value: Value) -> Value {
        if value.is_null() {
            return value;
        }
        if forms.is_secret || !forms.schemas.iter().any(|schema| admits(schema, &value)) {
            return Value::from(REDACTED);
        }
        match value {
            Value::Object(members) => {
                let shown = members.into_iter().map(|(name, member)| {
                    let member = self.show(&self.member(forms, &name), member);
                    (name, member)
                });
                Value::Object(shown.collect())
            }
            Value::Array(items) => {
                let of_items = self.items(forms);
                let items = items.into_iter();
                items.map(|item| self.show(&of_items, item)).collect()
            }
            Value::String(text) => Value::String(without_credentials(text)),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
        }
    }

    fn member(&self, forms: &Forms<'s>, name: &str) -> Forms<'s> {
        let found = forms.schemas.iter().filter_map(|schema| {
            if is_anything(schema) {
                return Some(*schema);
            }
            let own = schema.get("properties").and_then(|all| all.get(name));
            own.or_else(|| schema.get("additionalProperties"))
                .filter(|it| **it != Value::Bool(false))
        });
        self.forms(&found.collect::<Vec<_>>())
    }

    fn items(&self, forms: &Forms<'s>) -> Forms<'s> {
        let found = forms.schemas.iter().flat_map(|schema| {
            if is_anything(schema) {
                return vec![*schema];
            }
            let several = schema.get("prefixItems").and_then(Value::as_array);
            let several = several.into_iter().flatten();
            several.chain(schema.get("items")).collect()
        });
        self.forms(&found.collect::<Vec<_>>())
    }

    /// With whatever they refer to.
    fn forms(&self, schemas: &[&'s Value]) -> Forms<'s> {
        let mut forms = Forms::default();
        for schema in schemas {
            self.add(schema, &mut forms, 0);
        }
        forms
    }

    fn add(&self, schema: &'s Value, forms: &mut Forms<'s>, depth: usize) {
        if depth > DEEPEST {
            // Not seen to its end: nothing is known of it.
            forms.is_secret = true;
            return;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            forms.is_secret |= target == SECRET;
            let name = target.rsplit('/').next().unwrap_or_default();
            if let Some(target) = self.definitions.get(name) {
                self.add(target, forms, depth + 1);
            }
        }
        let several = ["anyOf", "oneOf", "allOf"];
        let several = several.iter().filter_map(|word| schema.get(word));
        for form in several.filter_map(Value::as_array).flatten() {
            self.add(form, forms, depth + 1);
        }
        // One that only refers says nothing itself.
        let says = [
            "type",
            "properties",
            "additionalProperties",
            "items",
            "const",
            "enum",
        ];
        if is_anything(schema) || says.iter().any(|word| schema.get(word).is_some()) {
            forms.schemas.push(schema);
        }
    }
}

/// Whether a schema lets such a value stand in its place, with what is in it left aside.
fn admits(schema: &Value, value: &Value) -> bool {
    let words = ["const", "enum"];
    if is_anything(schema) || words.iter().any(|word| schema.get(word).is_some()) {
        return true;
    }
    let types = schema.get("type");
    let has = |name: &str| match types {
        Some(Value::String(own)) => own == name,
        Some(Value::Array(all)) => all.iter().any(|it| it == name),
        _ => false,
    };
    let is_number = has("integer") || has("number");
    match value {
        Value::Null => true,
        Value::Bool(_) => has("boolean"),
        Value::Number(_) => is_number,
        // A variable's value is a text until it is understood.
        Value::String(text) => {
            has("string")
                || (is_number && text.parse::<f64>().is_ok())
                || (has("boolean") && text.parse::<bool>().is_ok())
        }
        Value::Array(_) => has("array"),
        Value::Object(_) => has("object") || schema.get("properties").is_some(),
    }
}

/// Whether a schema lets anything stand in its place.
fn is_anything(schema: &Value) -> bool {
    match schema {
        Value::Bool(is_anything) => *is_anything,
        Value::Object(members) => members
            .keys()
            .all(|name| name == "description" || name == "default"),
        _ => false,
    }
}

/// A URL without its user, its password and its query; every other text as it is.
fn without_credentials(text: String) -> String {
    if !text.contains("://") || !text.contains(['@', '?', '#']) {
        return text;
    }
    let Ok(mut url) = Url::parse(&text) else {
        return REDACTED.to_owned();
    };
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user && (url.set_username("redacted").is_err() || url.set_password(None).is_err()) {
        return REDACTED.to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some("redacted"));
    }
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests;
