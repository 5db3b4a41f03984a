//! Scopes that policies or entities take away from tokens which are out: gateways hear of it, the token
//! goes on for what it still may.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::Site;
use e2e::http::get;
use e2e::process::cedargate;
use e2e::site::{Topology, eventually};
use e2e::tokens;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

/// Needs `records:read`.
const READ: &str = "/records/1001";
/// Needs a token, and no scope.
const ANY: &str = "/whoami";

async fn status(gateway: Ipv4Addr, path: &str, token: &str) -> u16 {
    let url = format!("http://{gateway}:8080{path}");
    get(&url, Some(token)).await.status
}

/// Waits until every gateway refuses what needs the scope; each has answered it from its cache before.
async fn refused(gateways: &[Ipv4Addr], token: &str, what: &str) {
    let since = Instant::now();
    for gateway in gateways {
        eventually(what, PATIENCE, || async {
            status(*gateway, READ, token).await == 403
        })
        .await;
        println!("{what}: refused at {gateway} after {:?}", since.elapsed());
        // The token itself lives.
        assert_eq!(status(*gateway, ANY, token).await, 200);
    }
}

async fn permitted(gateways: &[Ipv4Addr], token: &str) {
    for gateway in gateways {
        eventually("it is permitted", PATIENCE, || async {
            status(*gateway, READ, token).await == 200
        })
        .await;
        assert_eq!(status(*gateway, READ, token).await, 200);
    }
}

async fn a_policy_takes_a_scope_away(site: &Site, gateways: &[Ipv4Addr]) {
    let alice = tokens::access_token(site, "alice").await;
    let sam = tokens::access_token(site, "sam").await;
    permitted(gateways, &alice).await;
    permitted(gateways, &sam).await;
    let file = site.policies().join("zz-no-read.cedar");
    let temporary = site.policies().join("zz-no-read.tmp");
    std::fs::write(
        &temporary,
        "@id(\"no-read\")\nforbid (principal == User::\"alice\", action == Action::\"grant_scope\", \
         resource == Scope::\"records:read\");\n",
    )
    .expect("write");
    std::fs::rename(&temporary, &file).expect("rename");
    refused(gateways, &alice, "a scope that policy takes away").await;
    permitted(gateways, &sam).await;
    std::fs::remove_file(&file).expect("remove");
    permitted(gateways, &alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_policy_takes_away_ends_in_one_process() {
    let site = Site::start(Topology::AllInOne);
    a_policy_takes_a_scope_away(&site, &[site.host]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_policy_takes_away_ends_at_every_gateway() {
    let site = Site::split();
    let (second, _process) = site.second_gateway();
    a_policy_takes_a_scope_away(&site, &[site.host, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_an_entity_takes_away_ends() {
    let site = Site::all_in_one_with(|text| {
        text.replacen("pdp:\n", "pdp:\n  entities_without_callers: write\n", 1)
    });
    let schema = site.policies().join("schema.cedarschema");
    let text = std::fs::read_to_string(&schema).expect("schema");
    let grouped = text.replacen(
        "entity User {",
        "entity Group;\nentity User in [Group] {",
        1,
    );
    assert_ne!(text, grouped);
    std::fs::write(&schema, grouped).expect("write");
    std::fs::write(
        site.policies().join("suspended.cedar"),
        "@id(\"suspended\")\nforbid (principal in Group::\"suspended\", action == Action::\"grant_scope\", \
         resource == Scope::\"records:read\");\n",
    )
    .expect("write");
    // What the folder states is changed there alone.
    let stated = site.policies().join("entities.json");
    let text = std::fs::read_to_string(&stated).expect("entities");
    let mut entities: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    entities.retain(|entity| entity["uid"]["id"] != "alice");
    std::fs::write(&stated, json!(entities).to_string()).expect("write");
    let alice = tokens::access_token(&site, "alice").await;
    permitted(&[site.host], &alice).await;
    let file = site.folder.path().join("suspended.ndjson");
    let group =
        json!({ "uid": { "type": "Group", "id": "suspended" }, "attrs": {}, "parents": [] });
    let user = json!({
        "uid": { "type": "User", "id": "alice" }, "attrs": {},
        "parents": [{ "type": "Group", "id": "suspended" }],
    });
    std::fs::write(&file, format!("{group}\n{user}\n")).expect("write");
    // Until the schema is in force, nothing can be in a group.
    eventually("the entities are written", PATIENCE, || async {
        let mut load = Command::new(cedargate());
        load.args(["entities", "load", "--pdp", &site.pdp_url("")]);
        let output = load.arg(&file).output().expect("cedargate");
        output.status.success()
    })
    .await;
    refused(&[site.host], &alice, "a scope that an entity takes away").await;
}
