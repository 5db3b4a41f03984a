//! The admin listener of a real process: what it shows, what it does not, and what it changes.

use e2e::Site;
use e2e::http::{client, get, send};
use e2e::process::{cedargate, repository, run};
use serde_json::{Value, json};

/// Everything that the description names is answered by a process with a gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_shows_what_it_goes_by_and_no_secret() {
    let site = Site::all_in_one();
    let admin = format!("http://{}:9901", site.host);
    let document = get(&format!("{admin}/openapi.json"), None).await.json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_uppercase().parse().expect("method");
            let answer = send(client().request(method, format!("{admin}{path}"))).await;
            let is_there = ![404, 405].contains(&answer.status);
            assert!(is_there, "{path}: {} {}", answer.status, answer.body);
        }
    }
    let shown = get(&format!("{admin}/config"), None).await;
    let config = &shown.json()["config"];
    assert_eq!(config["routes"][0]["match"], "/records");
    for user in config["token_service"]["users"].as_array().expect("users") {
        assert_eq!(user["password_hash"], "(redacted)");
    }
    let text = std::fs::read_to_string(site.path("config/all-in-one.yaml")).expect("file");
    for secret in text
        .split_whitespace()
        .filter(|word| word.starts_with("sha256:") || word.starts_with("$argon2id$"))
    {
        assert!(!shown.body.contains(secret), "{secret}");
    }
    let documented = std::fs::read_to_string(repository().join("docs/OBSERVING.md")).expect("docs");
    let metrics = get(&format!("{admin}/metrics"), None).await.body;
    for line in metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
    {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(
            documented.contains(&format!("`{name}`")),
            "docs/OBSERVING.md has no `{name}`"
        );
    }
    let routes = get(&format!("{admin}/routes"), None).await.json();
    assert_eq!(routes[0]["match"], "/records");
    let upstreams = get(&format!("{admin}/upstreams"), None).await.json();
    assert_eq!(upstreams[0]["name"], "records");
    assert_eq!(upstreams[0]["endpoints"][0]["is_up"], true);
    for path in [
        "/config",
        "/routes",
        "/upstreams",
        "/cache",
        "/log-level",
        "/readyz",
    ] {
        let answer = get(&format!("{admin}{path}"), None).await.json();
        let described = &document["paths"][path]["get"]["responses"]["200"]["content"];
        let misfits = misfits(&document, &described["application/json"]["schema"], &answer);
        assert!(misfits.is_empty(), "{path}: {misfits:?}");
    }
    // A page of the web that was led here by a name of its own sees none of it.
    for path in [
        "/config",
        "/routes",
        "/upstreams",
        "/log-level",
        "/openapi.json",
        "/nowhere",
    ] {
        let request = client()
            .get(format!("{admin}{path}"))
            .header("host", "attacker.test");
        assert_eq!(send(request).await.status, 421, "{path}");
    }
    let said = run(cedargate(), &["admin", "--admin", &admin, "routes"], &[]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said, routes);
}

/// Members that a schema does not describe, or wants and does not find.
fn misfits(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).expect(name);
        return misfits(document, schema, value);
    }
    match value {
        Value::Array(items) => {
            let of_items = |item| misfits(document, &schema["items"], item);
            items.iter().flat_map(of_items).collect()
        }
        Value::Object(members) if schema["additionalProperties"] == false => {
            let wanted = schema["required"].as_array().into_iter().flatten();
            let wanted = wanted.filter_map(Value::as_str);
            let missing = wanted.filter(|name| !members.contains_key(*name));
            let mut found: Vec<String> = missing.map(|name| format!("no `{name}`")).collect();
            for (name, member) in members {
                match schema["properties"].get(name) {
                    Some(schema) => found.extend(misfits(document, schema, member)),
                    None => found.push(format!("`{name}` is not described")),
                }
            }
            found
        }
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_shown_and_what_needs_a_restart_is_not() {
    let site = Site::all_in_one();
    let admin = format!("http://{}:9901", site.host);
    let file = site.path("config/all-in-one.yaml");
    let text = std::fs::read_to_string(&file).expect("file");
    let changed = text.replace("match: /whoami", "match: /who").replacen(
        "token_service:",
        "log: { level: warn }\ntoken_service:",
        1,
    );
    assert_ne!(text, changed);
    std::fs::write(&file, changed).expect("write");
    let reload = client().post(format!("{admin}/reload"));
    let answer = send(reload.header("content-type", "application/json")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let shown = get(&format!("{admin}/config"), None).await.json();
    let shown = shown["config"].to_string();
    assert!(
        shown.contains("\"/who\"") && !shown.contains("/whoami"),
        "{shown}"
    );
    assert!(!shown.contains("warn"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_more_for_a_while() {
    let mut site = Site::all_in_one();
    let admin = format!("http://{}:9901/log-level", site.host);
    let put = |body: Value| {
        let request = client()
            .put(&admin)
            .header("content-type", "application/json");
        send(request.body(body.to_string()))
    };
    let answer = put(json!({ "level": "debug", "for_secs": 2 })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["level"], "debug");
    site.pdp
        .await_output("the log was told to say more or less");
    site.pdp.await_output("the log is as configured again");
    let now = get(&admin, None).await.json();
    assert_eq!(now, json!({ "level": "info", "configured": "info" }));
    // Text that a page can send without asking is no change.
    let request = client().put(&admin).header("content-type", "text/plain");
    let answer = send(request.body("{\"level\":\"off\"}")).await;
    assert_eq!(answer.status, 415);
}
