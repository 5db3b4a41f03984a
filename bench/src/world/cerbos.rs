//! The world in Cerbos' idiom: shared derived roles and a resource policy for each kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Asked, Document, Person, World, questions};
use crate::ask::{Questions, Sign};

const DERIVED_ROLES: &str = r#"apiVersion: api.cerbos.dev/v1
derivedRoles:
  name: sharing
  definitions:
    - name: owner
      parentRoles: ["*"]
      condition: { match: { expr: R.attr.owner == P.id } }
    - name: viewer
      parentRoles: ["*"]
      condition: { match: { expr: P.id in R.attr.viewers } }
    - name: editor
      parentRoles: ["*"]
      condition: { match: { expr: P.id in R.attr.editors } }
    - name: colleague
      parentRoles: [employee]
      condition: { match: { expr: R.attr.department == P.attr.department } }
    - name: own_manager
      parentRoles: [manager]
      condition: { match: { expr: R.attr.department == P.attr.department } }
"#;

/// For one kind of documents.
const RULES: &str = r#"apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: KIND
  version: default
  importDerivedRoles: [sharing]
  rules:
    - name: public
      actions: [view, comment]
      effect: EFFECT_ALLOW
      roles: ["*"]
      condition: { match: { expr: R.attr.public && R.attr.status == "published" } }
    - name: owner
      actions: [view, comment, edit, share]
      effect: EFFECT_ALLOW
      derivedRoles: [owner]
    - name: owner-deletes-drafts
      actions: [delete]
      effect: EFFECT_ALLOW
      derivedRoles: [owner]
      condition: { match: { expr: R.attr.status == "draft" } }
    - name: viewer
      actions: [view, comment]
      effect: EFFECT_ALLOW
      derivedRoles: [viewer]
    - name: editor
      actions: [view, comment, edit]
      effect: EFFECT_ALLOW
      derivedRoles: [editor]
      condition: { match: { expr: R.attr.status != "archived" } }
    - name: department
      actions: [view]
      effect: EFFECT_ALLOW
      derivedRoles: [colleague]
      condition: { match: { expr: R.attr.level <= P.attr.clearance } }
    - name: manager
      actions: [view, comment, approve]
      effect: EFFECT_ALLOW
      derivedRoles: [own_manager]
      condition: { match: { expr: 'R.attr.status in ["review", "published"]' } }
    - name: auditor
      actions: [view]
      effect: EFFECT_ALLOW
      roles: [auditor]
      condition: { match: { expr: R.attr.level <= P.attr.clearance } }
    - name: clearance
      actions: ["*"]
      effect: EFFECT_DENY
      roles: ["*"]
      condition:
        match:
          expr: R.attr.level > P.attr.clearance && R.attr.owner != P.id
    - name: mfa
      actions: [share, approve, delete]
      effect: EFFECT_DENY
      roles: ["*"]
      condition: { match: { expr: "!P.attr.mfa" } }
"#;

/// The derived roles and a file for each kind.
pub(super) fn policies(kinds: usize, files: &mut BTreeMap<String, String>) {
    files.insert("cerbos/derived_roles.yaml".into(), DERIVED_ROLES.into());
    for kind in 0..kinds {
        let name = format!("document{kind}");
        files.insert(format!("cerbos/{name}.yaml"), RULES.replace("KIND", &name));
    }
}

/// A request for each question.
pub(super) fn one(world: &World) -> Questions {
    let body = |asked: &[Asked]| body(world, asked);
    questions(world, PATH, sign(), world.singles(), body)
}

/// Requests about many resources.
pub(super) fn many(world: &World) -> Questions {
    let body = |asked: &[Asked]| body(world, asked);
    questions(world, PATH, sign(), world.batches(), body)
}

fn body(world: &World, asked: &[Asked]) -> Value {
    let person = asked.first().map_or(0, |first| first.person);
    let resources = asked.iter().map(|asked| {
        let resource = resource(&world.documents[asked.document]);
        json!({ "actions": [asked.action], "resource": resource })
    });
    json!({
        "principal": principal(&world.people[person]),
        "resources": resources.collect::<Vec<_>>(),
    })
}

fn principal(person: &Person) -> Value {
    let mut attributes = json!(person);
    // Cerbos has roles beside the attributes.
    let roles = attributes
        .as_object_mut()
        .and_then(|all| all.remove("roles"));
    json!({ "id": person.id, "roles": roles, "attr": attributes })
}

fn resource(document: &Document) -> Value {
    json!({ "kind": document.kind(), "id": document.id, "attr": document })
}

const PATH: &str = "/api/check/resources";

fn sign() -> Sign {
    Sign {
        before: "\"EFFECT_".into(),
        permit: 'A',
    }
}
