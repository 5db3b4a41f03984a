//! What databases hold, as what policies read: the same or nothing at all.

use cedar_policy_core::ast::EntityUID;
use serde_json::json;

use super::super::{PostgresqlSource, SqliteSource};
use super::provider;
use crate::Pdp;
use crate::attributes::AttributeProviderConfig;
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
    let fetched = provider.get(&uid).await;
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

/// Expression, attribute, and what a policy says of the value.
const IN_POSTGRESQL: &[(&str, &str, &str)] = &[
    ("'gold'::text", "plan", "principal.plan == \"gold\""),
    ("'gold'", "plan", "principal.plan == \"gold\""),
    ("'gold'::varchar(9)", "plan", "principal.plan == \"gold\""),
    ("'gold'::char(6)", "plan", "principal.plan == \"gold  \""),
    ("'gold'::name", "plan", "principal.plan == \"gold\""),
    ("'Gold'::citext", "plan", "principal.plan == \"Gold\""),
    ("'gold'::tier", "plan", "principal.plan == \"gold\""),
    ("'gold'::word", "plan", "principal.plan == \"gold\""),
    ("''::text", "plan", "principal.plan == \"\""),
    ("'ä 你 \"'::text", "plan", "principal.plan == \"ä 你 \\\"\""),
    (
        "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid",
        "plan",
        "principal.plan == \"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"",
    ),
    ("(-7)::int2", "level", "principal.level == -7"),
    ("2147483647::int4", "level", "principal.level == 2147483647"),
    (
        "9223372036854775807::int8",
        "level",
        "principal.level == 9223372036854775807",
    ),
    (
        "(-9223372036854775808)::int8",
        "level",
        "principal.level == -9223372036854775808",
    ),
    ("true", "on", "principal.on"),
    ("false", "on", "principal.on == false"),
    (
        "1.5::numeric",
        "price",
        "principal.price == decimal(\"1.5\")",
    ),
    (
        "'1.5'::text",
        "price",
        "principal.price == decimal(\"1.5\")",
    ),
    (
        "12::numeric(10,2)",
        "price",
        "principal.price == decimal(\"12.0\")",
    ),
    ("0::numeric", "price", "principal.price == decimal(\"0.0\")"),
    (
        "12340000::numeric",
        "price",
        "principal.price == decimal(\"12340000.0\")",
    ),
    (
        "1.500000000::numeric",
        "price",
        "principal.price == decimal(\"1.5\")",
    ),
    (
        "(-0.0001)::numeric",
        "price",
        "principal.price == decimal(\"-0.0001\")",
    ),
    (
        "922337203685477.5807::numeric",
        "price",
        "principal.price == decimal(\"922337203685477.5807\")",
    ),
    (
        "(-922337203685477.5808)::numeric",
        "price",
        "principal.price == decimal(\"-922337203685477.5808\")",
    ),
    (
        "'2024-02-29 12:34:56.789+02'::timestamptz",
        "since",
        "principal.since == datetime(\"2024-02-29T10:34:56.789Z\")",
    ),
    (
        "'1969-12-31 23:59:59.999Z'::timestamptz",
        "since",
        "principal.since == datetime(\"1969-12-31T23:59:59.999Z\")",
    ),
    (
        "'2024-02-29'::date",
        "since",
        "principal.since == datetime(\"2024-02-29\")",
    ),
    (
        "'0001-01-01'::date",
        "since",
        "principal.since == datetime(\"0001-01-01\")",
    ),
    (
        "'9999-12-31'::date",
        "since",
        "principal.since == datetime(\"9999-12-31\")",
    ),
    (
        "'2024-02-29T10:34:56Z'::text",
        "since",
        "principal.since == datetime(\"2024-02-29T10:34:56Z\")",
    ),
    (
        "'1 day 2 hours 3.004 seconds'::interval",
        "span",
        "principal.span == duration(\"1d2h3s4ms\")",
    ),
    (
        "'-90 minutes'::interval",
        "span",
        "principal.span == duration(\"-1h30m\")",
    ),
    (
        "'-1 day 1 hour'::interval",
        "span",
        "principal.span == duration(\"-23h\")",
    ),
    (
        "'10.0.0.5'::inet",
        "net",
        "principal.net == ip(\"10.0.0.5\")",
    ),
    (
        "'10.0.0.5/24'::inet",
        "net",
        "principal.net == ip(\"10.0.0.5/24\")",
    ),
    (
        "'10.0.0.0/8'::cidr",
        "net",
        "principal.net == ip(\"10.0.0.0/8\")",
    ),
    (
        "'2001:db8::1'::inet",
        "net",
        "principal.net == ip(\"2001:db8::1\")",
    ),
    (
        "'2001:db8::/32'::cidr",
        "net",
        "principal.net == ip(\"2001:db8::/32\")",
    ),
    (
        "'::ffff:1.2.3.4'::inet",
        "net",
        "principal.net == ip(\"::ffff:102:304\")",
    ),
    (
        "'max'::text",
        "manager",
        "principal.manager == User::\"max\"",
    ),
    (
        "'{\"type\":\"User\",\"id\":\"max\"}'::jsonb",
        "manager",
        "principal.manager == User::\"max\"",
    ),
    (
        "ARRAY['b','a','b']",
        "labels",
        "principal.labels == [\"a\", \"b\"]",
    ),
    ("ARRAY[]::text[]", "labels", "principal.labels.isEmpty()"),
    (
        "ARRAY['a']::varchar[]",
        "labels",
        "principal.labels == [\"a\"]",
    ),
    (
        "ARRAY['gold']::tier[]",
        "labels",
        "principal.labels == [\"gold\"]",
    ),
    ("'[\"a\"]'::jsonb", "labels", "principal.labels == [\"a\"]"),
    ("ARRAY[1,2]::int8[]", "sizes", "principal.sizes == [2, 1]"),
    ("ARRAY[1,2]", "sizes", "principal.sizes == [2, 1]"),
    (
        "ARRAY['max']",
        "readers",
        "principal.readers == [User::\"max\"]",
    ),
    (
        "'{\"city\":\"Bern\",\"zip\":3000,\"more\":1}'::jsonb",
        "address",
        "principal.address.city == \"Bern\" && principal.address has zip && principal.address.zip == 3000",
    ),
    (
        "'{\"city\":\"Bern\"}'::json",
        "address",
        "principal.address.city == \"Bern\" && !(principal.address has zip)",
    ),
];

/// Expression and attribute.
const NOT_IN_POSTGRESQL: &[(&str, &str)] = &[
    ("1", "plan"),
    ("true", "plan"),
    ("1.5::numeric", "plan"),
    ("now()", "plan"),
    ("'\\x41'::bytea", "plan"),
    ("ARRAY['a']", "plan"),
    ("'1'::jsonb", "plan"),
    ("'1'::text", "level"),
    ("1::numeric", "level"),
    ("1::float8", "level"),
    ("9223372036854775808", "level"),
    ("'9223372036854775808'::jsonb", "level"),
    ("'1.0'::jsonb", "level"),
    ("true", "level"),
    ("1", "on"),
    ("'true'::text", "on"),
    ("1", "price"),
    ("1.5::float8", "price"),
    ("1.00001::numeric", "price"),
    ("0.00000000001::numeric", "price"),
    ("922337203685477.5808::numeric", "price"),
    ("(-922337203685477.5809)::numeric", "price"),
    ("1e40::numeric", "price"),
    ("1e300::numeric", "price"),
    ("'NaN'::numeric", "price"),
    ("'Infinity'::numeric", "price"),
    ("'one'::text", "price"),
    ("'2024-02-29 12:34:56.789001Z'::timestamptz", "since"),
    ("'2024-02-29 12:34:56'::timestamp", "since"),
    ("'infinity'::timestamptz", "since"),
    ("'-infinity'::timestamptz", "since"),
    ("'infinity'::date", "since"),
    ("'10000-01-01'::date", "since"),
    ("'4713-01-01 BC'::date", "since"),
    ("'294276-01-01Z'::timestamptz", "since"),
    ("'1 hour'::interval", "since"),
    ("'1 month'::interval", "span"),
    ("'0.0005 seconds'::interval", "span"),
    ("'2024-02-29'::date", "span"),
    ("'10.0.0.5'::inet", "plan"),
    ("'10.0.0.500'::text", "net"),
    ("7", "manager"),
    ("'{\"type\":\"Doc\",\"id\":\"max\"}'::jsonb", "manager"),
    ("'a'::text", "labels"),
    ("ARRAY['a', NULL]", "labels"),
    ("ARRAY[['a'],['b']]", "labels"),
    ("ARRAY[1]", "labels"),
    ("ARRAY['1']", "sizes"),
    ("'{\"zip\":3000}'::jsonb", "address"),
    ("'{\"city\":\"a\",\"city\":\"b\"}'::json", "address"),
    ("'{\"city\":7}'::jsonb", "address"),
    ("'{\"city\":\"a\"}'::text", "address"),
    ("ROW(1, 2)", "address"),
    ("repeat('x', 70000)", "plan"),
];

#[tokio::test]
async fn postgresql_types_are_read_exactly() {
    let server = Postgres::start();
    let admin = server.connect().await;
    admin
        .batch_execute(
            "CREATE EXTENSION citext; CREATE TYPE tier AS ENUM ('gold'); CREATE DOMAIN word AS text",
        )
        .await
        .unwrap();
    let of = |expression: &str, attribute: &str| {
        let query = format!("SELECT {expression} AS \"{attribute}\" WHERE $1 = 'ann'");
        in_postgresql(&server.url(), &query)
    };
    for (expression, attribute, condition) in IN_POSTGRESQL {
        let said = read(of(expression, attribute), attribute, condition).await;
        assert_eq!(said.as_deref(), Ok("is"), "{expression} {attribute}");
    }
    for (expression, attribute) in NOT_IN_POSTGRESQL {
        let said = read(of(expression, attribute), attribute, "true").await;
        assert_unread(said, expression, attribute);
    }
    let nothing = [
        ("NULL", "plan"),
        ("NULL::int", "level"),
        ("NULL::numeric", "price"),
        ("NULL::text[]", "labels"),
        ("NULL::jsonb", "address"),
        ("'null'::jsonb", "address"),
        // Whatever it would be.
        ("NULL::bytea", "plan"),
    ];
    for (expression, attribute) in nothing {
        let said = read(of(expression, attribute), attribute, "true").await;
        assert_eq!(said.as_deref(), Ok("none"), "{expression} {attribute}");
    }
    for (query, expected) in [
        ("SELECT 'x' AS plan WHERE $1 = 'ben'", "none"),
        ("SELECT 'x' AS plan WHERE $1 = 'ann'", "is"),
        (
            "SELECT 'x' AS a, 'x' AS plan, 1.5 AS z WHERE $1 <> ''",
            "is",
        ),
        (
            "SELECT 'x' AS \"Plan\" WHERE $1 = 'ann'",
            "no column `plan`",
        ),
        (
            "SELECT 'x' AS plan, 'x' AS plan WHERE $1 <> ''",
            "two columns `plan`",
        ),
        (
            "SELECT 'x' AS plan FROM generate_series(1, 2) WHERE $1 = 'ann'",
            "more than one row",
        ),
        (
            "SELECT plan FROM nowhere WHERE id = $1",
            "cannot be used: relation \"nowhere\"",
        ),
        (
            "SELEC 'x' AS plan WHERE $1 = 'ann'",
            "cannot be used: syntax error",
        ),
        (
            "SELECT 'x' AS plan WHERE 7 = $1",
            "cannot be used: operator does not exist",
        ),
        (
            "SELECT (1 / length(replace($1, 'ann', '')))::text AS plan",
            "the error 22012",
        ),
    ] {
        let config = in_postgresql(&server.url(), query);
        let said = read(config, "plan", "principal.plan == \"x\"").await;
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

#[tokio::test]
async fn sqlite_values_are_read_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute_batch("CREATE TABLE people (id TEXT, plan TEXT)")
        .unwrap();
    let file = file.to_str().unwrap();
    let of = |expression: &str, attribute: &str| {
        let query = format!("SELECT {expression} AS \"{attribute}\" WHERE ?1 = 'ann'");
        in_sqlite(file, &query)
    };
    for (expression, attribute, condition) in [
        ("'gold'", "plan", "principal.plan == \"gold\""),
        ("'ä 你 \"'", "plan", "principal.plan == \"ä 你 \\\"\""),
        (
            "9223372036854775807",
            "level",
            "principal.level == 9223372036854775807",
        ),
        (
            "-9223372036854775808",
            "level",
            "principal.level == -9223372036854775808",
        ),
        ("1", "on", "principal.on"),
        ("FALSE", "on", "principal.on == false"),
        (
            "printf('%.2f', 1.5)",
            "price",
            "principal.price == decimal(\"1.5\")",
        ),
        (
            "'2024-02-29T10:34:56Z'",
            "since",
            "principal.since == datetime(\"2024-02-29T10:34:56Z\")",
        ),
        ("'1h'", "span", "principal.span == duration(\"60m\")"),
        ("'10.0.0.0/8'", "net", "principal.net == ip(\"10.0.0.0/8\")"),
        ("'max'", "manager", "principal.manager == User::\"max\""),
        (
            "'[\"b\",\"a\"]'",
            "labels",
            "principal.labels == [\"a\", \"b\"]",
        ),
        ("json_array(1, 2)", "sizes", "principal.sizes == [2, 1]"),
        (
            "'[\"max\"]'",
            "readers",
            "principal.readers == [User::\"max\"]",
        ),
        (
            "json_object('city', 'Bern', 'zip', NULL)",
            "address",
            "principal.address.city == \"Bern\" && !(principal.address has zip)",
        ),
    ] {
        let said = read(of(expression, attribute), attribute, condition).await;
        assert_eq!(said.as_deref(), Ok("is"), "{expression} {attribute}");
    }
    for (expression, attribute) in [
        ("1", "plan"),
        ("1.5", "plan"),
        ("x'41'", "plan"),
        ("CAST(x'ff' AS TEXT)", "plan"),
        ("'1'", "level"),
        ("1.0", "level"),
        ("9223372036854775807 + 1", "level"),
        ("2", "on"),
        ("'true'", "on"),
        ("1.5", "price"),
        ("1", "price"),
        ("'1.00001'", "price"),
        ("1700000000", "since"),
        ("7", "manager"),
        ("'a'", "labels"),
        ("'[1]'", "labels"),
        ("'[\"a\",null]'", "labels"),
        ("'{\"city\":\"a\",\"city\":\"b\"}'", "address"),
        ("'{}'", "address"),
        ("printf('%.*c', 70000, 'x')", "plan"),
    ] {
        let said = read(of(expression, attribute), attribute, "true").await;
        assert_unread(said, expression, attribute);
    }
    for (query, expected) in [
        ("SELECT NULL AS plan WHERE ?1 = 'ann'", "none"),
        ("SELECT 'x' AS plan WHERE ?1 = 'ben'", "none"),
        ("SELECT plan FROM people WHERE id = ?1", "none"),
        (
            "SELECT 'x' AS a, 'x' AS plan, 1.5 AS z WHERE ?1 <> ''",
            "is",
        ),
        (
            "SELECT 'x' AS plan UNION ALL SELECT ?1",
            "more than one row",
        ),
        (
            "SELECT 'x' AS plan, 'x' AS plan WHERE ?1 <> ''",
            "two columns `plan`",
        ),
        ("SELECT 'x' AS a WHERE ?1 = 'ann'", "no column `plan`"),
        ("SELECT plan FROM nowhere WHERE id = ?1", "no such table"),
        (
            "SELECT \"nothing\" AS plan WHERE ?1 = 'ann'",
            "no such column",
        ),
        ("SELEC ?1", "syntax error"),
        (
            "INSERT INTO people VALUES (?1, 'x') RETURNING plan",
            "does not only read",
        ),
    ] {
        let said = read(in_sqlite(file, query), "plan", "principal.plan == \"x\"").await;
        let said = said.unwrap_or_else(|why| why);
        assert!(said.contains(expected), "{query}: {said}");
    }
    let rows: i64 = database
        .query_one("SELECT count(*) FROM people", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}
