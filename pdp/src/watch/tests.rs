//! Edits under a running PDP: taken whole, or refused while the old snapshot decides.

use std::time::Duration;

use authzen::{BatchBody, Decision, DecisionPoint as _, Evaluation};
use serde_json::{Value, json};
use service_kit::Status;
use strict_json::Arena;

use super::*;
use crate::fixture::{Fixture, POLICIES, ask};

fn question() -> Value {
    json!({
        "subject": { "type": "user", "id": "ben" },
        "action": { "name": "GET /docs/{id}" },
        "resource": { "type": "urn:x:doc", "id": "d1" },
    })
}

fn closed() -> String {
    format!("{POLICIES}\n@id(\"closed\") forbid (principal, action, resource);\n")
}

async fn decide(pdp: &Pdp) -> Evaluation {
    ask(pdp, &question()).await.unwrap()
}

/// Waits until something holds; fails after a patience that no test should need.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not within ten seconds: {what}");
}

fn epoch(pdp: &Pdp) -> u64 {
    pdp.changes().borrow().epoch
}

#[tokio::test]
async fn an_edit_is_taken_and_a_broken_one_is_refused_while_the_old_snapshot_decides() {
    let fixture = Fixture::new();
    let pdp = fixture.open();
    let mut changes = pdp.changes();
    pdp.watch();
    assert_eq!(decide(&pdp).await.decision, Decision::Permit);

    fixture.write("policies.cedar", &closed());
    eventually("the edit is taken", || epoch(&pdp) == 2).await;
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow_and_update().epoch, 2);
    let answer = decide(&pdp).await;
    assert_eq!(answer.decision, Decision::Deny);
    assert_eq!(answer.context.reasons[0].policy, "closed");
    assert_eq!(answer.context.snapshot.unwrap(), changes.borrow().clone());

    fixture.write(
        "policies.cedar",
        "@id(\"x\")\npermit (principal, acton, resource);",
    );
    let is_stale = || match fixture.health.parts().get(HEALTH_PART) {
        Some(Status::Stale { reason }) => reason.contains("policies.cedar:2:20"),
        _ => false,
    };
    eventually("the broken edit is told", is_stale).await;
    assert!(fixture.health.is_ready(), "stale still serves");
    assert_eq!(
        (epoch(&pdp), decide(&pdp).await.decision),
        (2, Decision::Deny)
    );
    // The same mistake is told once, however often it is looked at.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let metrics = fixture.metrics.render();
    assert!(
        metrics.contains("pdp_snapshot_reloads_total{result=\"refused\"} 1"),
        "{metrics}"
    );

    fixture.write("policies.cedar", POLICIES);
    eventually("the repair is taken", || epoch(&pdp) == 3).await;
    assert_eq!(decide(&pdp).await.decision, Decision::Permit);
    assert_eq!(fixture.health.parts()[HEALTH_PART], Status::Ready);
    assert!(fixture.tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_file_that_is_written_piece_by_piece_is_not_taken_before_it_is_whole() {
    use std::io::Write as _;
    let fixture = Fixture::new();
    let pdp = fixture.open();
    let mut changes = pdp.changes();
    pdp.watch();
    // The watcher has looked once, and knows what the folder looks like.
    tokio::time::sleep(Duration::from_millis(300)).await;
    changes.borrow_and_update();
    let mut file = std::fs::File::create(fixture.folder.path().join("policies.cedar")).unwrap();
    let pieces = closed();
    let statements: Vec<_> = pieces.split_inclusive(";\n").collect();
    assert!(statements.len() > 4, "each of them valid");
    for piece in statements {
        file.write_all(piece.as_bytes()).unwrap();
        file.flush().unwrap();
        tokio::time::sleep(Duration::from_millis(80)).await;
        if pdp.changes().borrow().epoch > 1 {
            break;
        }
    }
    eventually("the edit is taken", || epoch(&pdp) == 2).await;
    let answer = decide(&pdp).await;
    assert_eq!(answer.context.reasons[0].policy, "closed", "its last one");
    fixture.tasks.drain();
}

#[tokio::test]
async fn going_back_to_what_decides_ends_being_stale() {
    let fixture = Fixture::new();
    let pdp = fixture.open();
    pdp.watch();
    fixture.write("policies.cedar", "permit");
    let is = |stale: bool| {
        matches!(
            fixture.health.parts().get(HEALTH_PART),
            Some(Status::Stale { .. })
        ) == stale
    };
    eventually("stale", || is(true)).await;
    fixture.write("policies.cedar", POLICIES);
    eventually("ready", || is(false)).await;
    assert_eq!(epoch(&pdp), 1);
    fixture.tasks.drain();
}

#[cfg(unix)]
#[tokio::test]
async fn a_swapped_link_is_followed() {
    use std::os::unix::fs::symlink;
    // As an orchestrator mounts a map of files: links to a hidden folder that is replaced.
    let (old, new, mount) = (Fixture::new(), Fixture::new(), Fixture::empty());
    new.write("policies.cedar", &closed());
    let root = mount.folder.path();
    symlink(old.folder.path(), root.join("..data")).unwrap();
    for name in ["schema.cedarschema", "policies.cedar", "entities.json"] {
        symlink(format!("..data/{name}"), root.join(name)).unwrap();
    }
    let pdp = mount.open();
    pdp.watch();
    assert_eq!(decide(&pdp).await.decision, Decision::Permit);
    symlink(new.folder.path(), root.join("..next")).unwrap();
    std::fs::rename(root.join("..next"), root.join("..data")).unwrap();
    eventually("the link is followed", || epoch(&pdp) == 2).await;
    assert_eq!(decide(&pdp).await.decision, Decision::Deny);
    mount.tasks.drain();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_decision_mixes_two_snapshots() {
    let fixture = Fixture::new();
    // Every snapshot states its own number in a policy's reason and as a required tries value.
    let write = |number: i64| {
        fixture.write(
            "policies.cedar",
            &format!(
                "@id(\"a\") @reason(\"{number}\") permit (principal, action, resource);\n\
                 @id(\"b\") @reason(\"{number}\") permit (principal, action, resource);\n"
            ),
        );
    };
    write(0);
    let pdp = fixture.open();
    pdp.watch();
    let body = json!({ "evaluations": vec![question(); 20] }).to_string();
    let arena = Arena::new();
    let BatchBody::Many(batch) = BatchBody::parse(body.as_bytes(), &arena).unwrap() else {
        panic!("no batch");
    };
    let batch = batch.to_request();
    let asker = fixture.tasks.spawn({
        let (pdp, draining) = (pdp.clone(), fixture.tasks.draining());
        async move {
            let mut epochs = std::collections::BTreeSet::new();
            while !draining.is_cancelled() {
                let answers = pdp.evaluate_many(&batch).await.unwrap();
                let seen: std::collections::HashSet<_> = answers
                    .iter()
                    .flat_map(|answer| {
                        let snapshot = answer.context.snapshot.clone().unwrap();
                        let reasons = answer.context.reasons.iter();
                        reasons.map(move |reason| (reason.reason.clone(), snapshot.clone()))
                    })
                    .collect();
                assert_eq!(seen.len(), 1, "{seen:?}");
                epochs.extend(seen.into_iter().map(|(_, snapshot)| snapshot.epoch));
                tokio::task::yield_now().await;
            }
            epochs
        }
    });
    for number in 1..=8 {
        write(number);
        let expected = u64::try_from(number).unwrap() + 1;
        eventually("the next snapshot", || epoch(&pdp) == expected).await;
    }
    assert!(fixture.tasks.finish(Duration::from_secs(5)).await);
    assert!(asker.await.unwrap().len() >= 2);
}

#[tokio::test]
async fn reading_the_folder_is_no_reason_to_read_it_again() {
    let fixture = Fixture::new();
    let pdp = fixture.open();
    let (told, mut changes) = mpsc::channel(1);
    let _watcher = watch_folder(&pdp.0, told).unwrap();
    for _ in 0..3 {
        Folder::read(&pdp.0.folder).unwrap();
    }
    let quiet = tokio::time::timeout(Duration::from_millis(200), changes.recv()).await;
    assert!(quiet.is_err(), "a look leads to the next look");
    fixture.write("policies.cedar", &closed());
    let told = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await;
    assert_eq!(told, Ok(Some(())), "an edit is not told");
}

#[tokio::test]
async fn a_folder_that_has_not_changed_is_not_read_again_and_a_change_is_never_missed() {
    let fixture = Fixture::new();
    let pdp = fixture.open();
    let mut follower = Follower::new(Arc::clone(&pdp.0));
    tokio::time::pause();
    let tells = |follower: &Follower| follower.seen.as_ref().is_some_and(Seen::tells);
    follower.look_again().await;
    assert!(!tells(&follower), "the stamp may be as young as an edit");
    tokio::time::advance(STANDING).await;
    follower.look_again().await;
    assert!(tells(&follower));
    tokio::time::advance(UNSEEN).await;
    assert!(
        !tells(&follower),
        "the content is to be compared now and then"
    );
    follower.look_again().await;
    assert!(tells(&follower));

    // As long as the one before.
    fixture.write("policies.cedar", &POLICIES.replace("permit", "forbid"));
    follower.look_again().await;
    assert_eq!(epoch(&pdp), 2);
    assert!(!tells(&follower));
    tokio::time::advance(STANDING).await;
    follower.look_again().await;
    std::fs::remove_file(fixture.folder.path().join("entities.json")).unwrap();
    follower.look_again().await;
    assert_eq!(epoch(&pdp), 3, "a file is gone");
}

async fn write_entities(pdp: &Pdp, change: Value) {
    let change = serde_json::from_value(change).unwrap();
    pdp.0.write(&change).await.unwrap();
}

fn doc(id: &str) -> Value {
    json!({ "uid": { "type": "Doc", "id": id }, "attrs": {}, "parents": [] })
}

#[tokio::test]
async fn a_refused_folder_is_tried_again_when_written_entities_are_out_of_its_way() {
    let fixture = Fixture::new();
    let pdp = fixture.open();
    let mut follower = Follower::new(Arc::clone(&pdp.0));
    tokio::time::pause();
    write_entities(&pdp, json!({ "upsert": [doc("x"), doc("y")] })).await;
    fixture.write("entities-more.json", &json!([doc("x")]).to_string());
    let look_until_seen = async |follower: &mut Follower| {
        for _ in 0..3 {
            follower.look_again().await;
            tokio::time::advance(STANDING).await;
        }
        assert!(follower.seen.as_ref().is_some_and(Seen::tells));
    };
    let refused = |times: usize| {
        let metrics = fixture.metrics.render();
        let line = format!("pdp_snapshot_reloads_total{{result=\"refused\"}} {times}\n");
        assert!(metrics.contains(&line), "{metrics}");
    };
    look_until_seen(&mut follower).await;
    refused(1);
    let Status::Stale { reason } = &fixture.health.parts()[HEALTH_PART] else {
        panic!("not refused");
    };
    assert!(reason.contains("`Doc::\"x\"` has been written"), "{reason}");

    // Another revision, and the same mistake.
    write_entities(&pdp, json!({ "delete": [{ "type": "Doc", "id": "y" }] })).await;
    assert!(follower.is_overtaken());
    look_until_seen(&mut follower).await;
    assert!(!follower.is_overtaken());
    refused(1);

    write_entities(&pdp, json!({ "delete": [{ "type": "Doc", "id": "x" }] })).await;
    follower.look_again().await;
    assert_eq!(epoch(&pdp), 2, "the file's `x` is in nobody's way now");
    assert_eq!(fixture.health.parts()[HEALTH_PART], Status::Ready);
}

#[tokio::test]
async fn what_the_folder_alone_has_wrong_is_not_read_again_with_every_written_entity() {
    let fixture = Fixture::new();
    let pdp = fixture.open();
    let mut follower = Follower::new(Arc::clone(&pdp.0));
    fixture.write("policies.cedar", "permit");
    assert!(!follower.look().await);
    write_entities(&pdp, json!({ "upsert": [doc("x")] })).await;
    assert!(!follower.is_overtaken());
    assert!(follower.look().await, "it is known");
}
