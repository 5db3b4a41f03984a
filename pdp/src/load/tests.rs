//! Broken folders are refused with every problem and its place.

use super::issues::TOLD;
use crate::fixture::Fixture;

/// What is said about the small domain with some files changed or added.
fn refused(files: &[(&str, &str)]) -> String {
    let fixture = Fixture::new();
    for (name, text) in files {
        fixture.write(name, text);
    }
    let error = fixture.try_open().unwrap_err().to_string();
    error.replace(&format!("{}/./", fixture.folder.path().display()), "")
}

fn check(files: &[(&str, &str)], expected: &[&str]) {
    let error = refused(files);
    for part in expected {
        assert!(error.contains(part), "no `{part}` in:\n{error}");
    }
}

#[test]
fn a_syntax_error_is_shown_with_its_place() {
    let error = refused(&[(
        "more.cedar",
        "@id(\"x\")\npermit (principal, acton, resource);\n",
    )]);
    assert!(error.starts_with("more.cedar:2:20: "), "{error}");
    assert!(
        error.contains(" 2 | permit (principal, acton, resource);\n   |                    ^"),
        "{error}"
    );
}

#[test]
fn an_attribute_that_the_schema_does_not_know_is_shown_with_its_place() {
    let policy =
        "@id(\"x\")\npermit (principal, action, resource is Doc)\nwhen { resource.pubic };\n";
    check(
        &[("more.cedar", policy)],
        &["more.cedar:3:", "pubic", " 3 | when { resource.pubic };"],
    );
}

#[test]
fn problems_of_many_files_are_told_at_once() {
    let instructions = "@id(\"public\") permit (principal, action, resource);\n\
        @id(\"c\") @obligation(\"mask fields\") permit (principal, action, resource);\n";
    let entities =
        "[\n  {\"uid\": {\"type\": \"User\", \"id\": \"x\"}, \"attrs\": {}, \"parents\": []}\n]";
    check(
        &[
            ("a.cedar", "permit (principal, action, resource);\n"),
            (
                "b.cedar",
                "@id(\"b\") permit (principal, action, resource) when {\n",
            ),
            ("q.cedar", instructions),
            ("entities-more.json", entities),
        ],
        &[
            "a.cedar:1:1: the policy has no `@id`",
            "b.cedar:1:",
            "q.cedar:1:1: `@id(\"public\")` is taken",
            "policies.cedar:14:1",
            "q.cedar:2:10: `@obligation`: `fields` must be `name=value,value`",
            "entities-more.json:2:3: ",
            "name",
        ],
    );
}

#[test]
fn entities_must_hold_against_the_schema() {
    let wrong = r#"[{"uid": {"type": "User", "id": "x"}, "attrs": {"name": 7}, "parents": []},
 {"uid": {"type": "Ufo", "id": "x"}, "attrs": {}, "parents": []}]"#;
    let twice =
        r#"[{"uid": {"type": "User", "id": "ann"}, "attrs": {"name": "a"}, "parents": []}]"#;
    let circle = r#"[
        {"uid": {"type": "Team", "id": "a"}, "attrs": {}, "parents": [{"type": "Team", "id": "b"}]},
        {"uid": {"type": "Team", "id": "b"}, "attrs": {}, "parents": [{"type": "Team", "id": "a"}]}]"#;
    for (name, text, expected) in [
        (
            "entities.json",
            wrong,
            ["entities.json:1:2: ", "entities.json:2:2: "],
        ),
        (
            "entities-twice.json",
            twice,
            ["`User::\"ann\"` is stated twice", "entities"],
        ),
        ("entities-circle.json", circle, ["cycle", "Team"]),
        (
            "entities.json",
            "[{]",
            ["entities.json:1:3: not valid JSON", "[{]"],
        ),
        (
            "entities.json",
            "{}",
            ["entities.json:1:1: the file must hold an array", "hint"],
        ),
    ] {
        check(&[(name, text)], &expected);
    }
}

#[test]
fn schema_mistakes_are_shown_with_their_place() {
    let erase =
        "@authzen(\"delete\")\naction erase appliesTo { principal: [User], resource: [Doc] };\n";
    for (name, text, expected) in [
        (
            "schema.cedarschema",
            "entity User;\nentiy Doc;\n",
            "schema.cedarschema:2:1: ",
        ),
        (
            "more.cedarschema",
            "entity Extra {\n  of: Nowhere,\n};\n",
            "Nowhere",
        ),
        (
            "more.cedarschema",
            "@authzen(\"user\")\nentity Other;\n",
            "both go by `user`",
        ),
        ("more.cedarschema", erase, "both go by `delete`"),
        (
            "more.cedarschema",
            "@request_properties(\"sometimes\")\nentity Other;\n",
            "`@request_properties` of `Other` is `sometimes`",
        ),
    ] {
        check(&[(name, text)], &[expected]);
    }
}

#[test]
fn an_empty_or_missing_folder_is_refused_clearly() {
    let fixture = Fixture::empty();
    let error = fixture.try_open().unwrap_err().to_string();
    assert!(
        error.contains("has no schema") && error.contains("has no policies"),
        "{error}"
    );
    let mut fixture = Fixture::empty();
    fixture.config.policies = "nowhere".into();
    let error = fixture.try_open().unwrap_err().to_string();
    assert!(
        error.contains("nowhere: the folder cannot be read"),
        "{error}"
    );
}

#[test]
fn of_very_many_problems_the_first_are_told_and_the_others_counted() {
    // One line: to find a place in it costs as much as it is long.
    let many = |policy: &dyn Fn(usize) -> String| (0..5000).map(policy).collect::<String>();
    for (text, says) in [
        (
            many(&|_| "permit (principal, action, resource);".into()),
            "the policy has no `@id`",
        ),
        (
            many(&|_| "@id(\"same\") permit (principal, action, resource);".into()),
            "is taken",
        ),
        (
            many(&|at| {
                format!(
                    "@id(\"x{at}\") @obligation(\"mask fields\") permit (principal, action, resource);"
                )
            }),
            "`@obligation`",
        ),
        (
            many(&|at| {
                format!(
                    "@id(\"x{at}\") permit (principal, action, resource is Doc) when {{ resource.pubic }};"
                )
            }),
            "pubic",
        ),
    ] {
        let error = refused(&[("more.cedar", &text)]);
        let issues: Vec<_> = error
            .lines()
            .filter(|line| line.starts_with("more.cedar:1:"))
            .collect();
        assert_eq!(issues.len(), TOLD, "{says}");
        let offsets = issues.iter().map(|issue| {
            let column = issue.split(':').nth(2).unwrap();
            column.parse::<usize>().unwrap()
        });
        assert!(offsets.is_sorted(), "the first ones: {error:.500}");
        assert!(
            issues.iter().all(|issue| issue.contains(says)),
            "{error:.500}"
        );
        let more = error.lines().last().unwrap();
        let counted =
            |count: usize| more.ends_with(&format!("and {count} more problems with policies"));
        assert!(counted(5000 - TOLD) || counted(4999 - TOLD), "{more}");
    }
}

#[test]
fn the_version_names_the_content() {
    let version = |fixture: &Fixture| {
        crate::check_policies(fixture.folder.path())
            .unwrap()
            .version
    };
    let (one, two) = (Fixture::new(), Fixture::new());
    assert_eq!(version(&one), version(&two));
    two.write("notes.md", "not a policy");
    assert_eq!(version(&one), version(&two));
    two.write(
        "more.cedar",
        "@id(\"x\") forbid (principal, action, resource is Color);",
    );
    assert_ne!(version(&one), version(&two));
}
