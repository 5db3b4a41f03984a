//! PostgreSQL's types.

use super::{assert_queries, assert_values, in_postgresql, read};
use crate::fixture::postgres::Postgres;

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

const QUERIES: &[(&str, &str)] = &[
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
    assert_values(of, (IN_POSTGRESQL, NOT_IN_POSTGRESQL)).await;
    for (expression, attribute) in [
        ("NULL", "plan"),
        ("NULL::int", "level"),
        ("NULL::numeric", "price"),
        ("NULL::text[]", "labels"),
        ("NULL::jsonb", "address"),
        ("'null'::jsonb", "address"),
        // Whatever it would be.
        ("NULL::bytea", "plan"),
    ] {
        let said = read(of(expression, attribute), attribute, "true").await;
        assert_eq!(said.as_deref(), Ok("none"), "{expression} {attribute}");
    }
    assert_queries(|query| in_postgresql(&server.url(), query), QUERIES).await;
}
