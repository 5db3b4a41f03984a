//! Sessions end: by the person, and by the provider's word, at every gateway at once.

use serde_json::json;

use super::browser::{Browser, location, parameter, set_cookies};
use super::{NOW, Site, assert_refused};
use crate::fixture::{Answer, Fixture, eventually};

const OWN: &str =
    "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nOrigin: https://app.test\r\n";

async fn is_live(browser: &Browser, gateway: &Fixture) -> bool {
    browser.at(gateway).fetch("GET /app/1").await.status() == 200
}

/// At both gateways, within what it takes to hear of it.
async fn assert_ended(browser: &Browser, gateways: &[&Fixture]) {
    for gateway in gateways {
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(2);
        while is_live(browser, gateway).await {
            assert!(tokio::time::Instant::now() < end, "it is still good");
        }
        let answer = browser.at(gateway).fetch("GET /app/1").await;
        assert_refused(&answer, 401, "session_ended");
        let again = browser.at(gateway).get("/app/1").await;
        let set = set_cookies(&again);
        let is_cleared = |it: &String| it.starts_with("__Host-cedargate-web=; ");
        assert_eq!(again.status(), 303, "{}", again.0);
        assert!(set.iter().any(is_cleared), "{set:?}");
    }
}

#[tokio::test]
async fn whoever_logs_out_is_out_everywhere_and_at_the_provider() {
    let site = Site::start().await;
    let two = site.second().await;
    let mut browser = site.logged_in().await;
    assert!(is_live(&browser, &site.one).await && is_live(&browser, &two).await);
    let before = browser.clone();
    let page = browser.get("/.cedargate/web/logout").await;
    assert_eq!(page.status(), 200);
    assert!(page.body().contains("<form method=\"post\">"), "{}", page.0);
    assert!(
        is_live(&browser, &site.one).await,
        "a link alone does nothing"
    );
    let answer = browser
        .send("POST /.cedargate/web/logout", OWN, "logout=")
        .await;
    let url = location(&answer);
    assert!(
        url.as_str()
            .starts_with(&format!("{}/logout?", site.provider.issuer()))
    );
    assert_eq!(parameter(&url, "client_id").as_deref(), Some("gw"));
    let after = "https://app.test/.cedargate/web/logged-out";
    assert_eq!(
        parameter(&url, "post_logout_redirect_uri").as_deref(),
        Some(after)
    );
    assert_eq!(
        parameter(&url, "id_token_hint").unwrap().split('.').count(),
        3
    );
    assert_eq!(browser.session(), None);
    assert_ended(&before, &[&site.one, &two]).await;
    let end = browser.get("/.cedargate/web/logged-out").await;
    assert!(end.body().contains("You are signed out"), "{}", end.0);
    // Nothing is left, and nobody minds.
    let again = before
        .clone()
        .send("POST /.cedargate/web/logout", OWN, "")
        .await;
    assert_eq!(again.status(), 303);
}

#[tokio::test]
async fn another_sites_page_logs_nobody_out() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    for fields in [
        "",
        "Origin: https://evil.test\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nOrigin: null\r\n",
        "Sec-Fetch-Site: same-site\r\nOrigin: https://x.app.test\r\n",
    ] {
        let answer = browser
            .send("POST /.cedargate/web/logout", fields, "")
            .await;
        assert_refused(&answer, 403, "cross_site");
    }
    assert!(is_live(&browser, &site.one).await);
}

#[tokio::test]
async fn logging_out_can_end_here_and_lead_elsewhere() {
    let more = ", logout_at_provider: false, post_logout_redirect_uri: 'https://www.example/bye'";
    let site = Site::start_with(more).await;
    let mut browser = site.logged_in().await;
    let answer = browser.send("POST /.cedargate/web/logout", OWN, "").await;
    assert_eq!(answer.header("location"), Some("https://www.example/bye"));
}

async fn say(gateway: &Fixture, token: &str) -> Answer {
    let body = format!("logout_token={token}");
    let mut nobody = Browser::new(gateway);
    // Behind the browser's back, by whatever name.
    nobody.host = "gateway.internal".into();
    let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
    let line = "POST /.cedargate/web/backchannel-logout";
    nobody.send(line, fields, &body).await
}

#[tokio::test]
async fn what_the_provider_ends_is_ended_at_every_gateway() {
    let site = Site::start().await;
    let two = site.second().await;
    for (sid, sub, farewell) in [
        ("s2", "bob", [("sid", json!("s2")), ("sub", json!("bob"))]),
        ("s3", "bob", [("sid", json!("s3")), ("sub", json!(null))]),
        (
            "s4",
            "carol",
            [("sid", json!(null)), ("sub", json!("carol"))],
        ),
    ] {
        let one = site.logged_in().await;
        site.provider
            .lie(&[("sid", json!(sid)), ("sub", json!(sub))]);
        let other = site.logged_in().await;
        site.provider.lie(&[]);
        for gateway in [&site.one, &two] {
            assert!(is_live(&one, gateway).await && is_live(&other, gateway).await);
        }
        let answer = say(&site.one, &site.provider.farewell(&farewell)).await;
        assert_eq!(answer.status(), 200, "{}", answer.0);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_ended(&other, &[&site.one, &two]).await;
        assert!(is_live(&one, &site.one).await && is_live(&one, &two).await);
    }
}

#[tokio::test]
async fn whoever_logs_in_after_a_farewell_stays() {
    let site = Site::start().await;
    let browser = site.logged_in().await;
    let token = site
        .provider
        .farewell(&[("sid", json!(null)), ("sub", json!("alice"))]);
    assert_eq!(say(&site.one, &token).await.status(), 200);
    assert_ended(&browser, &[&site.one]).await;
    site.clock.advance(std::time::Duration::from_secs(5));
    site.provider.lie(&[("iat", json!(NOW + 3))]);
    let after = site.logged_in().await;
    assert!(is_live(&after, &site.one).await);
    // An older farewell that comes late changes nothing of that, and revives nobody.
    let changes = [
        ("sid", json!(null)),
        ("sub", json!("alice")),
        ("iat", json!(NOW - 2)),
    ];
    assert_eq!(
        say(&site.one, &site.provider.farewell(&changes))
            .await
            .status(),
        200
    );
    let heard = || site.one.metric("pep_events_total") >= 2.0;
    eventually("the farewell is heard", heard).await;
    assert!(is_live(&after, &site.one).await);
    assert!(!is_live(&browser, &site.one).await);
}

#[tokio::test]
async fn a_farewell_that_does_not_hold_ends_nothing() {
    let site = Site::start().await;
    let browser = site.logged_in().await;
    assert!(is_live(&browser, &site.one).await);
    let event = "http://schemas.openid.net/event/backchannel-logout";
    for change in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("other")),
        ("aud", json!(null)),
        ("iat", json!(null)),
        ("iat", json!(NOW - 301)),
        ("iat", json!(NOW + 61)),
        ("exp", json!(NOW)),
        ("jti", json!(null)),
        ("jti", json!("")),
        ("events", json!(null)),
        ("events", json!({})),
        ("events", json!({ event: null })),
        ("nonce", json!("n")),
        ("sid", json!(null)),
    ] {
        let token = site.provider.farewell(std::slice::from_ref(&change));
        let answer = say(&site.one, &token).await;
        assert_eq!(answer.status(), 400, "{change:?}: {}", answer.0);
        assert!(answer.body().contains("logout-token"), "{}", answer.0);
    }
    let good = site.provider.farewell(&[]);
    let forged = crate::signer::Signer::new("p1").sign(r#"{"alg":"ES256","kid":"p1"}"#, &{
        let claims = good.split('.').nth(1).unwrap().to_owned();
        let bytes = base64_decode(&claims);
        String::from_utf8(bytes).unwrap()
    });
    for token in [
        &*forged,
        "",
        "x",
        "a.b.c",
        &format!("{good}&logout_token={good}"),
    ] {
        assert_eq!(say(&site.one, token).await.status(), 400, "{token:.20}");
    }
    assert!(is_live(&browser, &site.one).await);
    // Good once, wherever it comes.
    let two = site.second().await;
    assert_eq!(say(&site.one, &good).await.status(), 200);
    assert_eq!(say(&site.one, &good).await.status(), 400);
    assert_eq!(say(&two, &good).await.status(), 400);
    assert_ended(&browser, &[&site.one, &two]).await;
}

fn base64_decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap()
}
