//! What an issuer's claims make of the subject of a question: which of them count, and under which
//! names.
//!
//! Subjects and clients of two issuers are told apart by their name spaces, whatever the issuers call
//! them.

use std::collections::BTreeMap;

use oauth::{Actor, SubjectFacts, SubjectKind};
use serde_json::{Map, Value};

use super::claims::Claims;
use super::fault::TokenFault;

/// How one issuer's claims are read.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) namespace: Namespace,
    pub(crate) kind: KindRule,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) username: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) require: BTreeMap<String, Vec<Value>>,
}

/// What is whose, by how it begins.
#[derive(Debug, Default)]
pub(crate) struct Namespace {
    /// Stands before every name of the issuer.
    pub(crate) own: String,
    /// Those of the others, where the issuer has none: no name of it may begin so.
    pub(crate) taken: Vec<String>,
}

/// Of which type a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KindRule {
    /// A client where the subject is the client, or nobody.
    BySub,
    Always(SubjectKind),
}

/// All attributes together are not longer. Bytes: they travel with every question.
const LONGEST: usize = 8 << 10;

/// So many may have acted for each other.
const DEEPEST: usize = 8;

impl Namespace {
    /// A name of the issuer, as everybody here knows it.
    pub(crate) fn name(&self, own: &str) -> Result<String, TokenFault> {
        if !self.admits(own) {
            return Err(TokenFault::Namespace);
        }
        Ok(format!("{}{own}", self.own))
    }

    /// Whether a name cannot be taken for another issuer's.
    pub(crate) fn admits(&self, name: &str) -> bool {
        !self.own.is_empty()
            || !self
                .taken
                .iter()
                .any(|taken| name.starts_with(taken.as_str()))
    }
}

impl Mapping {
    pub(super) fn facts(&self, claims: &Claims) -> Result<SubjectFacts, TokenFault> {
        if !claims.meet(&self.require) {
            return Err(TokenFault::Required);
        }
        let client = claims
            .named(&self.client_id, "client_id_claim")?
            .ok_or(TokenFault::Mapped("client_id_claim"))?;
        let sub = claims.text("sub")?;
        let kind = match self.kind {
            KindRule::Always(kind) => kind,
            KindRule::BySub if sub.is_none_or(|sub| sub == client) => SubjectKind::Client,
            KindRule::BySub => SubjectKind::User,
        };
        let sub = match (kind, sub) {
            (_, Some(sub)) => sub,
            (SubjectKind::Client, None) => client,
            (SubjectKind::User, None) => return Err(TokenFault::Claim("sub")),
        };
        let username = match &self.username {
            Some(claim) => claims.named(claim, "username_claim")?,
            None => None,
        };
        let auth_time = claims.time("auth_time")?;
        Ok(SubjectFacts {
            kind,
            sub: self.namespace.name(sub)?,
            client_id: self.namespace.name(client)?,
            scope: claims.scope(&self.scope)?,
            username: username.map(str::to_owned),
            auth_time: auth_time.map(service_kit::UnixTime::as_secs),
            acr: claims.text("acr")?.map(str::to_owned),
            amr: claims.names("amr")?,
            act: self.actor(claims.find("act"), client, DEEPEST)?,
            api_key: None,
            attributes: self.attributes(claims)?,
        })
    }

    fn attributes(&self, claims: &Claims) -> Result<Map<String, Value>, TokenFault> {
        let mut attributes = Map::new();
        for (attribute, claim) in &self.attributes {
            if let Some(value) = claims.find(claim) {
                attributes.insert(attribute.clone(), value.clone());
            }
        }
        let length = serde_json::to_vec(&attributes).map_or(usize::MAX, |text| text.len());
        if length > LONGEST {
            return Err(TokenFault::TooLong);
        }
        Ok(attributes)
    }

    /// `act` (RFC 8693 section 4.1). One that says no client acts through that of the token.
    fn actor(
        &self,
        claim: Option<&Value>,
        client: &str,
        deepest: usize,
    ) -> Result<Option<Actor>, TokenFault> {
        let wrong = TokenFault::Claim("act");
        let Some(claim) = claim else {
            return Ok(None);
        };
        let members = claim.as_object().filter(|_| deepest > 0).ok_or(wrong)?;
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.as_str())),
            Some(_) => Err(wrong),
        };
        let client = text("client_id")?.unwrap_or(client);
        let before = self.actor(members.get("act"), client, deepest - 1)?;
        Ok(Some(Actor {
            sub: self.namespace.name(text("sub")?.ok_or(wrong)?)?,
            client_id: self.namespace.name(client)?,
            act: before.map(Box::new),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            namespace: Namespace {
                own: "corp:".into(),
                taken: Vec::new(),
            },
            kind: KindRule::BySub,
            client_id: "client_id".into(),
            scope: "scope".into(),
            username: None,
            attributes: [("roles".to_owned(), "/realm/roles".to_owned())].into(),
            require: BTreeMap::new(),
        }
    }

    fn facts(mapping: &Mapping, claims: Value) -> Result<SubjectFacts, TokenFault> {
        let Value::Object(members) = claims else {
            panic!("an object");
        };
        mapping.facts(&Claims::new(members))
    }

    #[test]
    fn names_get_the_issuers_name_space_and_only_what_is_named_is_taken_over() {
        let facts = facts(
            &mapping(),
            json!({
                "sub": "alice", "client_id": "web", "scope": "b a", "acr": "phr", "amr": ["pwd"],
                "auth_time": 5, "roles": ["admin"], "realm": { "roles": ["x"] },
                "act": { "sub": "svc", "act": { "sub": "other", "client_id": "o" } },
            }),
        )
        .unwrap();
        assert_eq!((facts.kind, &*facts.sub), (SubjectKind::User, "corp:alice"));
        assert_eq!(facts.client_id, "corp:web");
        assert_eq!(facts.scope.to_string(), "a b");
        assert_eq!(Value::Object(facts.attributes), json!({ "roles": ["x"] }));
        assert_eq!(
            (facts.acr.as_deref(), facts.auth_time),
            (Some("phr"), Some(5))
        );
        let actor = facts.act.unwrap();
        assert_eq!((&*actor.sub, &*actor.client_id), ("corp:svc", "corp:web"));
        assert_eq!(actor.act.unwrap().client_id, "corp:o");
    }

    #[test]
    fn a_client_is_no_user_by_the_rule_of_its_issuer() {
        let mut mapping = mapping();
        for (claims, kind, sub) in [
            (
                json!({ "sub": "web", "client_id": "web" }),
                SubjectKind::Client,
                "corp:web",
            ),
            (
                json!({ "client_id": "web" }),
                SubjectKind::Client,
                "corp:web",
            ),
        ] {
            let facts = facts(&mapping, claims).unwrap();
            assert_eq!((facts.kind, &*facts.sub), (kind, sub));
        }
        mapping.kind = KindRule::Always(SubjectKind::User);
        let web = facts(&mapping, json!({ "sub": "web", "client_id": "web" })).unwrap();
        assert_eq!(web.kind, SubjectKind::User);
        let nobody = facts(&mapping, json!({ "client_id": "web" }));
        assert_eq!(nobody, Err(TokenFault::Claim("sub")));
    }

    #[test]
    fn an_issuer_without_a_name_space_cannot_reach_into_anothers() {
        let mut mapping = mapping();
        mapping.namespace = Namespace {
            own: String::new(),
            taken: vec!["corp:".into()],
        };
        for (claims, is_taken) in [
            (json!({ "sub": "alice", "client_id": "web" }), true),
            (json!({ "sub": "corp:alice", "client_id": "web" }), false),
            (json!({ "sub": "alice", "client_id": "corp:web" }), false),
            (
                json!({ "sub": "a", "client_id": "w", "act": { "sub": "corp:a" } }),
                false,
            ),
        ] {
            assert_eq!(
                facts(&mapping, claims.clone()).is_ok(),
                is_taken,
                "{claims}"
            );
        }
    }

    #[test]
    fn claims_of_another_type_are_refused_and_not_passed_over() {
        for (name, wrong) in [
            ("sub", json!(7)),
            ("sub", json!("")),
            ("sub", json!("a\nb")),
            ("client_id", json!(["web"])),
            ("scope", json!({})),
            ("scope", json!(["a", 1])),
            ("acr", json!(1)),
            ("amr", json!("pwd")),
            ("auth_time", json!("5")),
            ("act", json!("svc")),
            ("act", json!({})),
            ("act", json!({ "sub": 1 })),
        ] {
            let mut claims = json!({ "sub": "alice", "client_id": "web" });
            claims[name] = wrong;
            assert!(facts(&mapping(), claims.clone()).is_err(), "{claims}");
        }
    }
}
