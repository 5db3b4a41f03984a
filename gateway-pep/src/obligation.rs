//! Obligations: the conditions of a permit, and the registry of those that can be fulfilled.
//!
//! A condition that is not understood, in type or in properties, makes the permit a deny
//! (AuthZEN obligations profile).

pub(crate) mod mask;

use authzen::Obligation;
use serde_json::Value;

use mask::Mask;

/// The conditions of one permit, understood.
#[derive(Debug, Default)]
pub(crate) struct Obligations {
    /// `mask`: fields of the response that the caller may not see.
    pub(crate) mask: Option<Mask>,
    /// `log`: ids of obligations that the access log must show.
    pub(crate) logged: Vec<String>,
}

/// A condition that cannot be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownObligation {
    #[error("the obligation type `{0}` is not known")]
    Kind(String),
    #[error("the obligation `{id}` cannot be understood: {why}")]
    Properties { id: String, why: String },
}

impl Obligations {
    /// Whether messages look the same under these as under others.
    pub(crate) fn shapes_as(&self, other: &Self) -> bool {
        self.mask == other.mask
    }

    /// All of them, or none.
    pub(crate) fn understand(obligations: &[Obligation]) -> Result<Self, UnknownObligation> {
        let mut understood = Self::default();
        for obligation in obligations {
            let unusable = |why: String| UnknownObligation::Properties {
                id: obligation.id.clone(),
                why,
            };
            match obligation.kind.as_str() {
                "mask" => {
                    let mask = understood.mask.get_or_insert_default();
                    for field in fields(obligation).map_err(unusable)? {
                        mask.add(field).map_err(unusable)?;
                    }
                }
                "log" => understood.logged.push(obligation.id.clone()),
                unknown => return Err(UnknownObligation::Kind(unknown.to_owned())),
            }
        }
        Ok(understood)
    }
}

/// `properties.fields`, and nothing beside it that we would have to ignore.
fn fields(obligation: &Obligation) -> Result<Vec<&str>, String> {
    if let Some(name) = obligation.properties.keys().find(|name| *name != "fields") {
        return Err(format!("`{name}` is not known"));
    }
    let fields = obligation
        .properties
        .get("fields")
        .and_then(Value::as_array);
    let fields = fields.filter(|fields| !fields.is_empty());
    fields
        .ok_or("`fields` must be a list of JSON Pointers")?
        .iter()
        .map(|field| {
            field
                .as_str()
                .ok_or_else(|| "`fields` must be texts".to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn understand(obligations: Value) -> Result<Obligations, String> {
        let obligations: Vec<Obligation> = serde_json::from_value(obligations).unwrap();
        Obligations::understand(&obligations).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (obligations, expected) in [
            (json!([{"id":"1","type":"notify"}]), "type `notify`"),
            (json!([{"id":"1","type":"mask"}]), "`fields` must be"),
            (
                json!([{"id":"1","type":"mask","properties":{"fields":[]}}]),
                "`fields` must be",
            ),
            (
                json!([{"id":"1","type":"mask","properties":{"fields":["ssn"]}}]),
                "begin with `/`",
            ),
            (
                json!([{"id":"1","type":"mask","properties":{"fields":["/a"],"how":"x"}}]),
                "`how`",
            ),
        ] {
            let error = understand(obligations).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let known = json!([
            {"id":"1","type":"mask","properties":{"fields":["/a"]}},
            {"id":"2","type":"log"},
        ]);
        let obligations = understand(known).unwrap();
        assert!(obligations.mask.is_some());
        assert_eq!(obligations.logged, ["2"]);
    }
}
