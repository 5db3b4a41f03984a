//! Writing entities: over HTTP, beside other processes, and after a restart.

use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, StatusCode};
use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use store::{MemoryStore, Store};

use crate::fixture::{Fixture, ask};
use crate::{EntityRight, Pdp};

const ENTITIES: &str = "/cedar/v1/entities";

fn shared() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// One of several processes over one store.
async fn process(store: &Arc<dyn Store>) -> (Fixture, Pdp) {
    let mut fixture = Fixture::new();
    fixture.config.entities_without_callers = EntityRight::Write;
    fixture.config.max_revision_wait_ms = 200;
    fixture.store = Some(Arc::clone(store));
    let pdp = fixture.open();
    pdp.restore_entities().await.unwrap();
    (fixture, pdp)
}

async fn call(pdp: &Pdp, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    call_fresh(pdp, method, path, body, None).await
}

async fn call_fresh(
    pdp: &Pdp,
    method: Method,
    path: &str,
    body: Option<Value>,
    at_least: Option<&str>,
) -> (StatusCode, Value) {
    let mut request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    if let Some(revision) = at_least {
        request = request.header("cedargate-at-least-revision", revision);
    }
    let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
    let response = pdp
        .api()
        .oneshot(request.body(body).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn change(pdp: &Pdp, body: Value) -> (StatusCode, Value) {
    call(pdp, Method::POST, ENTITIES, Some(body)).await
}

fn doc(id: &str, owner: &str) -> Value {
    json!({ "uid": { "type": "Doc", "id": id },
        "attrs": { "owner": { "__entity": { "type": "User", "id": owner } } }, "parents": [] })
}

fn team(id: &str, parents: &[&str]) -> Value {
    let parents: Vec<_> = parents
        .iter()
        .map(|id| json!({ "type": "Team", "id": id }))
        .collect();
    json!({ "uid": { "type": "Team", "id": id }, "attrs": {}, "parents": parents })
}

async fn may_read(pdp: &Pdp, user: &str, id: &str) -> bool {
    let question = json!({ "subject": { "type": "user", "id": user },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": id } });
    ask(pdp, &question).await.unwrap().decision.is_permit()
}

#[tokio::test]
async fn what_is_written_is_decided_by_at_once_and_can_be_read() {
    let (_fixture, pdp) = process(&shared()).await;
    assert!(!may_read(&pdp, "ann", "new").await);
    let (status, body) = change(&pdp, json!({ "upsert": [doc("new", "ann")] })).await;
    assert_eq!(
        (status, &body["revision"]),
        (StatusCode::OK, &json!(1)),
        "{body}"
    );
    assert!(may_read(&pdp, "ann", "new").await);
    let (_, read) = call(&pdp, Method::GET, "/cedar/v1/entities/Doc/new", None).await;
    assert_eq!(read, doc("new", "ann"));
    let (_, listed) = call(
        &pdp,
        Method::GET,
        "/cedar/v1/entities?type=Doc&limit=1",
        None,
    )
    .await;
    assert_eq!(
        (&listed["after"], &listed["revision"]),
        (&json!("d1"), &json!(1)),
        "{listed}"
    );
    let next = "/cedar/v1/entities?type=Doc&limit=1&after=d1";
    let (_, listed) = call(&pdp, Method::GET, next, None).await;
    assert_eq!(listed["entities"], json!([doc("new", "ann")]));
    assert_eq!(listed["after"], Value::Null);
    let gone = json!({ "delete": [{ "type": "Doc", "id": "new" }] });
    assert_eq!(change(&pdp, gone).await.1["revision"], 2);
    assert!(!may_read(&pdp, "ann", "new").await);
    let (status, _) = call(&pdp, Method::GET, "/cedar/v1/entities/Doc/new", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn to_delete_what_is_not_there_is_no_change() {
    let store = shared();
    let ((_one, here), (_other, there)) = (process(&store).await, process(&store).await);
    let delete = |id: &str| json!({ "delete": [{ "type": "Doc", "id": id }] });
    for _ in 0..2 {
        let (status, body) = change(&here, delete("none")).await;
        assert_eq!(
            (status, &body["revision"], &body["deleted"]),
            (StatusCode::OK, &json!(0), &json!(0))
        );
    }
    // What another process has written is there, though this one has not heard of it yet.
    change(&there, json!({ "upsert": [doc("new", "ann")] })).await;
    let (_, body) = change(&here, delete("new")).await;
    assert_eq!(
        (&body["revision"], &body["deleted"]),
        (&json!(2), &json!(1))
    );
    let (_, body) = change(&there, delete("new")).await;
    assert_eq!(
        (&body["revision"], &body["deleted"]),
        (&json!(2), &json!(0))
    );
    let mixed =
        json!({ "upsert": [doc("new", "ann")], "delete": [{ "type": "Doc", "id": "none" }] });
    let (_, body) = change(&here, mixed).await;
    assert_eq!(
        (&body["revision"], &body["deleted"]),
        (&json!(3), &json!(0))
    );
    let (status, _) = change(&here, delete("d1")).await;
    assert_eq!(status, StatusCode::CONFLICT, "the folder states it");
}

#[tokio::test]
async fn what_is_stored_is_counted_with_the_memory_that_it_takes() {
    let (fixture, pdp) = process(&shared()).await;
    let gauge = |name: &str| -> u64 {
        let metrics = fixture.metrics.render();
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (entities, bytes) = (gauge("pdp_entities"), gauge("pdp_entities_bytes"));
    assert!(bytes > entities * 100, "{bytes} of {entities}");
    let long = team(&"x".repeat(10_000), &[]);
    let (_, body) = change(&pdp, json!({ "upsert": [long] })).await;
    assert_eq!(body["stored"]["entities"], entities + 1);
    assert!(
        (10_000..11_000).contains(&(body["stored"]["bytes"].as_u64().unwrap() - bytes)),
        "{body}"
    );
    assert_eq!(
        gauge("pdp_entities_bytes"),
        body["stored"]["bytes"].as_u64().unwrap()
    );
}

#[tokio::test]
async fn a_change_that_contradicts_anything_is_refused_whole() {
    let (_fixture, pdp) = process(&shared()).await;
    let wrong_type =
        json!({ "uid": { "type": "Doc", "id": "x" }, "attrs": { "level": "high" }, "parents": [] });
    let own_parent = team("a", &["b"]);
    for (body, status, says) in [
        (
            json!({ "upsert": [doc("x", "ann"), wrong_type] }),
            400,
            "upsert[1]",
        ),
        (
            json!({ "upsert": [doc("x", "ann"), own_parent, team("b", &["a"])] }),
            409,
            "in itself",
        ),
        (
            json!({ "upsert": [doc("x", "ann"), team("c", &["c"])] }),
            409,
            "in itself",
        ),
        (
            json!({ "upsert": [doc("x", "ann"), doc("d1", "ann")] }),
            409,
            "policy folder",
        ),
        (
            json!({ "upsert": [doc("x", "ann")], "delete": [{ "type": "User", "id": "ann" }] }),
            409,
            "policy folder",
        ),
        (
            json!({ "upsert": [doc("x", "ann"), doc("x", "ben")] }),
            400,
            "named twice",
        ),
        (
            json!({ "upsert": [doc("x", "ann")], "remove": [] }),
            400,
            "`remove`",
        ),
        (json!({ "upsert": {} }), 400, "array"),
        (json!({ "delete": [7] }), 400, "delete[0]"),
    ] {
        let (actual, problem) = change(&pdp, body.clone()).await;
        assert_eq!(actual.as_u16(), status, "{body} {problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
        assert!(!may_read(&pdp, "ann", "x").await, "{body}");
    }
    let (_, answer) = change(&pdp, json!({ "upsert": [doc("x", "ann")] })).await;
    assert_eq!(answer["revision"], 1, "nothing was counted before");
}

#[tokio::test]
async fn a_hierarchy_is_turned_round_in_one_change() {
    let (_fixture, pdp) = process(&shared()).await;
    let (_, answer) = change(
        &pdp,
        json!({ "upsert": [team("a", &["b"]), team("b", &[])] }),
    )
    .await;
    assert_eq!(answer["revision"], 1);
    // Turned round in one change, which no order of single steps could do.
    let (status, problem) = change(
        &pdp,
        json!({ "upsert": [team("b", &["a"]), team("a", &[])] }),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{problem}");
}

#[tokio::test]
async fn a_right_is_needed_to_read_and_another_to_write() {
    for (right, read, write) in [
        (EntityRight::None, 403, 403),
        (EntityRight::Read, 200, 403),
        (EntityRight::Write, 200, 200),
    ] {
        let mut fixture = Fixture::new();
        fixture.config.entities_without_callers = right;
        let pdp = fixture.open();
        let path = "/cedar/v1/entities?type=Doc";
        let (status, _) = call(&pdp, Method::GET, path, None).await;
        assert_eq!(status.as_u16(), read);
        let (status, _) = change(&pdp, json!({ "upsert": [doc("x", "ann")] })).await;
        assert_eq!(status.as_u16(), write);
        assert_eq!(may_read(&pdp, "ann", "x").await, write == 200);
    }
}

#[tokio::test]
async fn processes_agree_and_a_restart_forgets_nothing() {
    let store = shared();
    let (_one_fixture, one) = process(&store).await;
    let (_other_fixture, other) = process(&store).await;
    other.follow_entities();
    assert_eq!(
        change(&one, json!({ "upsert": [doc("x", "ann")] })).await.1["revision"],
        1
    );
    let question = json!({ "subject": { "type": "user", "id": "ann" },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": "x" } });
    let path = "/access/v1/evaluation";
    let (status, body) = call_fresh(
        &other,
        Method::POST,
        path,
        Some(question.clone()),
        Some("1"),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["decision"], true);
    assert_eq!(body["context"]["snapshot"]["revision"], 1);
    // The other one writes, which the first has not heard: the order is still one.
    assert_eq!(
        change(&other, json!({ "upsert": [doc("y", "ann")] }))
            .await
            .1["revision"],
        2
    );
    let gone = json!({ "delete": [{ "type": "Doc", "id": "x" }] });
    assert_eq!(change(&one, gone).await.1["revision"], 3);
    assert!(may_read(&one, "ann", "y").await && !may_read(&one, "ann", "x").await);
    let (_later_fixture, later) = process(&store).await;
    assert!(may_read(&later, "ann", "y").await && !may_read(&later, "ann", "x").await);
    assert_eq!(
        change(&later, json!({ "upsert": [doc("z", "ann")] }))
            .await
            .1["revision"],
        4
    );
}

#[tokio::test]
async fn simultaneous_writers_get_a_revision_each_and_end_up_equal() {
    let store = shared();
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(process(&store).await);
    }
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..30 {
        let pdp = processes[n % 3].1.clone();
        writes.spawn(async move {
            let (status, body) =
                change(&pdp, json!({ "upsert": [doc(&format!("w{n}"), "ann")] })).await;
            assert_eq!(status, StatusCode::OK, "{body}");
            body["revision"].as_u64().unwrap()
        });
    }
    let mut revisions = writes.join_all().await;
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=30).collect::<Vec<_>>());
    for (_, pdp) in &processes {
        pdp.follow_entities();
        pdp.0.at_least(30).await.unwrap();
        for n in 0..30 {
            assert!(may_read(pdp, "ann", &format!("w{n}")).await);
        }
    }
}

#[tokio::test]
async fn a_revision_that_does_not_come_is_a_clear_error() {
    let (_fixture, pdp) = process(&shared()).await;
    let path = "/access/v1/evaluation";
    let question = json!({ "subject": { "type": "user", "id": "ann" },
        "action": { "name": "GET /docs/{id}" }, "resource": { "type": "urn:x:doc", "id": "d1" } });
    for (wanted, status) in [
        ("0", 200),
        ("1", 503),
        ("x", 400),
        ("-1", 400),
        ("1.0", 400),
    ] {
        let asked = Some(question.clone());
        let (actual, _) = call_fresh(&pdp, Method::POST, path, asked, Some(wanted)).await;
        assert_eq!(actual.as_u16(), status, "{wanted}");
    }
    let waiting = {
        let pdp = pdp.clone();
        async move {
            call_fresh(&pdp, Method::POST, path, Some(question), Some("1"))
                .await
                .0
        }
    };
    let writing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        change(&pdp, json!({ "upsert": [doc("x", "ann")] })).await
    };
    assert_eq!(tokio::join!(waiting, writing).0, StatusCode::OK);
}

#[tokio::test]
async fn an_edited_folder_keeps_what_was_written_or_is_refused() {
    let (fixture, pdp) = process(&shared()).await;
    pdp.watch();
    let mut written = doc("x", "ann");
    written["attrs"]["level"] = json!(5);
    change(&pdp, json!({ "upsert": [written] })).await;
    let epoch = |wanted: u64| {
        let pdp = pdp.clone();
        async move {
            let mut changes = pdp.changes();
            let reached = changes.wait_for(|version| version.epoch >= wanted);
            tokio::time::timeout(Duration::from_secs(10), reached)
                .await
                .unwrap()
                .unwrap();
        }
    };
    // The folder states other entities: the written one stays.
    let mut stated: Value = serde_json::from_str(crate::fixture::ENTITIES).unwrap();
    stated.as_array_mut().unwrap().push(doc("d9", "ben"));
    fixture.write("entities.json", &stated.to_string());
    epoch(2).await;
    assert!(may_read(&pdp, "ben", "d9").await && may_read(&pdp, "ann", "x").await);
    // Taken out again, it is gone.
    fixture.write("entities.json", crate::fixture::ENTITIES);
    epoch(3).await;
    assert!(!may_read(&pdp, "ben", "d9").await && may_read(&pdp, "ann", "x").await);
    // A schema that the written one does not fit, and a file that states it, too.
    let schema = crate::fixture::SCHEMA.replace("level?: Long", "level?: String");
    for (name, text, says) in [
        ("schema.cedarschema", schema, "does not fit"),
        (
            "entities-more.json",
            json!([doc("x", "ben")]).to_string(),
            "written",
        ),
    ] {
        let path = fixture.folder.path().join(name);
        let before = std::fs::read_to_string(&path).ok();
        fixture.write(name, &text);
        let refused = || {
            let parts = fixture.health.parts();
            matches!(&parts["policies"], service_kit::Status::Stale { reason } if reason.contains(says))
        };
        for _ in 0..200 {
            if refused() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(refused(), "{name}: {:?}", fixture.health.parts());
        assert!(may_read(&pdp, "ann", "x").await);
        match before {
            Some(text) => fixture.write(name, &text),
            None => std::fs::remove_file(path).unwrap(),
        }
    }
}

#[tokio::test]
async fn what_waited_for_its_turn_is_held_against_the_schema_of_then() {
    let (fixture, pdp) = process(&shared()).await;
    let turn = Arc::clone(&pdp.0.turn).lock_owned().await;
    let mut levelled = doc("x", "ann");
    levelled["attrs"]["level"] = json!(5);
    let reload = async {
        let schema = crate::fixture::SCHEMA.replace("level?: Long", "level?: String");
        fixture.write("schema.cedarschema", &schema);
        let folder = fixture.folder.path();
        let newer = crate::snapshot::Snapshot::open(folder, &fixture.config.reading(), 2);
        pdp.0.snapshot.store(Arc::new(newer.unwrap()));
        drop(turn);
    };
    // The first is asked first: it reads the change and waits.
    let body = json!({ "upsert": [levelled] });
    let ((status, problem), ()) = tokio::join!(biased; change(&pdp, body), reload);
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
}
