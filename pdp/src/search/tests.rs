//! Searches find exactly what evaluation permits, and do not look at everything for it.

use std::collections::BTreeSet;

use authzen::{DecisionError, DecisionPoint as _, Found, SearchKind, SearchRequest};
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Bounds, PageFound, Waiter};
use crate::Pdp;
use crate::fixture::{Fixture, ask, busy};

const SCHEMA: &str = r#"
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
const POLICIES: &[&str] = &[
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

#[test]
fn every_policy_of_the_pool_is_valid() {
    for (n, policy) in POLICIES.iter().enumerate() {
        let fixture = Fixture::empty();
        fixture.write("schema.cedarschema", SCHEMA);
        fixture.write("policies.cedar", &format!("@id(\"{n}\") {policy}"));
        if let Err(error) = fixture.try_open() {
            panic!("{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_search_finds_exactly_what_evaluation_permits(world in worlds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_fixture, pdp) = world.open();
            for kind in [SearchKind::Subject, SearchKind::Resource, SearchKind::Action] {
                let found = all_pages(&pdp, kind, world.question(), world.limit).await.unwrap();
                let once: BTreeSet<_> = found.iter().cloned().collect();
                prop_assert_eq!(found.len(), once.len(), "found twice: {:?}", found);
                prop_assert_eq!(once, world.permitted(&pdp, kind).await, "{:?}", kind);
            }
            Ok(())
        })?;
    }
}

/// `count` documents: every hundredth is ann's, in the folder `hers`, and big.
fn many(count: usize, policy: &str) -> Pdp {
    world_of_many(count, policy).open()
}

fn world_of_many(count: usize, policy: &str) -> Fixture {
    let fixture = Fixture::empty();
    fixture.write("schema.cedarschema", SCHEMA);
    fixture.write("policies.cedar", &format!("@id(\"p\") {policy}"));
    let mut entities = vec![
        json!({ "uid": { "type": "User", "id": "ann" }, "attrs": { "level": 1 }, "parents": [] }),
        json!({ "uid": { "type": "User", "id": "ben" }, "attrs": { "level": 1, "manager": { "type": "User", "id": "ann" } }, "parents": [] }),
        json!({ "uid": { "type": "Folder", "id": "hers" }, "attrs": {}, "parents": [] }),
    ];
    for n in 0..count {
        let is_hers = n % 100 == 0;
        let (owner, parents, size) = if is_hers {
            ("ben", json!([{ "type": "Folder", "id": "hers" }]), 5)
        } else {
            ("zoe", json!([]), 1)
        };
        entities.push(json!({ "uid": { "type": "Doc", "id": format!("d{n:06}") },
            "attrs": { "owner": { "type": "User", "id": owner }, "readers": [], "meta": {},
                "public": false, "size": size }, "parents": parents }));
    }
    fixture.write("entities.json", &Value::from(entities).to_string());
    fixture
}

/// So many candidates were decided in all.
fn decided(fixture: &Fixture) -> usize {
    let rendered = fixture.metrics.render();
    let mut lines = rendered.lines();
    let count = lines.find_map(|line| line.strip_prefix("pdp_search_decisions_total "));
    count.unwrap().parse().unwrap()
}

fn hers() -> SearchRequest {
    let body = json!({ "subject": { "type": "User", "id": "ann" }, "action": { "name": "read" },
        "resource": { "type": "Doc" } });
    SearchRequest::from_json(SearchKind::Resource, body.to_string().as_bytes()).unwrap()
}

fn first_page(pdp: &Pdp, limit: usize, decisions: usize, after: Option<&str>) -> PageFound {
    let waiter = Waiter::default();
    let bounds = Bounds {
        results: limit,
        decisions,
        waited: &waiter.waited(),
    };
    let snapshot = pdp.0.snapshot.load_full();
    let (question, now) = (
        hers().question.unwrap(),
        service_kit::UnixTime::from_secs(0),
    );
    let asking = pdp.0.providers.asking(None);
    let found = snapshot.search(&question, now, after, bounds, &asking);
    found.now_or_never().unwrap().unwrap()
}

#[test]
fn only_what_the_residual_leaves_open_is_decided() {
    for (policy, decided) in [
        // The links lead to the 20 of 2 000.
        (
            "permit (principal, action, resource is Doc) when { resource.owner has manager && resource.owner.manager == principal };",
            20,
        ),
        (
            "permit (principal, action, resource in Folder::\"hers\");",
            20,
        ),
        (
            "permit (principal, action, resource is Doc) when { resource.size > 3 && resource in Folder::\"hers\" };",
            20,
        ),
        // Known before any candidate is looked at.
        (
            "permit (principal, action, resource is Doc) when { principal == User::\"zoe\" };",
            0,
        ),
        ("forbid (principal, action, resource);", 0),
        (
            "permit (principal, action == Action::\"write\", resource);",
            0,
        ),
        // Nothing but the documents' own size tells.
        (
            "permit (principal, action, resource is Doc) when { resource.size > 3 };",
            2000,
        ),
    ] {
        let pdp = many(2000, policy);
        let found = first_page(&pdp, 1000, 10_000, None);
        assert_eq!(found.decided, decided, "{policy}");
        assert_eq!(found.results.len(), decided.min(20), "{policy}");
        assert_eq!(found.next, None, "{policy}");
    }
}

#[test]
fn a_page_that_used_up_its_work_goes_on_later() {
    let pdp = many(
        1000,
        "permit (principal, action, resource is Doc) when { resource.size > 3 };",
    );
    let (mut found, mut pages, mut after) = (0, 0, None::<String>);
    loop {
        let page = first_page(&pdp, 4, 150, after.as_deref());
        assert!(page.decided <= 150);
        found += page.results.len();
        pages += 1;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, 10);
    assert!(pages > 5, "{pages}");
}

/// Each of the 2 000 documents is decided where nothing ends the page.
const OF_ALL: &str = "permit (principal, action, resource is Doc) when { resource.size > 3 };";

#[test]
fn a_page_that_nobody_waits_for_ends_at_the_next_candidate() {
    let fixture = world_of_many(2000, OF_ALL);
    let pdp = fixture.open();
    let (runtime, free) = busy();
    let request = hers();
    runtime.block_on(async {
        let soon = std::time::Duration::from_millis(50);
        let left = tokio::time::timeout(soon, pdp.search(&request)).await;
        assert!(left.is_err(), "{left:?}");
        free.send(()).unwrap();
        // There is one thread: what was begun before has ended when this is done.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    });
    assert_eq!(decided(&fixture), 1);
    let whole = runtime.block_on(pdp.search(&request)).unwrap();
    assert_eq!(whole.page.next_token, "");
    assert_eq!(decided(&fixture), 2001);
}

#[test]
fn so_does_one_that_only_looks_at_candidates() {
    let waiter = Waiter::default();
    let bounds = Bounds {
        results: 10,
        decisions: 10,
        waited: &waiter.waited(),
    };
    let mut page = super::Pager::new(bounds);
    assert!(!page.look("d1"));
    drop(waiter);
    assert!(page.look("d2"));
    assert_eq!(page.done().next.as_deref(), Some("d2"));
}

#[test]
fn a_process_that_drains_answers_with_what_is_found_by_then_and_says_where_to_go_on() {
    let fixture = world_of_many(2000, OF_ALL);
    let pdp = fixture.open();
    let (runtime, free) = busy();
    let request = hers();
    let page = runtime.block_on(async {
        let mut searching = pdp.search(&request);
        let soon = std::time::Duration::from_millis(50);
        let early = tokio::time::timeout(soon, &mut searching).await;
        assert!(early.is_err(), "{early:?}");
        fixture.tasks.drain();
        let early = tokio::time::timeout(soon, &mut searching).await;
        assert!(early.is_err(), "{early:?}");
        free.send(()).unwrap();
        searching.await.unwrap()
    });
    assert_eq!(decided(&fixture), 1);
    assert_ne!(page.page.next_token, "");
}
