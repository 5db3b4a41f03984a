//! Entities written while the PDP runs: loaded by the command line, kept through `kill -9`, shared
//! by PDPs over Redis.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use e2e::process::{Process, cedargate, own_address, repository};
use e2e::redis_server::RedisServer;
use serde_json::{Value, json};

const POLICIES: &str = "policies/records";

/// A PDP on a port, over a store.
fn pdp(folder: &Path, address: SocketAddr, store: &str) -> Process {
    let name = format!("pdp-{}", address.port());
    let policies = repository().join(POLICIES);
    let config = folder.join(format!("{name}.yaml"));
    let text = format!(
        "admin: {{ listen: \"{}:{}\" }}\nstore: {store}\npdp:\n  listen: \"{address}\"\n  \
         policies: {policies:?}\n  decision_log: \"off\"\n  entities_without_callers: write\n",
        address.ip(),
        address.port() + 1000,
    );
    std::fs::write(&config, text).expect("configuration");
    let mut command = Command::new(cedargate());
    command.args(["pdp", "-c"]).arg(&config);
    let mut process = Process::start(&name, folder, &mut command);
    process.await_port(address);
    process
}

fn users(count: usize) -> String {
    let users = (0..count).map(|n| {
        json!({ "uid": { "type": "User", "id": format!("load-{n}") }, "attrs": {}, "parents": [] })
    });
    users.map(|user| format!("{user}\n")).collect()
}

fn load(address: SocketAddr, file: &Path) -> String {
    let output = Command::new(cedargate())
        .args(["entities", "load", "--pdp", &format!("http://{address}")])
        .arg(file)
        .output()
        .expect("cedargate");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{problem}");
    said
}

/// The list of users that a PDP holds after one id, and its revision; asks for freshness.
async fn listed(address: SocketAddr, after: &str, revision: u64) -> (Vec<String>, u64) {
    let url = format!("http://{address}/cedar/v1/entities?type=User&limit=2&after={after}");
    let response = reqwest::Client::new()
        .get(url)
        .header("cedargate-at-least-revision", revision)
        .send()
        .await
        .expect("answer");
    assert_eq!(response.status(), 200);
    let body: Value = serde_json::from_slice(&response.bytes().await.expect("body")).expect("JSON");
    let ids = body["entities"].as_array().expect("entities").iter();
    let ids = ids.map(|entity| entity["uid"]["id"].as_str().expect("id").to_owned());
    (ids.collect(), body["revision"].as_u64().expect("revision"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaded_entities_survive_a_kill_and_reach_every_pdp() {
    let folder = tempfile::tempdir().expect("folder");
    let host = own_address();
    let file = folder.path().join("users.ndjson");
    std::fs::write(&file, users(6000)).expect("file");
    let redis = RedisServer::start(host, folder.path());
    let own_file = "{ redb: { path: own.redb } }".to_owned();
    let shared = format!("{{ redis: {{ url: \"{}\" }} }}", redis.url());
    for (store, ports) in [(own_file, [7101, 7101]), (shared, [7201, 7202])] {
        let [one, other] = ports.map(|port| SocketAddr::from((host, port)));
        let mut first = pdp(folder.path(), one, &store);
        let said = load(one, &file);
        assert!(said.contains("6000 entities are written"), "{said}");
        let (_, told) = said.split_once("the revision is ").expect("the revision");
        let digits = told.split(|byte: char| !byte.is_ascii_digit()).next();
        let revision: u64 = digits.unwrap().parse().unwrap();
        assert!(said.contains("bytes each"), "{said}");
        assert!(revision > 1, "it takes several parts");
        first.kill();
        let restarted = pdp(folder.path(), one, &store);
        let second = (one != other).then(|| pdp(folder.path(), other, &store));
        for address in [one, other] {
            let (ids, at) = listed(address, "load-5998", revision).await;
            assert_eq!((ids[0].as_str(), at), ("load-5999", revision));
        }
        if second.is_some() {
            std::fs::write(&file, users(1).replace("load-0", "load-5999x")).expect("file");
            load(other, &file);
            let (ids, at) = listed(one, "load-5999", revision + 1).await;
            assert_eq!((ids[0].as_str(), at), ("load-5999x", revision + 1));
        }
        drop(restarted);
    }
}
