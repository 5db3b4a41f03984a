//! Templates apply for whom links say, in every way that policies are asked; and what is wrong with a link is
//! told with its place.

use authzen::EvaluationRequest;
use serde_json::{Value, json};
use service_kit::UnixTime;

use crate::config::Reading;
use crate::fixture::{Fixture, answer, ask};
use crate::http::tests::post;
use crate::snapshot::Snapshot;

const TEMPLATES: &str = r#"
@id("shared") @reason("it is shared with them") @obligation("log")
permit (principal == ?principal, action == Action::"read", resource == ?resource)
when { principal.name != "mallory" };

@id("static") permit (principal == User::"zoe", action, resource);

@id("barred-team")
forbid (principal in ?principal, action == Action::"read", resource);
"#;

const LINKS: &str = r#"[
  { "templateId": "shared", "newId": "ann-d1", "values": {
    "?principal": { "type": "User", "id": "ann" }, "?resource": { "type": "Doc", "id": "d2" } } },
  { "templateId": "shared", "newId": "ben-d2", "values": {
    "?principal": { "__entity": { "type": "User", "id": "ben" } }, "?resource": { "type": "Doc", "id": "d2" } } },
  { "templateId": "barred-team", "newId": "bar-t9", "values": { "?principal": { "type": "Team", "id": "t9" } } }
]"#;

fn linked(links: &str) -> Fixture {
    let fixture = Fixture::new();
    fixture.write("sharing.cedar", TEMPLATES);
    fixture.write("sharing.links.json", links);
    fixture
}

fn question(subject: &str, doc: &str) -> Value {
    json!({ "subject": { "type": "user", "id": subject, "properties": { "name": subject } },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": doc } })
}

#[tokio::test]
async fn a_link_is_a_policy_by_its_own_name_with_what_its_template_says() {
    let fixture = linked(LINKS);
    let report = crate::check_policies(fixture.folder.path()).unwrap();
    assert_eq!((report.policies, report.warnings.len()), (9, 0), "{report}");
    let pdp = fixture.open();
    for (subject, doc, policies) in [
        ("ann", "d2", vec!["ann-d1"]),
        ("ben", "d2", vec!["ben-d2"]),
        ("zoe", "d2", vec!["static"]),
        ("ann", "d3", vec![]),
    ] {
        let answer = ask(&pdp, &question(subject, doc)).await.unwrap();
        let reasons = answer.context.reasons;
        let named: Vec<_> = reasons
            .iter()
            .map(|reason| reason.policy.as_str())
            .collect();
        assert_eq!(named, policies, "{subject} {doc}");
        if doc == "d2" && subject != "zoe" {
            assert_eq!(reasons[0].reason.as_deref(), Some("it is shared with them"));
            assert_eq!(answer.context.obligations[0].id, policies[0]);
        }
    }
    // Cedar itself has the same links.
    let snapshot = pdp.0.snapshot.load_full();
    for (subject, doc) in [
        ("ann", "d2"),
        ("ben", "d2"),
        ("ben", "d1"),
        ("zoe", "d1"),
        ("x", "d2"),
    ] {
        let request = question(subject, doc).to_string();
        let request = EvaluationRequest::from_json(request.as_bytes()).unwrap();
        let answered = answer(&snapshot, &request, UnixTime::from_secs(0)).unwrap();
        let (question, verdict) = *answered.decided.unwrap();
        assert_eq!(
            verdict,
            snapshot.by_cedar(&question).unwrap(),
            "{subject} {doc}"
        );
    }
}

#[tokio::test]
async fn what_is_asked_of_policies_is_asked_of_links() {
    let pdp = linked(LINKS).open();
    let search = json!({ "subject": { "type": "user", "id": "ann" }, "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc" } });
    let stated = r#"[{"uid": {"type": "Doc", "id": "d2"}, "attrs": {}, "parents": []}]"#;
    let fixture = linked(LINKS);
    fixture.write("entities-docs.json", stated);
    let (_, _, found) = post(
        &fixture.open(),
        "/access/v1/search/resource",
        search.to_string(),
    )
    .await;
    let found: Vec<_> = found["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!(found, ["d1", "d2"]);
    let partial = json!({ "principal": "User::\"ann\"", "action": "Action::\"read\"", "resource": { "type": "Doc" }, "context": {} });
    let (_, _, left) = post(&pdp, "/cedar/v1/partial", partial.to_string()).await;
    let left = left["residuals"].as_array().unwrap();
    let link = left.iter().find(|one| one["policy"] == "ann-d1").unwrap();
    assert!(
        link["residual"]
            .as_str()
            .unwrap()
            .contains("resource == Doc::\"d2\""),
        "{link}"
    );
    assert!(
        left.iter()
            .all(|one| one["policy"] != "ben-d2" && one["policy"] != "bar-t9"),
        "{left:?}"
    );
}

#[test]
fn an_explanation_shows_the_template_and_where_it_is_written() {
    let fixture = linked(LINKS);
    let explained = crate::explain_policies(
        fixture.folder.path(),
        question("ann", "d2").to_string().as_bytes(),
    );
    let explained = explained.unwrap();
    let link = explained
        .policies
        .iter()
        .find(|one| one.policy == "ann-d1")
        .unwrap();
    assert_eq!(link.template.as_deref(), Some("shared"));
    let place = link.place.as_ref().unwrap();
    assert!(place.file.ends_with("sharing.cedar"), "{place:?}");
    assert_eq!((place.line, link.conditions.len()), (2, 1));
    let condition = link.conditions[0].place.as_ref().unwrap();
    assert_eq!((condition.line, condition.column), (4, 8), "{condition:?}");
    let snapshot = Snapshot::open(fixture.folder.path(), &Reading::default(), 1).unwrap();
    let rules = &snapshot.loaded.rules;
    let text = rules
        .iter()
        .find(|rule| rule.reason.policy == "ann-d1")
        .unwrap()
        .text();
    let policy = cedar_policy::Policy::parse(None, &text).unwrap();
    assert!(
        policy.is_static() && text.contains("User::\"ann\""),
        "{text}"
    );
}

const ANN: &str = r#"{ "type": "User", "id": "ann" }"#;
const DOC: &str = r#"{ "type": "Doc", "id": "d2" }"#;

fn link(template: &str, id: &str, values: &str) -> String {
    format!(r#"[{{ "templateId": "{template}", "newId": "{id}", "values": {values} }}]"#)
}

/// One of a template with both slots.
fn both(id: &str) -> String {
    let values = format!(r#"{{ "?principal": {ANN}, "?resource": {DOC} }}"#);
    link("shared", id, &values)
}

fn refused(links: &str, says: &str) {
    let error = linked(links).try_open().unwrap_err().to_string();
    let is_told = error.contains(says) && error.contains("sharing.links.json");
    assert!(is_told, "{links}:\n{error}");
}

#[test]
fn what_is_no_link_is_told_with_its_place() {
    refused(
        &both("x").replace('[', "{").replace(']', "}"),
        "not valid JSON",
    );
    refused("{}", ":1:1: the file must hold an array of links");
    refused("[7]", ":1:2: a link: it must be an object");
    refused("[{}]", "`templateId` is missing");
    refused(&both(""), "`newId` must be a text");
    refused(&link("shared", "x", "[]"), "`values` must be an object");
    refused(
        &both("x").replace("newId", "newID"),
        "`newID` is no member of a link",
    );
    refused(
        &both("x").replace("}]", ", \"newId\": \"y\" }]"),
        "appears twice",
    );
}

#[test]
fn a_link_that_names_something_else_than_there_is_is_told_with_its_place() {
    let nowhere = both("x").replace("shared", "nowhere");
    refused(&nowhere, "there is no template `nowhere`");
    refused(
        &both("x").replace("shared", "static"),
        "there is no template `static`",
    );
    let one = format!(r#"{{ "?principal": {ANN} }}"#);
    refused(
        &link("shared", "x", &one),
        "`values` says nothing of `?resource`",
    );
    let other = both("x").replace("shared", "barred-team");
    refused(&other, "the template has no slot `?resource`");
    let text = both("x").replace(ANN, "\"ann\"");
    refused(&text, "`?principal` must be `{\"type\": …, \"id\": …}`");
    let ufo = both("x").replace("User", "Ufo");
    refused(&ufo, "the schema has no entity type `Ufo`");
    let blue = both("x").replace(DOC, r#"{ "type": "Color", "id": "blue" }"#);
    refused(
        &blue,
        "`?resource` is `Color::\"blue\"`: the schema has no such entity",
    );
}

#[test]
fn no_link_has_the_name_of_anything_else() {
    refused(&both("static"), "`newId` `static` is taken");
    refused(&both("shared"), "`newId` `shared` is taken");
    refused(&both("owner-reads"), "policies.cedar:2:1");
    let x = both("x");
    let twice = format!("[{0},\n{0}]", x.trim_matches(['[', ']']));
    refused(&twice, "links.json:2:1: `newId` `x` is taken");
}

#[test]
fn a_link_that_can_never_apply_is_suspicious_like_any_policy() {
    let links = r#"[{ "templateId": "barred-team", "newId": "x", "values": { "?principal": { "type": "Doc", "id": "d" } } }]"#;
    let report = crate::check_policies(linked(links).folder.path()).unwrap();
    let warnings: Vec<_> = report.warnings.iter().map(ToString::to_string).collect();
    let own = warnings
        .iter()
        .find(|one| one.contains("sharing.links.json:1:2: "));
    assert!(own.unwrap().contains("applicable action"), "{warnings:?}");
}

#[test]
fn a_template_without_links_is_suspicious_and_one_without_an_id_is_refused() {
    let fixture = linked("[]");
    let report = crate::check_policies(fixture.folder.path()).unwrap();
    let warnings: Vec<_> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2);
    assert!(
        warnings[0].contains("sharing.cedar:8:1: the template `barred-team` has no links"),
        "{warnings:?}"
    );
    for (template, says) in [
        (
            "permit (principal == ?principal, action, resource);",
            "no `@id`",
        ),
        (
            "@id(\"public\") permit (principal == ?principal, action, resource);",
            "is taken",
        ),
        (
            "@id(\"barred-team\") permit (principal == ?principal, action, resource);",
            "is taken",
        ),
        (
            "@id(\"x\") @obligation(\"mask fields\") permit (principal == ?principal, action, resource);",
            "`@obligation`",
        ),
        (
            "@id(\"x\") permit (principal == ?principal, action, resource is Doc) when { resource.pubic };",
            "pubic",
        ),
    ] {
        fixture.write("z.cedar", template);
        let error = fixture.try_open().unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("z.cedar:1:"),
            "{error}"
        );
    }
}
