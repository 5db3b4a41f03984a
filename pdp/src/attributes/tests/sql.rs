//! What databases hold, as what policies read: the same or nothing at all.

mod postgresql;
mod sqlite;

use cedar_policy_core::ast::EntityUID;
use serde_json::json;

use super::provider;
use crate::Pdp;
use crate::attributes::AttributeProviderConfig;
use crate::config::{PostgresqlSource, SqliteSource};
use crate::fixture::postgres::Postgres;
use crate::fixture::{Fixture, ask};

const SCHEMA: &str = "
entity User {
  plan?: String, level?: Long, on?: Bool, price?: decimal, since?: datetime, span?: duration,
  net?: ipaddr, manager?: User, labels?: Set<String>, sizes?: Set<Long>, readers?: Set<User>,
  address?: { city: String, zip?: Long },
};
entity Doc;
action read appliesTo { principal: [User], resource: [Doc] };
";

/// Whose level is seven may read.
pub(super) const LEVELS: &str = "@id(\"seven\") permit (principal, action, resource)
    when { principal has level && principal.level == 7 };";

pub(super) fn in_postgresql(url: &str, query: &str) -> AttributeProviderConfig {
    AttributeProviderConfig {
        http: None,
        postgresql: Some(PostgresqlSource {
            url: service_kit::Secret::new(url),
            password_file: None,
            ca_file: None,
            query: query.to_owned(),
        }),
        ..provider("")
    }
}

pub(super) fn in_sqlite(file: &str, query: &str) -> AttributeProviderConfig {
    AttributeProviderConfig {
        http: None,
        sqlite: Some(SqliteSource {
            file: file.into(),
            query: query.to_owned(),
        }),
        ..provider("")
    }
}

pub(super) fn domain(policies: &str) -> Fixture {
    let fixture = Fixture::empty();
    fixture.write("schema.cedarschema", SCHEMA);
    fixture.write("policies.cedar", policies);
    fixture.write("entities.json", "[]");
    fixture
}

pub(super) fn question(id: &str) -> serde_json::Value {
    json!({ "subject": { "type": "User", "id": id }, "action": { "name": "read" },
        "resource": { "type": "Doc", "id": "d" } })
}

/// Which policy permits: `is` where the attribute is what the condition says, `none` where it is
/// absent, and `other`. Or what the log says of why none could be asked.
async fn read(
    mut config: AttributeProviderConfig,
    attribute: &str,
    condition: &str,
) -> Result<String, String> {
    let mut fixture = domain(&format!(
        "@id(\"is\") permit (principal, action, resource)
           when {{ principal has {attribute} && ({condition}) }};
         @id(\"none\") permit (principal, action, resource) unless {{ principal has {attribute} }};
         @id(\"other\") permit (principal, action, resource)
           when {{ principal has {attribute} && !({condition}) }};"
    ));
    config.attributes = vec![attribute.to_owned()];
    fixture.config.attribute_providers = vec![config];
    let pdp = fixture.open();
    let answer = ask(&pdp, &question("ann")).await.unwrap();
    let context = answer.context;
    if let Some(error) = context.error {
        assert_eq!(error["type"], "attributes_unavailable");
        assert!(!answer.decision.is_permit() && context.reasons.is_empty());
        return Err(why(&pdp).await);
    }
    let reasons = context.reasons.iter();
    let policies: Vec<_> = reasons.map(|reason| reason.policy.as_str()).collect();
    Ok(policies.join(" "))
}

async fn why(pdp: &Pdp) -> String {
    let uid: EntityUID = "User::\"ann\"".parse().unwrap();
    let provider = &pdp.0.providers.providers[0];
    let fetched = provider.get(&uid, None).await;
    let vocabulary = &pdp.0.snapshot.load().loaded.vocabulary;
    let read = provider.read(&fetched.said, uid.entity_type(), vocabulary);
    read.unwrap_err()
}

/// The attribute itself is what is wrong, and not the query around it.
fn assert_unread(said: Result<String, String>, expression: &str, attribute: &str) {
    let why = said.unwrap_err();
    let beginnings = [
        format!("of its `{attribute}"),
        format!("it does not say `{attribute}"),
        "it answers with more than".to_owned(),
    ];
    let is_expected = beginnings.iter().any(|words| why.starts_with(words));
    assert!(is_expected, "{expression} {attribute}: {why}");
}

/// Expression, attribute, and what a policy says of the value; expression and attribute.
type Cases<'a> = (&'a [(&'a str, &'a str, &'a str)], &'a [(&'a str, &'a str)]);

async fn assert_values(of: impl Fn(&str, &str) -> AttributeProviderConfig, cases: Cases<'_>) {
    let (exact, unread) = cases;
    for (expression, attribute, condition) in exact {
        let said = read(of(expression, attribute), attribute, condition).await;
        assert_eq!(said.as_deref(), Ok("is"), "{expression} {attribute}");
    }
    for (expression, attribute) in unread {
        let said = read(of(expression, attribute), attribute, "true").await;
        assert_unread(said, expression, attribute);
    }
}

/// Queries for a plan that is `x`, each with what becomes of it.
async fn assert_queries(of: impl Fn(&str) -> AttributeProviderConfig, queries: &[(&str, &str)]) {
    for (query, expected) in queries {
        let said = read(of(query), "plan", "principal.plan == \"x\"").await;
        let said = said.unwrap_or_else(|why| why);
        assert!(said.contains(expected), "{query}: {said}");
    }
}

/// Whatever is wrong with a value, no log repeats it.
#[tokio::test]
async fn no_value_is_in_what_is_said_of_a_failure() {
    let server = Postgres::start();
    drop(server.connect().await);
    let secret = "'geheim'::text";
    for (expression, attribute) in [
        (secret, "level"),
        (secret, "on"),
        (secret, "price"),
        (secret, "since"),
        (secret, "span"),
        (secret, "net"),
        (secret, "labels"),
        ("ARRAY['geheim']", "sizes"),
        ("'\"geheim\"'::jsonb", "level"),
        ("'[\"geheim\"]'::jsonb", "sizes"),
        (
            "'{\"type\":\"geheim\",\"id\":\"geheim\"}'::jsonb",
            "manager",
        ),
        ("'{\"type\":\"Doc\",\"id\":\"geheim\"}'::jsonb", "manager"),
        ("'{\"geheim\":1,\"geheim\":2}'::json", "address"),
        ("'{\"city\":1,\"zip\":\"geheim\"}'::json", "address"),
        ("replace($1, 'ann', 'geheim')::int", "level"),
        ("replace($1, 'ann', 'geheim')::uuid", "plan"),
        ("replace($1, 'ann', 'geheim')::jsonb", "address"),
    ] {
        let query = format!("SELECT {expression} AS \"{attribute}\" WHERE $1 <> ''");
        let said = read(in_postgresql(&server.url(), &query), attribute, "true").await;
        let why = said.unwrap_err();
        assert!(!why.contains("geheim"), "{expression} {attribute}: {why}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.db");
    drop(rusqlite::Connection::open(&file).unwrap());
    for (expression, attribute) in [
        ("'geheim'", "level"),
        ("'geheim'", "price"),
        ("'geheim'", "labels"),
        ("json_extract('{}', replace(?1, 'ann', 'geheim'))", "plan"),
    ] {
        let query = format!("SELECT {expression} AS \"{attribute}\" WHERE ?1 <> ''");
        let config = in_sqlite(file.to_str().unwrap(), &query);
        let why = read(config, attribute, "true").await.unwrap_err();
        assert!(!why.contains("geheim"), "{expression} {attribute}: {why}");
    }
}
