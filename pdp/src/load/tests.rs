//! Broken folders are refused with every problem and its place.

use crate::fixture::Fixture;

fn refused(change: impl FnOnce(&Fixture)) -> String {
    let fixture = Fixture::new();
    change(&fixture);
    let error = fixture.try_open().unwrap_err().to_string();
    error.replace(&format!("{}/./", fixture.folder.path().display()), "")
}

fn check(change: impl FnOnce(&Fixture), expected: &[&str]) {
    let error = refused(change);
    for part in expected {
        assert!(error.contains(part), "no `{part}` in:\n{error}");
    }
}

#[test]
fn a_syntax_error_is_shown_with_its_place() {
    let error = refused(|f| {
        f.write(
            "more.cedar",
            "@id(\"x\")\npermit (principal, acton, resource);\n",
        )
    });
    assert!(error.starts_with("more.cedar:2:20: "), "{error}");
    assert!(
        error.contains(" 2 | permit (principal, acton, resource);\n   |                    ^"),
        "{error}"
    );
}

#[test]
fn an_attribute_that_the_schema_does_not_know_is_shown_with_its_place() {
    check(
        |f| {
            f.write(
                "more.cedar",
                "@id(\"x\")\npermit (principal, action, resource is Doc)\nwhen { resource.pubic };\n",
            );
        },
        &["more.cedar:3:", "pubic", " 3 | when { resource.pubic };"],
    );
}

#[test]
fn problems_of_many_files_are_told_at_once() {
    check(
        |f| {
            f.write("a.cedar", "permit (principal, action, resource);\n");
            f.write(
                "b.cedar",
                "@id(\"b\") permit (principal, action, resource) when {\n",
            );
            f.write(
                "c.cedar",
                "@id(\"public\") permit (principal, action, resource);\n@id(\"c\") @obligation(\"mask fields\") permit (principal, action, resource);\n",
            );
            f.write("entities-more.json", "[\n  {\"uid\": {\"type\": \"User\", \"id\": \"x\"}, \"attrs\": {}, \"parents\": []}\n]");
        },
        &[
            "a.cedar:1:1: the policy has no `@id`",
            "b.cedar:1:",
            "`@id(\"public\")` is taken",
            "c.cedar:2:10: `@obligation`: `fields` must be `name=value,value`",
            "entities-more.json:2:3: ",
            "name",
        ],
    );
}

#[test]
fn entities_must_hold_against_the_schema() {
    check(
        |f| {
            f.write("entities.json", "[{\"uid\": {\"type\": \"User\", \"id\": \"x\"}, \"attrs\": {\"name\": 7}, \"parents\": []},\n {\"uid\": {\"type\": \"Ufo\", \"id\": \"x\"}, \"attrs\": {}, \"parents\": []}]")
        },
        &["entities.json:1:2: ", "entities.json:2:2: ", "Ufo"],
    );
    check(
        |f| {
            f.write("entities-twice.json", "[{\"uid\": {\"type\": \"User\", \"id\": \"ann\"}, \"attrs\": {\"name\": \"a\"}, \"parents\": []}]")
        },
        &["`User::\"ann\"` is stated twice"],
    );
    check(
        |f| {
            f.write("entities-circle.json", "[{\"uid\": {\"type\": \"Team\", \"id\": \"a\"}, \"attrs\": {}, \"parents\": [{\"type\": \"Team\", \"id\": \"b\"}]}, {\"uid\": {\"type\": \"Team\", \"id\": \"b\"}, \"attrs\": {}, \"parents\": [{\"type\": \"Team\", \"id\": \"a\"}]}]")
        },
        &["cycle"],
    );
    check(
        |f| f.write("entities.json", "[{]"),
        &["entities.json:1:3: not valid JSON"],
    );
    check(
        |f| f.write("entities.json", "{}"),
        &["entities.json:1:1: the file must hold an array of entities"],
    );
}

#[test]
fn schema_mistakes_are_shown_with_their_place() {
    check(
        |f| f.write("schema.cedarschema", "entity User;\nentiy Doc;\n"),
        &["schema.cedarschema:2:1: "],
    );
    check(
        |f| f.write("more.cedarschema", "entity Extra {\n  of: Nowhere,\n};\n"),
        &["Nowhere"],
    );
    check(
        |f| f.write("more.cedarschema", "@authzen(\"user\")\nentity Other;\n"),
        &["both go by `user`"],
    );
    check(
        |f| {
            f.write(
                "more.cedarschema",
                "@request_properties(\"sometimes\")\nentity Other;\n",
            )
        },
        &[
            "`@request_properties` of `Other` is `sometimes`",
            "known here: add, override, ignore",
        ],
    );
    check(
        |f| {
            f.write("more.cedarschema", "@authzen(\"delete\")\naction erase appliesTo { principal: [User], resource: [Doc] };\n")
        },
        &["both go by `delete`"],
    );
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
fn templates_are_refused() {
    check(
        |f| {
            f.write(
                "more.cedar",
                "@id(\"t\")\npermit (principal == ?principal, action, resource);\n",
            )
        },
        &["more.cedar:", "a template has no links here"],
    );
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
