//! Small worlds of users and documents, what is asked in them, and what must be found.

use std::collections::BTreeSet;

use authzen::{DecisionError, DecisionPoint as _, Found, SearchKind, SearchRequest};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Pdp;
use crate::fixture::{Fixture, ask};

pub(super) const SCHEMA: &str = r#"
entity Team in [Team];
entity User in [Team] { manager?: User, level: Long, dept?: Dept } tags User;
entity Dept in [Dept] { head?: User };
entity Folder in [Folder] { keeper?: User };
entity Doc in [Folder] {
  owner: User, readers: Set<User>, group?: Team, meta: { reviewer?: User }, home?: Folder,
  public: Bool, size: Long
};
entity Mode enum ["slow", "fast"];
action any;
action read, write in [any] appliesTo { principal: [User], resource: [Doc], context: { n?: Long, peer?: User } };
action keep in [any] appliesTo { principal: [User, Team], resource: [Folder, Mode, User] };
"#;

/// Each is one policy's head and body; a random set of them is a policy set.
pub(super) const POLICIES: &[&str] = &[
    "permit (principal, action, resource is Doc) when { resource.owner == principal };",
    "permit (principal, action, resource is Doc) when { resource.size * 9223372036854775807 > 5 };",
    "permit (principal, action, resource is Doc) when { resource has group && principal in resource.group };",
    "permit (principal, action, resource is Doc) when { resource.readers.contains(principal) };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.public };",
    "permit (principal, action, resource is Doc) when { resource.meta has reviewer && resource.meta.reviewer == principal };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { resource.owner has manager && resource.owner.manager == principal };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { resource has home && resource.home has keeper && resource.home.keeper == principal };",
    "permit (principal, action, resource is Doc) when { resource has home && resource.home in Folder::\"f1\" };",
    "permit (principal, action, resource in Folder::\"f0\");",
    "permit (principal, action, resource == Doc::\"d3\");",
    "permit (principal == User::\"u1\", action, resource);",
    "permit (principal in Team::\"t0\", action, resource is Doc) when { resource.size < 3 };",
    "permit (principal is User, action == Action::\"write\", resource is Doc) when { principal.level > resource.size };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { context has peer && resource.readers.contains(context.peer) };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { context has n && resource.size + context.n == 4 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.readers.containsAll([User::\"u0\", User::\"u2\"]) };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.readers.containsAll([principal]) };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.readers.containsAny([User::\"u0\", principal]) };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { [User::\"u0\", User::\"u3\"].contains(resource.owner) };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { if resource.public then resource.owner == principal else resource in Folder::\"f2\" };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { principal.hasTag(\"deputy\") && resource.owner == principal.getTag(\"deputy\") };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { resource.owner.hasTag(\"deputy\") && resource.owner.getTag(\"deputy\") == principal };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { principal has dept && principal.dept has head && principal.dept.head == resource.owner };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.readers.isEmpty() };",
    "permit (principal, action == Action::\"read\", resource is Doc) unless { resource.owner == principal };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource in [Folder::\"f1\", Folder::\"f3\"] || resource.owner == User::\"u2\" };",
    "permit (principal, action == Action::\"keep\", resource is Folder) when { resource has keeper && resource.keeper == principal };",
    "permit (principal, action == Action::\"keep\", resource == Mode::\"slow\");",
    "permit (principal, action == Action::\"keep\", resource is User) when { resource == principal };",
    "permit (principal is User, action == Action::\"keep\", resource is User) when { resource has manager && resource.manager == principal && resource.level + 9223372036854775800 > 0 };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { (if resource.public then principal else resource.owner).level > 2 };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { (if context has n then principal else resource.owner).level > 2 };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { resource.public && User::\"u1\".level > 2 };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { principal has manager && principal.manager.level > 2 };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) when { context has peer && context.peer.level > 2 };",
    "permit (principal is User, action == Action::\"read\", resource is Doc) unless { resource has home && resource has owner.manager };",
    "forbid (principal, action == Action::\"read\", resource is Doc) when { resource.size == 2 };",
    "forbid (principal == User::\"u2\", action, resource);",
    "forbid (principal, action in Action::\"any\", resource is Doc) when { resource.readers.contains(User::\"u3\") };",
    "forbid (principal is User, action == Action::\"write\", resource is Doc) when { resource.size + 9223372036854775805 < 0 };",
    "forbid (principal, action == Action::\"read\", resource is Doc) when { context has n && context.n > 2 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource in Folder::\"f0\" && resource.size == 0 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.readers.contains(User::\"u0\") && resource.size > 1 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { [User::\"u0\", User::\"u4\"].contains(principal) && resource.size == 0 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource in Folder::\"f1\" && resource.size == 1 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.readers.contains(User::\"u1\") && resource.size > 1 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { [User::\"u1\", User::\"u4\"].contains(principal) && resource.size == 1 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource in Folder::\"f2\" && resource.size == 2 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.readers.contains(User::\"u2\") && resource.size > 1 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { [User::\"u2\", User::\"u4\"].contains(principal) && resource.size == 2 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource in Folder::\"f3\" && resource.size == 3 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { resource.readers.contains(User::\"u3\") && resource.size > 1 };",
    "permit (principal, action == Action::\"read\", resource is Doc) when { [User::\"u3\", User::\"u4\"].contains(principal) && resource.size == 3 };",
];

fn user(n: u8) -> Value {
    json!({ "__entity": { "type": "User", "id": format!("u{n}") } })
}

fn parents(kind: &str, prefix: &str, numbers: &[u8]) -> Value {
    numbers
        .iter()
        .map(|n| json!({ "type": kind, "id": format!("{prefix}{n}") }))
        .collect()
}

fn users() -> impl Strategy<Value = Vec<Value>> {
    let one = (
        proptest::option::of(0..6_u8),
        0..5_i64,
        proptest::option::of(0..2_u8),
        proptest::collection::vec(0..3_u8, 0..2),
        proptest::option::of(0..6_u8),
    );
    proptest::collection::vec(one, 5).prop_map(|users| {
        let made = users.into_iter().enumerate();
        made.map(|(n, (manager, level, dept, teams, deputy))| {
            let mut attrs = json!({ "level": level });
            if let Some(manager) = manager {
                attrs["manager"] = user(manager);
            }
            if let Some(dept) = dept {
                attrs["dept"] = json!({ "__entity": { "type": "Dept", "id": format!("p{dept}") } });
            }
            let tags = deputy.map_or(json!({}), |deputy| json!({ "deputy": user(deputy) }));
            json!({ "uid": { "type": "User", "id": format!("u{n}") }, "attrs": attrs,
                "parents": parents("Team", "t", &teams), "tags": tags })
        })
        .collect()
    })
}

fn docs() -> impl Strategy<Value = Vec<Value>> {
    let one = (
        (0..6_u8, proptest::collection::btree_set(0..5_u8, 0..3)),
        proptest::option::of(0..3_u8),
        proptest::option::of(0..6_u8),
        proptest::option::of(0..4_u8),
        any::<bool>(),
        0..5_i64,
        proptest::collection::vec(0..4_u8, 0..2),
    );
    proptest::collection::vec(one, 8).prop_map(|docs| {
        let made = docs.into_iter().enumerate();
        made.map(
            |(n, ((owner, readers), group, reviewer, home, public, size, folders))| {
                let readers: Vec<_> = readers.into_iter().map(user).collect();
                let mut attrs = json!({ "owner": user(owner), "readers": readers, "meta": {},
                "public": public, "size": size });
                if let Some(group) = group {
                    attrs["group"] =
                        json!({ "__entity": { "type": "Team", "id": format!("t{group}") } });
                }
                if let Some(reviewer) = reviewer {
                    attrs["meta"]["reviewer"] = user(reviewer);
                }
                if let Some(home) = home {
                    attrs["home"] =
                        json!({ "__entity": { "type": "Folder", "id": format!("f{home}") } });
                }
                json!({ "uid": { "type": "Doc", "id": format!("d{n}") }, "attrs": attrs,
                "parents": parents("Folder", "f", &folders), "tags": {} })
            },
        )
        .collect()
    })
}

fn others() -> Vec<Value> {
    let mut others = vec![
        json!({ "uid": { "type": "Dept", "id": "p0" }, "attrs": { "head": user(1) }, "parents": [] }),
        json!({ "uid": { "type": "Dept", "id": "p1" }, "attrs": {}, "parents": [] }),
    ];
    for (n, up) in [(0, vec![]), (1, vec![0]), (2, vec![1])] {
        others.push(
            json!({ "uid": { "type": "Team", "id": format!("t{n}") }, "attrs": {},
            "parents": parents("Team", "t", &up) }),
        );
    }
    for (n, up, keeper) in [
        (0, vec![], 0),
        (1, vec![0], 1),
        (2, vec![1], 2),
        (3, vec![], 1),
    ] {
        others.push(json!({ "uid": { "type": "Folder", "id": format!("f{n}") },
            "attrs": { "keeper": user(keeper) }, "parents": parents("Folder", "f", &up) }));
    }
    others
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) entities: Vec<Value>,
    policies: BTreeSet<usize>,
    subject: Value,
    pub(crate) action: &'static str,
    resource: Value,
    context: Value,
    pub(crate) limit: usize,
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let subject = (0..7_u8, proptest::option::of((0..6_u8, 0..5_i64))).prop_map(|(n, extra)| {
        let mut subject = json!({ "type": "User", "id": format!("u{n}") });
        if let Some((manager, level)) = extra {
            // Attributes beyond what the store has, complete or not.
            subject["properties"] =
                json!({ "manager": { "type": "User", "id": format!("u{manager}") }, "level": level });
        }
        subject
    });
    let resource = prop_oneof![
        4 => (0..9_u8).prop_map(|n| json!({ "type": "Doc", "id": format!("d{n}") })),
        1 => (0..4_u8).prop_map(|n| json!({ "type": "Folder", "id": format!("f{n}") })),
        1 => Just(json!({ "type": "Mode", "id": "slow" })),
        1 => (0..5_u8).prop_map(|n| json!({ "type": "User", "id": format!("u{n}") })),
    ];
    let context = prop_oneof![
        Just(json!({})),
        (0..5_i64).prop_map(|n| json!({ "n": n })),
        (0..5_u8).prop_map(|n| json!({ "peer": { "type": "User", "id": format!("u{n}") } })),
    ];
    (
        (users(), docs()),
        proptest::collection::btree_set(0..POLICIES.len(), 1..7),
        subject,
        proptest::sample::select(vec!["read", "write", "keep"]),
        resource,
        context,
        1..6_usize,
    )
        .prop_map(
            |((users, docs), policies, subject, action, resource, context, limit)| World {
                entities: [users, docs, others()].concat(),
                policies,
                subject,
                action,
                resource,
                context,
                limit,
            },
        )
}

impl World {
    pub(crate) fn open(&self) -> (Fixture, Pdp) {
        let fixture = self.fixture();
        let pdp = fixture.open();
        (fixture, pdp)
    }

    pub(crate) fn fixture(&self) -> Fixture {
        let fixture = Fixture::empty();
        fixture.write("schema.cedarschema", SCHEMA);
        let policies: String = self
            .policies
            .iter()
            .filter_map(|n| Some(format!("@id(\"{n}\") {}\n", POLICIES.get(*n)?)))
            .collect();
        fixture.write("policies.cedar", &policies);
        fixture.write(
            "entities.json",
            &Value::from(self.entities.clone()).to_string(),
        );
        fixture
    }

    fn ids(&self, kind: &str) -> Vec<String> {
        if kind == "Mode" {
            return vec!["fast".into(), "slow".into()];
        }
        let of_kind = self
            .entities
            .iter()
            .filter(|entity| entity["uid"]["type"] == kind);
        of_kind
            .map(|entity| entity["uid"]["id"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn question(&self) -> Value {
        json!({ "subject": self.subject, "action": { "name": self.action },
            "resource": self.resource, "context": self.context })
    }

    /// What evaluation permits, one by one.
    pub(crate) async fn permitted(&self, pdp: &Pdp, kind: SearchKind) -> BTreeSet<Found> {
        let question = self.question();
        let mut permitted = BTreeSet::new();
        let mut candidates: Vec<(Found, Value)> = Vec::new();
        match kind {
            SearchKind::Action => {
                for name in ["read", "write", "keep", "any"] {
                    let mut asked = question.clone();
                    asked["action"] = json!({ "name": name });
                    candidates.push((Found::Action { name: name.into() }, asked));
                }
            }
            SearchKind::Subject | SearchKind::Resource => {
                let part = kind.as_str();
                let wanted = question[part]["type"].as_str().unwrap();
                for id in self.ids(wanted) {
                    let mut asked = question.clone();
                    asked[part] = json!({ "type": wanted, "id": id });
                    let kind = wanted.to_owned();
                    candidates.push((Found::Entity { kind, id }, asked));
                }
            }
        }
        for (found, asked) in candidates {
            if ask(pdp, &asked).await.unwrap().decision.is_permit() {
                permitted.insert(found);
            }
        }
        permitted
    }
}

/// Every result of every page.
pub(crate) async fn all_pages(
    pdp: &Pdp,
    kind: SearchKind,
    mut body: Value,
    limit: usize,
) -> Result<Vec<Found>, DecisionError> {
    if kind == SearchKind::Action {
        body.as_object_mut().unwrap().remove("action");
    }
    body["page"] = json!({ "limit": limit });
    let mut all = Vec::new();
    loop {
        let request = SearchRequest::from_json(kind, body.to_string().as_bytes()).unwrap();
        let page = pdp.search(&request).await?;
        assert!(page.results.len() <= limit);
        assert_eq!(page.page.count, Some(page.results.len()));
        all.extend(page.results.into_iter().map(|result| result.found));
        if page.page.next_token.is_empty() {
            return Ok(all);
        }
        body = json!({ "page": { "token": page.page.next_token } });
    }
}
