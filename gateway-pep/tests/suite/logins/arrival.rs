//! From the first request to the session: the request at the provider, what comes back, and what does not
//! count.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::browser::{Browser, NAVIGATION, location, parameter, set_cookies};
use super::{NOW, ORIGIN, Site, assert_refused};

#[tokio::test]
async fn a_browser_logs_in_and_its_requests_are_as_any_other() {
    let site =
        Site::start_with(", resource: 'https://a', authorization_parameters: { ui: dark }").await;
    let mut browser = Browser::new(&site.one);
    let sent = browser.get("/app/1001?x=1&y=%20").await;
    let url = location(&sent);
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", "gw"),
        ("scope", "openid read"),
        ("code_challenge_method", "S256"),
        ("redirect_uri", "https://app.test/.cedargate/web/callback"),
        ("resource", "https://a"),
        ("ui", "dark"),
    ] {
        assert_eq!(parameter(&url, name).as_deref(), Some(expected), "{url}");
    }
    assert_eq!(sent.header("cache-control"), Some("no-store"));
    let [cookie] = &set_cookies(&sent)[..] else {
        panic!("{}", sent.0)
    };
    assert!(
        cookie.starts_with("__Host-cedargate-web-login-"),
        "{cookie}"
    );
    assert!(
        cookie.ends_with("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure"),
        "{cookie}"
    );
    assert_eq!(site.one.tokens.count() + site.one.pdp.count(), 0);

    let back = site.provider.approve(&url);
    let arrived = browser.get(&back).await;
    assert_eq!(arrived.header("location"), Some("/app/1001?x=1&y=%20"));
    let set = set_cookies(&arrived);
    let session = set
        .iter()
        .find(|it| it.starts_with("__Host-cedargate-web="));
    let session = session.unwrap();
    assert!(
        session.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{session}"
    );
    assert!(browser.pending().is_empty());
    assert_eq!(site.provider.form.lock().unwrap()["resource"], "https://a");

    browser.cookies.insert("theme".into(), "dark".into());
    let answer = browser.get("/app/1001?x=1").await;
    assert_eq!(answer.status(), 200, "{}", answer.0);
    assert_eq!(answer.header("cache-control"), Some("private"));
    let seen = site.one.upstream.last();
    assert_eq!(seen.headers["authorization"], "Bearer jwt.alice.signature");
    assert_eq!(seen.headers["cookie"], "theme=dark");
    assert_eq!(site.one.pdp.last().subject.id, "alice");
    // A script, and what changes something.
    for line in ["GET /app/1001", "POST /app/1001", "DELETE /app/1001"] {
        assert_eq!(browser.fetch(line).await.status(), 200, "{line}");
    }
    assert_eq!(site.one.tokens.count(), 1, "it is remembered");
}

#[tokio::test]
async fn only_a_page_that_somebody_asks_for_is_sent_to_log_in() {
    let site = Site::start().await;
    let mut browser = Browser::new(&site.one);
    for (line, fields) in [
        ("GET /app/1", NAVIGATION),
        ("HEAD /app/1", NAVIGATION),
        (
            "GET /app/1",
            "Accept: text/html,application/xhtml+xml;q=0.9\r\n",
        ),
    ] {
        let answer = browser.send(line, fields, "").await;
        assert_eq!(answer.status(), 303, "{line} {fields}");
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let upgrade = format!("{NAVIGATION}{upgrade}");
    for (line, fields) in [
        ("GET /app/1", ""),
        ("GET /app/1", "Accept: */*\r\n"),
        ("GET /app/1", "Accept: application/json\r\n"),
        (
            "GET /app/1",
            "Sec-Fetch-Mode: cors\r\nAccept: text/html\r\n",
        ),
        ("GET /app/1", "Sec-Fetch-Mode: no-cors\r\n"),
        (
            "GET /app/1",
            "Sec-Fetch-Mode: navigate\r\nSec-Purpose: prefetch\r\n",
        ),
        ("POST /app/1", NAVIGATION),
        ("OPTIONS /app/1", NAVIGATION),
        ("GET /app-ws", &upgrade),
    ] {
        let answer = browser.send(line, fields, "").await;
        assert_refused(&answer, 401, "no_credentials");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm"), "{challenge}");
        assert_eq!(answer.header("location"), None);
    }
    assert!(site.one.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_token_counts_beside_logins_and_never_beside_a_session() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    let bearer = "Authorization: Bearer at_bob\r\n";
    let answer = browser.send("GET /app/1", bearer, "").await;
    assert_refused(&answer, 400, "two_credentials");
    let basic = format!("{NAVIGATION}Authorization: Basic YTpi\r\n");
    let answer = browser.send("GET /app/1", &basic, "").await;
    assert_refused(&answer, 400, "two_credentials");
    let answer = browser.get("/app/1?access_token=at_bob").await;
    assert_refused(&answer, 400, "two_credentials");
    let mut twice = browser.clone();
    twice
        .cookies
        .insert(" __Host-cedargate-web".into(), "x".into());
    assert_refused(&twice.get("/app/1").await, 400, "two_credentials");
    let key = format!("{NAVIGATION}X-API-Key: at_bob\r\n");
    let answer = browser.send("GET /app/1", &key, "").await;
    assert_refused(&answer, 400, "two_credentials");
    browser.cookies.clear();
    let answer = browser.send("GET /app/1", &key, "").await;
    assert_eq!(answer.status(), 200, "the key of a program: {}", answer.0);
    let answer = browser.send("GET /app/1", bearer, "").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(site.one.pdp.last().subject.id, "bob");
    let bad = format!("{NAVIGATION}Authorization: Bearer unknown\r\n");
    let answer = browser.send("GET /app/1", &bad, "").await;
    assert_refused(&answer, 401, "invalid_token");
}

#[tokio::test]
async fn several_tabs_log_in_at_once_and_no_more_than_fit() {
    let site = Site::start().await;
    let mut browser = Browser::new(&site.one);
    let mut urls = Vec::new();
    for tab in 0..12 {
        urls.push(location(&browser.get(&format!("/app/{tab}")).await));
        site.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(browser.pending().len(), 8, "the oldest have given way");
    for (tab, url) in urls.iter().enumerate().rev() {
        let back = site.provider.approve(url);
        let answer = browser.get(&back).await;
        if tab >= 4 {
            assert_eq!(answer.header("location"), Some(&*format!("/app/{tab}")));
        } else {
            assert_eq!(answer.status(), 400, "{}", answer.0);
        }
    }
    assert!(browser.pending().is_empty());
    assert_eq!(browser.get("/app/1").await.status(), 200);
}

#[tokio::test]
async fn who_comes_back_is_who_was_sent_once_and_in_time() {
    let site = Site::start().await;
    let mut browser = Browser::new(&site.one);
    let mut sent = async || {
        let sent = location(&browser.get("/app/1").await);
        (browser.clone(), site.provider.approve(&sent))
    };
    let unknown = |answer: &crate::fixture::Answer| {
        assert_eq!(answer.status(), 400, "{}", answer.0);
        assert!(answer.body().contains("begun in another browser"));
        let session = set_cookies(answer);
        assert!(
            !session
                .iter()
                .any(|it| it.starts_with("__Host-cedargate-web="))
        );
    };
    // Another browser: a login is forced on nobody.
    let (mut own, back) = sent().await;
    let mut other = Browser::new(&site.one);
    unknown(&other.get(&back).await);
    // The cookie of another login of the same browser.
    let (another, _) = sent().await;
    let mut mixed = Browser::new(&site.one);
    let (of_own, of_another) = (own.pending()[0].clone(), another.pending());
    let name = of_another
        .into_iter()
        .find(|name| **name != of_own)
        .unwrap();
    mixed
        .cookies
        .insert(of_own.clone(), another.cookies[name].clone());
    unknown(&mixed.get(&back).await);
    // Another login of the configuration, another origin, another state.
    unknown(&own.clone().get(&back.replace("/web/", "/other/")).await);
    let mut elsewhere = own.clone();
    elsewhere.host = "b.test".into();
    unknown(&elsewhere.get(&back).await);
    elsewhere.host = "evil.test".into();
    unknown(&elsewhere.get(&back).await);
    unknown(&own.clone().get(&back.replace("state=", "state=x")).await);
    unknown(&own.clone().get(&format!("{back}&state=x")).await);
    unknown(&own.clone().get("/.cedargate/web/callback").await);
    assert_eq!(site.provider.redeemed.load(Ordering::SeqCst), 0);
    // None of that has used it up. Once it is used, it is.
    let mut again = own.clone();
    assert_eq!(own.get(&back).await.status(), 303);
    unknown(&again.get(&back).await);
    let (mut late, back) = sent().await;
    site.clock.advance(Duration::from_mins(15));
    unknown(&late.get(&back).await);
}

async fn check(site: &Site, status: u16, says: &str) {
    let mut browser = Browser::new(&site.one);
    let answer = browser.log_in(&site.provider, "/app/1").await;
    assert_eq!(answer.status(), status, "{}", answer.0);
    assert!(answer.body().contains(says), "{}", answer.0);
    assert_eq!(browser.session(), None);
    assert!(browser.pending().is_empty(), "it is over");
}

#[tokio::test]
async fn what_a_provider_says_counts_only_as_a_whole() {
    let site = Site::start().await;
    let provider = &site.provider;
    for lie in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("other")),
        ("aud", json!(["gw", "other"])),
        ("azp", json!("other")),
        ("exp", json!(NOW)),
        ("exp", json!(null)),
        ("iat", json!(NOW + 3600)),
        ("nonce", json!("other")),
        ("nonce", json!(null)),
        ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ("sub", json!("")),
        ("sub", json!(null)),
        ("auth_time", json!(NOW + 3600)),
    ] {
        eprintln!("{lie:?}");
        provider.lie(&[lie]);
        check(&site, 502, "cannot be used").await;
    }
    provider.lie(&[]);
    let none = format!(
        "{}.{}.",
        crate::holder::base64(r#"{"alg":"none"}"#),
        crate::holder::base64("{}")
    );
    for gift in [
        ("id_token", json!(null)),
        ("id_token", json!(none)),
        ("id_token", json!(site.provider.farewell(&[]))),
        ("access_token", json!("a b")),
        ("access_token", json!("")),
    ] {
        eprintln!("{gift:?}");
        provider.give(&[gift]);
        check(&site, 502, "cannot be used").await;
    }
    provider.give(&[]);
}

#[tokio::test]
async fn what_comes_back_instead_of_a_code_is_told_and_logs_nobody_in() {
    let site = Site::start().await;
    let provider = &site.provider;
    let answering = |name: &'static str, value: Option<&str>| {
        let mut answers = provider.answers.lock().unwrap();
        answers.clear();
        answers.insert(name, value.map(str::to_owned));
    };
    answering("iss", None);
    check(&site, 502, "cannot be used").await;
    answering("iss", Some("https://evil.example"));
    check(&site, 502, "cannot be used").await;
    answering("code", None);
    check(&site, 502, "cannot be used").await;
    answering("code", Some("unknown"));
    check(&site, 403, "did not sign you in").await;
    let kept = site.store.scan("gateway-", None, 100).await.unwrap();
    assert_eq!(
        kept.entries,
        [],
        "nobody has logged in, and nothing is kept"
    );
    answering("error", Some("access_denied"));
    check(&site, 403, "did not sign you in").await;
    answering("error", Some("temporarily_unavailable"));
    check(&site, 503, "does not answer").await;
    answering("error", Some("<script>alert(1)</script>"));
    check(&site, 502, "cannot be used").await;
    answering("error_description", None);
    let mut browser = Browser::new(&site.one);
    assert_eq!(browser.log_in(provider, "/app/1").await.status(), 303);
}

#[tokio::test]
async fn nothing_of_a_request_is_in_a_page() {
    let site = Site::start().await;
    let mut browser = Browser::new(&site.one);
    let evil = "%3Cscript%3Ealert(1)%3C/script%3E";
    let path =
        format!("/.cedargate/web/callback?error={evil}&error_description={evil}&state={evil}");
    let answer = browser.get(&path).await;
    assert_eq!(answer.status(), 400);
    assert!(!answer.0.contains("alert"), "{}", answer.0);
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_link_logs_in_and_leads_nowhere_but_back() {
    let site = Site::start().await;
    let mut browser = Browser::new(&site.one);
    for (query, expected) in [
        ("", "/"),
        ("?return_to=%2Fpublic%2Fpage%3Fa%3Db", "/public/page?a=b"),
        ("?return_to=%2F%2Fevil.test", "/"),
        ("?return_to=/%5Cevil.test", "/"),
        ("?return_to=https://evil.test", "/"),
        ("?rd=/public", "/"),
    ] {
        let sent = browser.get(&format!("/.cedargate/web/login{query}")).await;
        let url = location(&sent);
        assert!(!url.as_str().contains("evil"), "{url}");
        let answer = browser.get(&site.provider.approve(&url)).await;
        assert_eq!(answer.header("location"), Some(expected), "{query}");
    }
}

#[tokio::test]
async fn where_browsers_come_back_to_is_the_configurations_to_say() {
    let site = Site::start().await;
    let mut browser = Browser::new(&site.one);
    for poison in [
        "X-Forwarded-Host: evil.test\r\n",
        "Forwarded: host=evil.test\r\n",
        "X-Forwarded-Proto: http\r\n",
        "X-Forwarded-Prefix: /evil\r\n",
    ] {
        let fields = format!("{NAVIGATION}{poison}");
        let url = location(&browser.send("GET /app/1", &fields, "").await);
        let redirect_uri = parameter(&url, "redirect_uri").unwrap();
        assert_eq!(redirect_uri, format!("{ORIGIN}/.cedargate/web/callback"));
    }
    browser.host = "b.test:443".into();
    let url = location(&browser.get("/app/1").await);
    let redirect_uri = parameter(&url, "redirect_uri").unwrap();
    assert!(
        redirect_uri.starts_with("https://b.test/"),
        "{redirect_uri}"
    );
    for unknown in ["evil.test", "app.test:8080", "app.test.evil.test"] {
        browser.host = unknown.into();
        assert_refused(&browser.get("/app/1").await, 401, "no_credentials");
    }
}

#[tokio::test]
async fn a_login_that_is_too_weak_is_done_again_but_not_for_ever() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    site.one.tokens.log_in("alice", Some("pwd"), Some(NOW));
    site.one
        .announce_and_wait(json!({"kind": "registry_changed"}))
        .await;
    assert_refused(
        &browser.get("/strong").await,
        401,
        "insufficient_user_authentication",
    );
    site.clock.advance(Duration::from_secs(31));
    let url = location(&browser.get("/strong").await);
    assert_eq!(parameter(&url, "acr_values").as_deref(), Some("phr"));
    assert_eq!(parameter(&url, "max_age").as_deref(), Some("60"));
    assert!(browser.session().is_some(), "the session stays meanwhile");
    let answer = browser.fetch("GET /strong").await;
    assert_refused(&answer, 401, "insufficient_user_authentication");
    site.one.tokens.log_in("alice", Some("phr"), Some(NOW + 31));
    site.one
        .announce_and_wait(json!({"kind": "registry_changed"}))
        .await;
    assert_eq!(
        browser.get(&site.provider.approve(&url)).await.status(),
        303
    );
    assert_eq!(browser.get("/strong").await.status(), 200);
}
