//! The configuration file, read again by a process that serves: by its admin listener, and at SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::Site;
use e2e::http::{Answer, client, get, send};
use e2e::site::eventually;
use e2e::tokens;

const ROUTE: &str = "routes:\n  - { match: '/opened/{id}', methods: [GET], upstream: records, action: view_record, resource: 'Record/{id}' }\n";

/// What is written now is put in force by nobody, and why.
async fn refuses(site: &Site, said: &str) {
    let refused = reload(site).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let detail = refused.json()["detail"].to_string();
    assert!(detail.contains(said), "{detail}");
}

async fn reload(site: &Site) -> Answer {
    let url = format!("http://{}:9901/reload", site.host);
    send(
        client()
            .post(url)
            .header("content-type", "application/json"),
    )
    .await
}

/// Writes the file as it was at first, changed.
fn write(site: &Site, original: &str, change: impl Fn(String) -> String) {
    let file = site.path("config/all-in-one.yaml");
    std::fs::write(file, change(original.to_owned())).expect("write");
}

fn with_route(text: String) -> String {
    assert!(text.contains("routes:\n"));
    text.replacen("routes:\n", ROUTE, 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_put_in_force_while_requests_are_answered_or_nothing_of_it_is() {
    let site = Site::all_in_one();
    let original = std::fs::read_to_string(site.path("config/all-in-one.yaml")).expect("file");
    let alice = tokens::access_token(&site, "alice").await;
    let opened = site.gateway_url("/opened/x");
    assert_eq!(get(&opened, None).await.status, 404);

    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::task::spawn({
        let (stop, url, alice) = (
            stop.clone(),
            site.gateway_url("/records/1001"),
            alice.clone(),
        );
        async move {
            let (http, mut answered) = (client(), 0);
            while !stop.load(Ordering::SeqCst) {
                let answer = send(http.get(&url).bearer_auth(&alice)).await;
                assert_eq!(answer.status, 200, "{}", answer.body);
                answered += 1;
            }
            answered
        }
    });

    write(&site, &original, with_route);
    let reloaded = reload(&site).await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(reloaded.json()["needs_restart"], serde_json::json!([]));
    assert_eq!(get(&opened, None).await.status, 401);

    // Half a file, a wrong one, and one with which only a restart helps.
    for (change, said) in [
        (
            Box::new(|text: String| text[..text.len() / 2].to_owned())
                as Box<dyn Fn(String) -> String>,
            "all-in-one.yaml",
        ),
        (
            Box::new(|text: String| {
                with_route(text).replacen("upstream: records", "upstream: nobody", 1)
            }),
            "nobody",
        ),
        (
            Box::new(|text: String| with_route(text).replacen(":8080", ":8079", 1)),
            "`gateway.listen`",
        ),
    ] {
        write(&site, &original, change);
        refuses(&site, said).await;
        assert_eq!(get(&opened, None).await.status, 401, "as it was");
    }
    let ready = get(&format!("http://{}:9901/readyz", site.host), None).await;
    assert_eq!(ready.status, 200);
    assert!(ready.body.contains("configuration"), "{}", ready.body);

    // What is not the gateway's is told, and the rest is in force.
    write(&site, &original, |text| {
        text + "\ntracing: { otlp_endpoint: 'http://127.0.0.1:9' }\n"
    });
    site.pdp.signal("HUP");
    eventually("the route is gone", Duration::from_secs(10), || async {
        get(&opened, None).await.status == 404
    })
    .await;
    let told = reload(&site).await;
    assert_eq!(
        told.json()["needs_restart"],
        serde_json::json!(["tracing"]),
        "{}",
        told.body
    );

    stop.store(true, Ordering::SeqCst);
    assert!(load.await.expect("no request failed") > 20);
    let metrics = get(&format!("http://{}:9901/metrics", site.host), None)
        .await
        .body;
    for line in [
        "config_reloads_total{result=\"applied\"} 3",
        "config_reloads_total{result=\"refused\"} 3",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_reload_nothing_and_a_decision_point_outlives_a_hangup() {
    let site = Site::split();
    let gateway = site.gateway_url("/records/1001");
    let admin = format!("http://{}", site.host);
    for request in [
        client().post(format!("{admin}:9901/reload")),
        client()
            .post(format!("{admin}:9901/reload"))
            .header("content-type", "application/json")
            .header("origin", "https://evil.example"),
    ] {
        let answer = send(request).await;
        assert!(
            [403, 404, 415].contains(&answer.status),
            "{}",
            answer.status
        );
    }
    site.pdp.signal("HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let alice = tokens::access_token(&site, "alice").await;
    assert_eq!(get(&gateway, Some(&alice)).await.status, 200);
}

/// The records of somebody who logs in for it; the status of the answer.
async fn status(site: &Site, path: &str, token: &str) -> u16 {
    get(&site.gateway_url(path), Some(token)).await.status
}

/// Without one of the demo's users.
fn without_user(text: &str, name: &str, next: &str) -> String {
    let at = |name: &str| {
        text.find(&format!("    - username: {name}\n"))
            .expect("user")
    };
    format!("{}{}", &text[..at(name)], &text[at(next)..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_routes_of_one_file_come_in_force_together_or_not_at_all() {
    let site = Site::all_in_one();
    let original = std::fs::read_to_string(site.path("config/all-in-one.yaml")).expect("file");
    let alice = tokens::access_token(&site, "alice").await;
    let bob = tokens::access_token(&site, "bob").await;
    let opened = site.gateway_url("/opened/x");
    let without_alice = |text: String| without_user(&text, "alice", "bob");

    // The token service's part is good and the gateway's is not, and the other way round.
    for (change, said) in [
        (
            Box::new(|text: String| {
                with_route(without_user(&text, "alice", "bob")).replacen(
                    "upstream: records",
                    "upstream: nobody",
                    1,
                )
            }) as Box<dyn Fn(String) -> String>,
            "nobody",
        ),
        (
            Box::new(|text: String| {
                with_route(without_user(&text, "alice", "bob")).replacen(
                    "username: sam",
                    "username: bob",
                    1,
                )
            }),
            "bob",
        ),
        (
            Box::new(|text: String| {
                let text = with_route(without_user(&text, "alice", "bob"));
                text.replacen("- id: gateway\n", "- id: another\n", 1)
            }),
            "`gateway`",
        ),
    ] {
        write(&site, &original, change);
        refuses(&site, said).await;
        assert_eq!(get(&opened, None).await.status, 404);
        assert_eq!(status(&site, "/records/1001", &alice).await, 200);
    }

    write(&site, &original, |text| with_route(without_alice(text)));
    let reloaded = reload(&site).await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(reloaded.json()["needs_restart"], serde_json::json!([]));
    assert_eq!(get(&opened, None).await.status, 401);
    assert_eq!(
        status(&site, "/records/1001", &alice).await,
        401,
        "no user any more"
    );
    assert_eq!(status(&site, "/records/1002", &bob).await, 200);

    // What stays as it was is said, and nothing else of the section.
    write(&site, &original, |text| {
        text.replacen(
            "token_service:\n",
            "token_service:\n  ttl: { jwt_secs: 30 }\n",
            1,
        )
    });
    let reloaded = reload(&site).await;
    assert_eq!(
        reloaded.json()["needs_restart"],
        serde_json::json!(["token_service.ttl"]),
        "{}",
        reloaded.body
    );
    let again = tokens::access_token(&site, "alice").await;
    assert_eq!(status(&site, "/records/1001", &again).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_service_by_itself_is_reloaded_and_gateways_hear_of_it() {
    let site = Site::split();
    let alice = tokens::access_token(&site, "alice").await;
    assert_eq!(status(&site, "/records/1001", &alice).await, 200);
    let file = site.path("config/token-service.yaml");
    let original = std::fs::read_to_string(&file).expect("file");
    std::fs::write(&file, without_user(&original, "alice", "bob")).expect("write");
    let service = site.token_service.as_ref().expect("it runs");
    service.signal("HUP");
    eventually("alice is nobody", Duration::from_secs(10), || async {
        status(&site, "/records/1001", &alice).await == 401
    })
    .await;
    let bob = tokens::access_token(&site, "bob").await;
    assert_eq!(status(&site, "/records/1002", &bob).await, 200);
}
