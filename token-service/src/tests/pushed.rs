//! Pushed authorization requests (RFC 9126): what was pushed counts, once, for who pushed it.

use std::sync::Arc;

use http::header;

use super::harness::{
    Answer, Browser, CALLBACK, CHALLENGE, World, authorize_uri, config, encode, query,
};

/// An authorization request in order, as a form without its client.
pub(super) fn form<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let whole = [
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid orders:read"),
        ("state", "s"),
        ("nonce", "n-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let is_kept = |name: &str| changes.iter().all(|(changed, _)| *changed != name);
    let kept = whole.into_iter().filter(|(name, _)| is_kept(name));
    kept.chain(changes.iter().copied()).collect()
}

async fn push(world: &World, who: &str, changes: &[(&str, &str)]) -> Answer {
    world.post_as(who, "/par", &form(changes)).await
}

/// Where a browser goes with what was pushed.
pub(super) async fn pushed(world: &World, who: &str, changes: &[(&str, &str)]) -> String {
    let answer = push(world, who, changes).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    let answer = answer.json();
    assert_eq!(answer["expires_in"], 90);
    link(who, answer["request_uri"].as_str().unwrap(), &[])
}

fn link(who: &str, request_uri: &str, more: &[(&str, &str)]) -> String {
    let named = [("client_id", who), ("request_uri", request_uri)];
    let pairs: Vec<_> = named.into_iter().chain(more.iter().copied()).collect();
    format!("/authorize?{}", encode(&pairs))
}

/// Only the person at the browser is told, and nobody is sent anywhere.
#[track_caller]
fn assert_gone(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));
    assert!(
        answer.body.contains("used or is too old"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn what_was_pushed_counts_and_not_what_the_browser_adds() {
    let world = World::new().await;
    let uri = pushed(&world, "web", &[("scope", "orders:read")]).await;
    assert!(uri.contains("urn%3Aietf%3Aparams%3Aoauth%3Arequest_uri%3Acg_pr_"));
    let more = [
        ("scope", "orders:write billing:read"),
        ("redirect_uri", "https://app.example/other"),
        ("state", "other"),
        ("prompt", "none"),
    ];
    let target = Browser::default()
        .walk(&world, &format!("{uri}&{}", encode(&more)), "alice")
        .await;
    assert!(target.starts_with(&format!("{CALLBACK}?")), "{target}");
    let params = query(&target);
    assert_eq!(params["state"], "s");
    let tokens = world.redeem("web", &params["code"]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    assert_eq!(tokens.json()["scope"], "orders:read");
}

#[tokio::test]
async fn a_pushed_request_is_used_once_in_time_and_by_its_own_client() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let uri = pushed(&world, "web", &[]).await;
    // Somebody else's name for it neither works nor uses it up.
    for other in ["other", "nobody", ""] {
        let stolen = uri.replace("client_id=web", &format!("client_id={other}"));
        assert_gone(&browser.get(&world, &stolen).await);
    }
    assert_eq!(browser.get(&world, &uri).await.status, 200);
    assert_gone(&browser.get(&world, &uri).await);

    let late = pushed(&world, "web", &[]).await;
    world.advance(89);
    let in_time = pushed(&world, "web", &[]).await;
    world.advance(1);
    assert_gone(&browser.get(&world, &late).await);
    assert_eq!(browser.get(&world, &in_time).await.status, 200);

    for odd in ["cg_pr_", "x", "", "../cg_pr_x"] {
        let uri = link(
            "web",
            &format!("urn:ietf:params:oauth:request_uri:{odd}"),
            &[],
        );
        assert_gone(&browser.get(&world, &uri).await);
    }
    // What is somewhere else is never fetched.
    let uri = authorize_uri(&[("request_uri", "https://app.example/request.jwt")]);
    let answer = browser.get(&world, &uri).await;
    assert_eq!(
        query(answer.location())["error"],
        "request_uri_not_supported"
    );
}

#[tokio::test]
async fn what_would_be_refused_later_is_refused_when_it_is_pushed() {
    let world = World::new().await;
    for (changes, error) in [
        (
            &[("redirect_uri", "https://evil.example/cb")][..],
            "invalid_request",
        ),
        (&[("redirect_uri", "")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("scope", "admin")], "invalid_scope"),
        (&[("resource", "https://unknown.example")], "invalid_target"),
        (&[("request", "e30.e30.")], "request_not_supported"),
        (
            &[("request_uri", "urn:ietf:params:oauth:request_uri:x")],
            "invalid_request",
        ),
        (&[("client_id", "other")], "invalid_request"),
        (&[("client_secret", "web-secret")], "invalid_request"),
    ] {
        push(&world, "web", changes).await.assert_error(400, error);
    }
    push(&world, "svc", &[])
        .await
        .assert_error(400, "invalid_request");
    push(&world, "nobody", &[])
        .await
        .assert_error(401, "invalid_client");
    let twice = form(&[("state", "a"), ("state", "b")]);
    let twice = world.post_as("web", "/par", &twice).await;
    twice.assert_error(400, "invalid_request");
    let answer = world.get("/par").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header(header::ALLOW)),
        (405, "POST")
    );
}

#[tokio::test]
async fn a_public_client_names_itself_and_others_must_prove_who_they_are() {
    let world = World::new().await;
    let send = async |client: &'static str, uri: &'static str| {
        let form = form(&[("client_id", client), ("redirect_uri", uri)]);
        let request = http::Request::post("/par")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(encode(&form)))
            .unwrap();
        world.send(request).await
    };
    let native = send("native", "http://127.0.0.1:4711/cb").await;
    assert_eq!(native.status, 201, "{}", native.body);
    send("web", CALLBACK)
        .await
        .assert_error(401, "invalid_client");
}

#[tokio::test]
async fn a_client_may_be_made_to_push_and_so_may_all() {
    let one = "require_pushed_authorization_requests: true, id: web";
    let all = "require_pushed_authorization_requests: true\nclients:";
    for (is_all, (old, new)) in [(false, ("id: web", one)), (true, ("clients:", all))] {
        let world = World::with(config(|text| text.replacen(old, new, 1))).await;
        let mut browser = Browser::default();
        let answer = browser.get(&world, &authorize_uri(&[])).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert_eq!(query(answer.location())["error"], "invalid_request");
        let uri = pushed(&world, "web", &[]).await;
        assert_eq!(browser.get(&world, &uri).await.status, 200);
        let other = browser
            .get(&world, &authorize_uri(&[("client_id", "other")]))
            .await;
        assert_eq!(other.status, if is_all { 303 } else { 200 });
        let metadata = world.get("/.well-known/openid-configuration").await.json();
        assert_eq!(metadata["require_pushed_authorization_requests"], is_all);
        let endpoint = &metadata["pushed_authorization_request_endpoint"];
        assert_eq!(endpoint, "https://as.example/par");
    }
}

#[tokio::test]
async fn what_the_client_may_no_longer_do_is_refused_when_it_is_used() {
    let world = World::new().await;
    let uri = pushed(&world, "web", &[]).await;
    let disabled = config(|text| text.replacen("id: web", "disabled: true, id: web", 1));
    let later = world.restarted(disabled).await;
    let answer = Browser::default().get(&later, &uri).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));

    let uri = pushed(&world, "web", &[]).await;
    let moved = config(|text| text.replace(&format!("'{CALLBACK}', "), ""));
    let later = world.restarted(moved).await;
    let answer = Browser::default().get(&later, &uri).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));
}

#[tokio::test]
async fn without_a_store_nothing_is_taken_on() {
    let world = World::new().await;
    let uri = pushed(&world, "web", &[]).await;
    world.store.set_down(true);
    let answer = push(&world, "web", &[]).await;
    answer.assert_error(503, "temporarily_unavailable");
    assert_eq!(answer.header(header::RETRY_AFTER), "1");
    let page = Browser::default().get(&world, &uri).await;
    assert_eq!((page.status.as_u16(), page.location()), (503, ""));
    world.store.set_down(false);
    assert_eq!(Browser::default().get(&world, &uri).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_browsers_with_one_pushed_request_one_is_let_in() {
    let world = Arc::new(World::new().await);
    let uri = pushed(&world, "web", &[]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (world, uri) = (world.clone(), uri.clone());
        tasks.spawn(async move { Browser::default().get(&world, &uri).await });
    }
    let answers = tasks.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 49));
    lost.into_iter().for_each(assert_gone);
}
