//! The world in Cedar, and questions about it in AuthZEN's words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{ACTIONS, Asked, Document, Person, World, questions};
use crate::ask::{Questions, Sign};

const TYPES: &str = r#"@authzen("user")
entity User { roles: Set<String>, department: String, clearance: Long, mfa: Bool };
"#;

/// Of every kind of documents.
const ATTRIBUTES: &str = "{
  owner: User, department: String, level: Long, status: String, public: Bool,
  viewers: Set<User>, editors: Set<User>,
}";

/// For one kind of documents.
const RULES: &str = r#"@id("KIND-public")
permit (principal, action in [Action::"view", Action::"comment"], resource is TYPE)
when { resource.public && resource.status == "published" };

@id("KIND-owner")
permit (
  principal,
  action in [Action::"view", Action::"comment", Action::"edit", Action::"share"],
  resource is TYPE
)
when { resource.owner == principal };

@id("KIND-owner-deletes-drafts")
permit (principal, action == Action::"delete", resource is TYPE)
when { resource.owner == principal && resource.status == "draft" };

@id("KIND-viewer")
permit (principal, action in [Action::"view", Action::"comment"], resource is TYPE)
when { resource.viewers.contains(principal) };

@id("KIND-editor")
permit (
  principal,
  action in [Action::"view", Action::"comment", Action::"edit"],
  resource is TYPE
)
when { resource.editors.contains(principal) && resource.status != "archived" };

@id("KIND-department")
permit (principal, action == Action::"view", resource is TYPE)
when {
  principal.roles.contains("employee") &&
  resource.department == principal.department &&
  resource.level <= principal.clearance
};

@id("KIND-manager")
permit (
  principal,
  action in [Action::"view", Action::"comment", Action::"approve"],
  resource is TYPE
)
when {
  principal.roles.contains("manager") &&
  resource.department == principal.department &&
  ["review", "published"].contains(resource.status)
};

@id("KIND-auditor")
permit (principal, action == Action::"view", resource is TYPE)
when { principal.roles.contains("auditor") && resource.level <= principal.clearance };

@id("KIND-clearance")
forbid (principal, action, resource is TYPE)
when { resource.level > principal.clearance }
unless { resource.owner == principal };

@id("KIND-mfa")
forbid (
  principal,
  action in [Action::"share", Action::"approve", Action::"delete"],
  resource is TYPE
)
unless { principal.mfa };
"#;

/// Schema and a file of policies for each kind.
pub(super) fn policies(kinds: usize, files: &mut BTreeMap<String, String>) {
    let mut schema = TYPES.to_owned();
    for kind in 0..kinds {
        let (name, entity) = (format!("document{kind}"), entity_type(kind));
        let _ = writeln!(
            schema,
            "@authzen(\"{name}\")\nentity {entity} {ATTRIBUTES};"
        );
        let rules = RULES.replace("KIND", &name).replace("TYPE", &entity);
        files.insert(format!("cedar/{name}.cedar"), rules);
    }
    let entities: Vec<_> = (0..kinds).map(entity_type).collect();
    let _ = writeln!(
        schema,
        "action {} appliesTo {{ principal: [User], resource: [{}] }};",
        ACTIONS.join(", "),
        entities.join(", ")
    );
    files.insert("cedar/schema.cedarschema".into(), schema);
}

/// Everybody and everything, as Cedar's JSON has them.
pub(super) fn entities(world: &World) -> serde_json::Result<String> {
    let people = world.people.iter().map(|person| {
        let uid = json!({ "type": "User", "id": person.id });
        json!({ "uid": uid, "attrs": person, "parents": [] })
    });
    let documents = world.documents.iter().map(|document| {
        let user = |id: &String| json!({ "__entity": { "type": "User", "id": id } });
        let users = |ids: &[String]| ids.iter().map(user).collect::<Vec<_>>();
        let mut attributes = json!(document);
        attributes["owner"] = user(&document.owner);
        attributes["viewers"] = users(&document.viewers).into();
        attributes["editors"] = users(&document.editors).into();
        let uid = json!({ "type": entity_type(document.kind), "id": document.id });
        json!({ "uid": uid, "attrs": attributes, "parents": [] })
    });
    serde_json::to_string(&people.chain(documents).collect::<Vec<_>>())
}

/// An evaluation for each question.
pub(super) fn one(world: &World, with_properties: bool) -> Questions {
    let body = |asked: &[Asked]| match asked {
        [asked] => {
            let mut body = entry(world, *asked, with_properties);
            body["subject"] = subject(&world.people[asked.person], with_properties);
            body
        }
        _ => Value::Null,
    };
    questions(
        world,
        "/access/v1/evaluation",
        sign(),
        world.singles(),
        body,
    )
}

/// Evaluations that share their subject.
pub(super) fn many(world: &World, with_properties: bool) -> Questions {
    let body = |asked: &[Asked]| {
        let person = asked.first().map_or(0, |first| first.person);
        let entries = asked.iter();
        let entries = entries.map(|asked| entry(world, *asked, with_properties));
        json!({
            "subject": subject(&world.people[person], with_properties),
            "evaluations": entries.collect::<Vec<_>>(),
        })
    };
    questions(
        world,
        "/access/v1/evaluations",
        sign(),
        world.batches(),
        body,
    )
}

fn entry(world: &World, asked: Asked, with_properties: bool) -> Value {
    let resource = resource(&world.documents[asked.document], with_properties);
    json!({ "action": { "name": asked.action }, "resource": resource })
}

fn subject(person: &Person, with_properties: bool) -> Value {
    let mut subject = json!({ "type": "user", "id": person.id });
    if with_properties {
        subject["properties"] = json!(person);
    }
    subject
}

fn resource(document: &Document, with_properties: bool) -> Value {
    let mut resource = json!({ "type": document.kind(), "id": document.id });
    if with_properties {
        resource["properties"] = json!(document);
    }
    resource
}

fn entity_type(kind: usize) -> String {
    format!("Document{kind}")
}

fn sign() -> Sign {
    Sign {
        before: "\"decision\":".into(),
        permit: 't',
    }
}
