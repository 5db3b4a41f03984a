//! SQLite's values, that have hardly any types.

use super::{assert_queries, assert_values, in_sqlite};

/// Expression, attribute, and what a policy says of the value.
const IN_SQLITE: &[(&str, &str, &str)] = &[
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
];

/// Expression and attribute.
const NOT_IN_SQLITE: &[(&str, &str)] = &[
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
];

const QUERIES: &[(&str, &str)] = &[
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
];

#[tokio::test]
async fn sqlite_values_are_read_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    let create = "CREATE TABLE people (id TEXT, plan TEXT)";
    database.execute_batch(create).unwrap();
    let file = file.to_str().unwrap();
    let of = |expression: &str, attribute: &str| {
        let query = format!("SELECT {expression} AS \"{attribute}\" WHERE ?1 = 'ann'");
        in_sqlite(file, &query)
    };
    assert_values(of, (IN_SQLITE, NOT_IN_SQLITE)).await;
    assert_queries(|query| in_sqlite(file, query), QUERIES).await;
    let count = "SELECT count(*) FROM people";
    let rows: i64 = database.query_one(count, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}
