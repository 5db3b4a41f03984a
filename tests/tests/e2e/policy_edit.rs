//! Policies edited under load: no answer mixes two versions, a broken edit changes nothing, and
//! cached permits end when the policies do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use e2e::Site;
use e2e::http::{client, get, send};
use e2e::site::{Topology, eventually};
use e2e::tokens;
use serde_json::{Value, json};

const SENTINEL: &str = "zz-sentinel.cedar";

/// Two policies that stand or fall together: a decision that saw one of them only is mixed.
fn write_pair(site: &Site, on: bool) {
    let text = if on {
        "@id(\"pair-a\")\npermit (principal == User::\"pair\", action == Action::\"view_echo\", resource == Service::\"a\");\n\
         @id(\"pair-b\")\npermit (principal == User::\"pair\", action == Action::\"view_echo\", resource == Service::\"b\");\n\
         @id(\"pair-off\")\nforbid (principal == User::\"nobody\", action, resource);\n"
    } else {
        "@id(\"pair-off-a\")\nforbid (principal == User::\"pair\", action == Action::\"view_echo\", resource == Service::\"a\");\n\
         @id(\"pair-off-b\")\nforbid (principal == User::\"pair\", action == Action::\"view_echo\", resource == Service::\"b\");\n"
    };
    let folder = site.policies();
    let temporary = folder.join("zz-sentinel.tmp");
    std::fs::write(&temporary, text).expect("write");
    std::fs::rename(temporary, folder.join(SENTINEL)).expect("rename");
}

async fn ask_pair(site: &Site, http: &reqwest::Client) -> Vec<Value> {
    let body = json!({
        "subject": { "type": "User", "id": "pair" },
        "action": { "name": "view_echo" },
        "evaluations": [
            { "resource": { "type": "Service", "id": "a" } },
            { "resource": { "type": "Service", "id": "b" } },
        ],
    });
    let request = http
        .post(site.pdp_url("/access/v1/evaluations"))
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["evaluations"]
        .as_array()
        .expect("evaluations")
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_decision_mixes_two_versions_while_policies_are_edited() {
    let site = Site::split();
    write_pair(&site, true);
    let http = client();
    eventually("the pair is loaded", Duration::from_secs(10), || async {
        ask_pair(&site, &http).await[0]["decision"] == json!(true)
    })
    .await;
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    let mut on = true;
    for _ in 0..12 {
        on = !on;
        write_pair(&site, on);
        eventually("the edit is loaded", Duration::from_secs(10), || async {
            let answers = ask_pair(&site, &http).await;
            answers[0]["decision"] == json!(on)
        })
        .await;
        for _ in 0..20 {
            let answers = ask_pair(&site, &http).await;
            assert_eq!(
                answers[0]["decision"], answers[1]["decision"],
                "{answers:?}"
            );
            let versions: BTreeSet<_> = answers
                .iter()
                .map(|answer| answer["context"]["snapshot"]["version"].to_string())
                .collect();
            assert_eq!(versions.len(), 1, "{answers:?}");
            for answer in &answers {
                let version = answer["context"]["snapshot"]["version"].to_string();
                seen.entry(version)
                    .or_default()
                    .insert(answer["decision"] == json!(true));
            }
        }
    }
    assert!(seen.len() >= 2, "{seen:?}");
    assert!(
        seen.values().all(|decisions| decisions.len() == 1),
        "{seen:?}"
    );
}

async fn edits_reach_the_gateway(topology: Topology) {
    let site = Site::start(topology);
    let alice = tokens::access_token(&site, "alice").await;
    let url = site.gateway_url("/records/1001");
    for _ in 0..3 {
        assert_eq!(get(&url, Some(&alice)).await.status, 200);
    }
    let file = site.policies().join("zz-stop.cedar");
    // Of viewing only: without any scope her token would soon be worth nothing, which is a 401.
    std::fs::write(
        &file,
        "@id(\"stop\")\nforbid (principal == User::\"alice\", action == Action::\"view_record\", resource);\n",
    )
    .expect("write");
    eventually(
        "a cached permit ends with the policy",
        Duration::from_secs(10),
        || async { get(&url, Some(&alice)).await.status == 403 },
    )
    .await;
    // Half an edit: the last whole version keeps deciding.
    std::fs::write(&file, "@id(\"stop\")\nforbid (principal == User::\"ali").expect("write");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(get(&url, Some(&alice)).await.status, 403);
    std::fs::remove_file(&file).expect("remove");
    eventually("it permits again", Duration::from_secs(10), || async {
        get(&url, Some(&alice)).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_ends_cached_permits_in_one_process() {
    edits_reach_the_gateway(Topology::AllInOne).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_ends_cached_permits_over_redis() {
    edits_reach_the_gateway(Topology::Split).await;
}
