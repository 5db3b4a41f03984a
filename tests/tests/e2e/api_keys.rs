//! An API key's life over real processes: made by a person, shown to gateways in either way, and ended, which every
//! gateway hears.

use std::time::{Duration, Instant};

use e2e::Site;
use e2e::http::{self, client, send};
use e2e::tokens;
use serde_json::json;
use service_kit::Secret;

const SCOPE: &str =
    "scope: openid profile email offline_access records:read records:write records:list";

/// Keys are on, and the terminal may ask for the scope.
fn with_keys(text: &str) -> String {
    assert!(text.contains(SCOPE));
    text.replace(SCOPE, &format!("{SCOPE} api_keys")).replacen(
        "token_service:\n",
        "token_service:\n  api_keys: {}\n",
        1,
    )
}

/// Alice's access token, with the scope to make keys.
async fn maker(site: &Site) -> String {
    let mut client = tokens::client(site).await;
    let password = Secret::new("alice-demo-password");
    let scope = "openid api_keys records:read";
    let answer = client
        .log_in(&tokens::cli(), "alice", &password, scope)
        .await;
    tokens::text(&answer.expect("logged in"), "access_token")
}

async fn made(site: &Site, token: &str) -> (String, String) {
    let request = client()
        .post(site.token_service_url("/api-keys"))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(json!({ "name": "backup", "expires_in": 3600 }).to_string());
    let answer = send(request).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = answer.json();
    (
        tokens::text(&answer, "id"),
        tokens::text(&answer, "api_key"),
    )
}

async fn end(site: &Site, token: &str, id: &str) {
    let url = site.token_service_url(&format!("/api-keys/{id}"));
    let answer = send(client().delete(url).bearer_auth(token)).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_comes_in_its_own_header_and_is_decided_upon_as_its_maker() {
    let site = Site::all_in_one_with(|text| {
        with_keys(&text).replacen("gateway:\n", "gateway:\n  api_key_header: X-API-Key\n", 1)
    });
    let token = maker(&site).await;
    let (id, key) = made(&site, &token).await;
    let get = async |path: &str| {
        let request = client()
            .get(site.gateway_url(path))
            .header("x-api-key", &key);
        send(request).await
    };
    let own = get("/records/1001").await;
    assert_eq!(own.status, 200, "{}", own.body);
    assert_eq!(get("/records/1002").await.status, 403);
    let seen = get("/whoami").await;
    assert!(!seen.body.contains("cg_ak_"), "{}", seen.body);
    end(&site, &token, &id).await;
    let gone = Instant::now() + Duration::from_secs(5);
    while get("/records/1001").await.status != 401 {
        assert!(Instant::now() < gone, "an ended key still works after 5 s");
    }
    // No log has it, whoever has seen it.
    for file in std::fs::read_dir(site.folder.path().join("data")).expect("data") {
        let bytes = std::fs::read(file.expect("file").path()).expect("read");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&key));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_key_reaches_every_gateway() {
    let site = Site::split_with(|text| with_keys(&text));
    let (second, _process) = site.second_gateway();
    let token = maker(&site).await;
    let (id, key) = made(&site, &token).await;
    let gateways = [
        site.gateway_url("/records/1001"),
        format!("http://{second}:8080/records/1001"),
    ];
    for url in gateways.iter().chain(&gateways) {
        assert_eq!(http::get(url, Some(&key)).await.status, 200);
    }
    end(&site, &token, &id).await;
    for url in &gateways {
        let gone = Instant::now() + Duration::from_secs(5);
        while http::get(url, Some(&key)).await.status != 401 {
            assert!(Instant::now() < gone, "an ended key still works at {url}");
        }
    }
}
