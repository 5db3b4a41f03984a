//! Documents in folders that are owned by users and shown to users and groups: the shape of the
//! Google Drive application of the paper on Cedar (Cutler et al., OOPSLA 2024).

use cedar_policy_core::ast::{EntityUID, Value};

use super::{Asked, Dice, QUESTIONS, Workload, entity, set, uid};

/// A document is in the views that show it; a group's view is in its members' views.
const SCHEMA: &str = "
entity View in [View];
entity Group;
entity User in [Group] { view: View, documents: Set<Document>, folders: Set<Folder> };
entity Folder in [Folder, View];
entity Document in [Folder, View] { public: Bool };
action read, write, share, change_owner appliesTo { principal: [User], resource: [Document] };
action create_document appliesTo { principal: [User], resource: [Folder] };
";

const POLICIES: &str = r#"
permit (principal, action == Action::"read", resource) when { resource in principal.view };
permit (principal, action == Action::"read", resource) when { resource.public };
permit (principal, action in [Action::"read", Action::"write", Action::"share"], resource)
when { principal.documents.contains(resource) || resource in principal.folders };
permit (principal, action == Action::"change_owner", resource)
when { principal.documents.contains(resource) };
permit (principal, action == Action::"create_document", resource)
when { principal.folders.contains(resource) };
"#;

/// `size` of each: users, groups, documents, folders.
pub(super) fn workload(size: usize, dice: &mut Dice) -> Workload {
    let mut entities = Vec::new();
    let mut members = vec![Vec::new(); size];
    for n in 0..size {
        let groups = dice.connections(size, size);
        for group in &groups {
            members[*group].push(view("user", n));
        }
        let attributes = vec![
            ("view", Value::from(view("user", n))),
            ("documents", set(connected(dice, size, "Document"))),
            ("folders", set(connected(dice, size, "Folder"))),
        ];
        let groups = groups.into_iter().map(|group| uid("Group", group));
        entities.push(entity(view("user", n), vec![], []));
        entities.push(entity(uid("User", n), attributes, groups));
    }
    for (n, members) in members.into_iter().enumerate() {
        entities.push(entity(uid("Group", n), vec![], []));
        entities.push(entity(view("group", n), vec![], members));
    }
    for n in 0..size {
        let folders = connected(dice, size, "Folder");
        let parents = folders.into_iter().chain(shown(dice, size));
        let public = ("public", Value::from(dice.below(2) == 0));
        entities.push(entity(uid("Document", n), vec![public], parents));
    }
    for n in 0..size {
        // Folders are in earlier ones only: no circles.
        let above = if n == 0 {
            Vec::new()
        } else {
            dice.connections(size, n)
        };
        let above = above.into_iter().map(|folder| uid("Folder", folder));
        let parents = above.chain(shown(dice, size));
        entities.push(entity(uid("Folder", n), vec![], parents));
    }
    Workload {
        name: "gdrive",
        size,
        schema: SCHEMA.into(),
        policies: POLICIES.into(),
        entities,
        questions: (0..QUESTIONS).map(|_| asked(size, dice)).collect(),
    }
}

fn asked(size: usize, dice: &mut Dice) -> Asked {
    let action = dice.one_of(&["read", "write", "share", "change_owner", "create_document"]);
    let kind = if action == "create_document" {
        "Folder"
    } else {
        "Document"
    };
    Asked {
        principal: uid("User", dice.below(size)),
        action: uid("Action", action),
        resource: uid(kind, dice.below(size)),
        context: Vec::new(),
    }
}

fn view(of: &str, n: usize) -> EntityUID {
    uid("View", format!("{of}{n}"))
}

fn connected(dice: &mut Dice, size: usize, kind: &str) -> Vec<EntityUID> {
    let connected = dice.connections(size, size);
    connected.into_iter().map(|n| uid(kind, n)).collect()
}

/// The views of users and groups that see it.
fn shown(dice: &mut Dice, size: usize) -> Vec<EntityUID> {
    let users = dice.connections(size, size);
    let groups = dice.connections(size, size);
    let users = users.into_iter().map(|n| view("user", n));
    users
        .chain(groups.into_iter().map(|n| view("group", n)))
        .collect()
}
