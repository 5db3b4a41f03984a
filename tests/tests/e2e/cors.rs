//! Pages of other origins, in Chromium, that call the gateway with a token: those that it was told of, and those that
//! it was not.

use e2e::Site;
use e2e::browser::plays;
use e2e::site::host;
use e2e::tokens;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_named_calls_with_its_token_and_no_other_does() {
    let site = Site::all_in_one_with(|text| {
        let origin = format!("http://{}:9700", host(&text));
        let cors = format!(
            "\ngateway:\n  cors: {{ origins: ['{origin}'], headers: [Idempotency-Key] }}\n"
        );
        text.replacen("\ngateway:\n", &cors, 1)
    });
    let token = tokens::access_token(&site, "alice").await;
    let page = |port| format!("http://{}:{port}", site.host);
    let (gateway, of_site, other) = (site.gateway_url(""), page(9700), page(9701));
    let played = tokio::task::spawn_blocking(move || {
        let variables = [
            ("GATEWAY", gateway.as_str()),
            ("SITE", &of_site),
            ("OTHER", &other),
            ("TOKEN", &token),
        ];
        let steps = [
            "read",
            "written",
            "refusals",
            "unlisted_header",
            "other_origin",
        ];
        plays("cors.mjs", &variables, &steps)
    });
    played.await.expect("played");
    // Preflights are in the log with the route that they are for, and of nobody.
    let log = std::fs::read_to_string(site.folder.path().join("data/access.jsonl")).expect("log");
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    let lines: Vec<Value> = lines.collect();
    let preflights = lines.iter().filter(|line| line["method"] == "OPTIONS");
    let statuses: Vec<_> = preflights
        .filter(|line| line["route"] == "/records/{id}")
        .map(|line| line["status"].as_u64().unwrap_or_default())
        .collect();
    assert!(statuses.contains(&204), "{log}");
    assert!(statuses.contains(&403), "of the other origin: {log}");
}
