//! The caller in the words of the decision point: a token's facts as an AuthZEN subject.

use authzen::Subject;
use oauth::SubjectFacts;
use serde_json::json;

/// What the gateway itself says of a subject.
pub(crate) const OWN_PROPERTIES: [&str; 9] = [
    "issuer",
    "client_id",
    "scope",
    "username",
    "acr",
    "amr",
    "auth_time",
    "actor",
    "api_key",
];

/// What the PDP hears about who calls.
///
/// `issuer`: who vouches, where it is not the token service.
pub(crate) fn subject_of(facts: &SubjectFacts, issuer: Option<&str>) -> Subject {
    let mut properties = facts.attributes.clone();
    // After the attributes: none of them can stand in for a fact, known or not.
    for (name, value) in [
        ("issuer", issuer.map(|issuer| json!(issuer))),
        ("client_id", Some(json!(facts.client_id))),
        ("scope", Some(facts.scope.iter().collect())),
        (
            "username",
            facts.username.as_ref().map(|username| json!(username)),
        ),
        ("acr", facts.acr.as_ref().map(|acr| json!(acr))),
        ("amr", (!facts.amr.is_empty()).then(|| json!(facts.amr))),
        ("auth_time", facts.auth_time.map(|at| json!(at))),
        ("actor", facts.act.as_ref().map(|actor| json!(actor.sub))),
        ("api_key", facts.api_key.as_ref().map(|id| json!(id))),
    ] {
        match value {
            Some(value) => properties.insert(name.to_owned(), value),
            None => properties.remove(name),
        };
    }
    Subject {
        kind: facts.kind.as_str().to_owned(),
        id: facts.sub.clone(),
        properties,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use oauth::{Actor, Scope, SubjectKind};

    use super::*;

    #[test]
    fn who_acts_is_said_by_the_token_alone() {
        let mut facts = SubjectFacts {
            kind: SubjectKind::User,
            sub: "alice".into(),
            client_id: "orders".into(),
            scope: Scope::empty(),
            username: None,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            act: None,
            api_key: None,
            attributes: [("actor".to_owned(), json!("made up"))]
                .into_iter()
                .collect(),
        };
        assert!(!subject_of(&facts, None).properties.contains_key("actor"));
        facts.act = Some(Actor {
            sub: "orders".into(),
            client_id: "orders".into(),
            act: None,
        });
        assert_eq!(subject_of(&facts, None).properties["actor"], "orders");
    }

    #[test]
    fn what_the_gateway_says_itself_is_listed_whole() {
        let facts = SubjectFacts {
            kind: SubjectKind::User,
            sub: "alice".into(),
            client_id: "web".into(),
            scope: Scope::empty(),
            username: Some("alice".into()),
            auth_time: Some(1),
            acr: Some("phr".into()),
            amr: vec!["pwd".into()],
            act: Some(Actor {
                sub: "orders".into(),
                client_id: "orders".into(),
                act: None,
            }),
            api_key: Some("k1".into()),
            attributes: authzen::Properties::default(),
        };
        let said = subject_of(&facts, Some("partner")).properties;
        let said: BTreeSet<&str> = said.keys().map(String::as_str).collect();
        assert_eq!(said, BTreeSet::from(OWN_PROPERTIES));
    }
}
