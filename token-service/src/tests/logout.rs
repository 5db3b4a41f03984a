//! Logout: a login ends where its client or its person says so, and with it what it has led to.

mod browsers;
mod farewells;
mod many;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::harness::{
    Answer, Browser, ISSUER, World, authorize_uri, config, encode, query, refresh_form, verified,
};

const AFTER: &str = "https://app.example/bye";

/// A client that is told: what came, and how it answers.
#[derive(Debug, Clone)]
struct Told {
    bodies: Arc<Mutex<Vec<String>>>,
    status: StatusCode,
}

impl Told {
    async fn listen(status: StatusCode) -> (Self, SocketAddr) {
        let told = Self {
            bodies: Arc::default(),
            status,
        };
        let router = Router::new()
            .route("/bye", post(take))
            .with_state(told.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (told, address)
    }

    async fn count(&self, wanted: usize) -> usize {
        for _ in 0..400 {
            if self.bodies.lock().unwrap().len() >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.bodies.lock().unwrap().len()
    }
}

async fn world(backchannel: &str) -> World {
    World::with(config(|text| {
        let web = format!(
            "{{ id: web, post_logout_redirect_uris: ['{AFTER}', 'https://app.example/bye?x=1'], {backchannel}"
        );
        text.replacen("{ id: web,", &web, 1)
    }))
    .await
}

async fn take(State(told): State<Told>, body: String) -> StatusCode {
    told.bodies.lock().unwrap().push(body);
    told.status
}

/// Alice logs in at `web`. The browser, and the tokens.
async fn logged_in(world: &World, scope: &str) -> (Browser, Value) {
    let mut browser = Browser::default();
    let uri = authorize_uri(&[("client_id", "web"), ("scope", scope)]);
    let code = query(&browser.walk(world, &uri, "alice").await)["code"].clone();
    let tokens = world.redeem("web", &code).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    (browser, tokens.json())
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap()
}

fn logout_uri(params: &[(&str, &str)]) -> String {
    format!("/logout?{}", encode(params))
}

/// Whether the browser has to log in again.
async fn is_logged_out(browser: &mut Browser, world: &World) -> bool {
    let uri = authorize_uri(&[("client_id", "web"), ("prompt", "none")]);
    let target = browser.get(world, &uri).await.location().to_owned();
    query(&target).get("error").map(String::as_str) == Some("login_required")
}

#[tokio::test]
async fn an_id_token_of_the_login_ends_it_and_what_it_has_led_to() {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let id_token = text(&tokens, "id_token");
    // Also when it has expired.
    world.advance(700);
    let uri = logout_uri(&[
        ("id_token_hint", id_token),
        ("post_logout_redirect_uri", AFTER),
        ("state", "a b"),
    ]);
    let answer = browser.get(&world, &uri).await;
    assert_eq!(
        (answer.status.as_u16(), answer.location()),
        (303, &*format!("{AFTER}?state=a+b"))
    );
    let cookie = answer
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .next()
        .unwrap();
    assert!(
        cookie.to_str().unwrap().ends_with("; Max-Age=0"),
        "{cookie:?}"
    );
    assert!(is_logged_out(&mut browser, &world).await);
    assert!(!world.is_active(text(&tokens, "access_token")).await);
    let refreshed = world
        .token("web", &refresh_form(text(&tokens, "refresh_token")))
        .await;
    refreshed.assert_error(400, "invalid_grant");
    // Again: there is nothing to end, and the application gets its browser back.
    let again = browser.get(&world, &uri).await;
    assert_eq!(again.location(), format!("{AFTER}?state=a+b"));
}

#[tokio::test]
async fn what_was_given_for_later_outlives_the_login() {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid offline_access orders:read").await;
    let uri = logout_uri(&[("id_token_hint", text(&tokens, "id_token"))]);
    let page = browser.get(&world, &uri).await;
    assert!(
        page.status == 200 && page.body.contains("You are signed out"),
        "{}",
        page.body
    );
    assert!(is_logged_out(&mut browser, &world).await);
    assert!(world.is_active(text(&tokens, "access_token")).await);
}

#[tokio::test]
async fn a_link_alone_logs_nobody_out() {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let (_, others) = logged_in(&world, "openid orders:read").await;
    let forged = format!("{}x", text(&tokens, "id_token"));
    let hints = [
        vec![],
        vec![("client_id", "web"), ("post_logout_redirect_uri", AFTER)],
        vec![("id_token_hint", text(&others, "id_token"))],
        vec![("id_token_hint", forged.as_str())],
        vec![("id_token_hint", text(&tokens, "access_token"))],
    ];
    for params in hints {
        let page = browser.get(&world, &logout_uri(&params)).await;
        assert_eq!(page.status, 200, "{params:?}");
        assert!(
            page.body.contains("Sign out?") && page.body.contains("alice"),
            "{}",
            page.body
        );
        assert!(!is_logged_out(&mut browser, &world).await, "{params:?}");
    }
    // The person says so, and goes where the client has registered.
    let params = [
        ("client_id", "web"),
        ("post_logout_redirect_uri", AFTER),
        ("state", "s"),
    ];
    let page = browser.get(&world, &logout_uri(&params)).await;
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(
        policy.contains("form-action 'self' https://app.example"),
        "{policy}"
    );
    let csrf = page.field("csrf");
    let with = |csrf: &str| -> Vec<(&str, String)> {
        let mut form: Vec<_> = params
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        form.push(("csrf", csrf.to_owned()));
        form
    };
    let send = async |browser: &mut Browser, csrf: &str| -> Answer {
        let form = with(csrf);
        let form: Vec<_> = form
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        browser.post(&world, "/logout", &form).await
    };
    let refused = send(&mut browser, "made up").await;
    assert_eq!(refused.status, 400);
    assert!(!is_logged_out(&mut browser, &world).await);
    let done = send(&mut browser, &csrf).await;
    assert_eq!(done.location(), format!("{AFTER}?state=s"));
    assert!(is_logged_out(&mut browser, &world).await);
}

#[tokio::test]
async fn nobody_is_sent_where_the_client_has_not_registered() {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let id_token = text(&tokens, "id_token");
    for params in [
        vec![("post_logout_redirect_uri", AFTER)],
        vec![("client_id", "other"), ("post_logout_redirect_uri", AFTER)],
        vec![("client_id", "nobody"), ("post_logout_redirect_uri", AFTER)],
        vec![
            ("id_token_hint", id_token),
            ("client_id", "other"),
            ("post_logout_redirect_uri", AFTER),
        ],
        vec![
            ("id_token_hint", id_token),
            ("post_logout_redirect_uri", "https://evil.example/"),
        ],
        vec![
            ("id_token_hint", id_token),
            ("post_logout_redirect_uri", "https://app.example/bye/"),
        ],
        vec![
            ("id_token_hint", id_token),
            ("post_logout_redirect_uri", "https://app.example/cb"),
        ],
    ] {
        for browser in [&mut browser, &mut Browser::default()] {
            let answer = browser.get(&world, &logout_uri(&params)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.location()),
                (400, ""),
                "{params:?}"
            );
        }
        assert!(!is_logged_out(&mut browser, &world).await);
    }
    // A query of its own is kept.
    let uri = logout_uri(&[
        ("id_token_hint", id_token),
        ("post_logout_redirect_uri", "https://app.example/bye?x=1"),
        ("state", "s"),
    ]);
    let answer = browser.get(&world, &uri).await;
    assert_eq!(answer.location(), "https://app.example/bye?x=1&state=s");
}

#[tokio::test]
async fn a_form_of_another_site_is_asked_again_with_the_cookies() {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let form = [
        ("id_token_hint", text(&tokens, "id_token")),
        ("post_logout_redirect_uri", AFTER),
    ];
    let answer = Browser::default().post(&world, "/logout", &form).await;
    assert_eq!(answer.status, 303);
    let again = answer.location().to_owned();
    assert!(again.starts_with("/logout?"), "{again}");
    // Nothing of the ID token is in a URL, which histories and logs keep.
    assert!(
        !again.contains(text(&tokens, "id_token")) && !again.contains("hint"),
        "{again}"
    );
    assert_eq!(browser.get(&world, &again).await.location(), AFTER);
    // Whoever finds the link in one of them gets nothing for it.
    assert_eq!(browser.get(&world, &again).await.status, 400);
}

#[tokio::test]
async fn a_form_of_another_site_is_kept_for_a_moment_and_only_with_an_id_token_of_ours() {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let form = [("id_token_hint", text(&tokens, "id_token"))];
    let answer = browser.post(&world, "/logout", &form).await;
    let late = answer.location().to_owned();
    world.advance(61);
    assert_eq!(browser.get(&world, &late).await.status, 400);
    for hint in ["x", "a.b.c"] {
        let form = [
            ("id_token_hint", hint),
            ("client_id", "web"),
            ("state", "s"),
        ];
        let answer = browser.post(&world, "/logout", &form).await;
        assert_eq!(
            answer.location(),
            "/logout?client_id=web&state=s&id_token_hint=unreadable"
        );
    }
    let guess = browser.get(&world, "/logout?logout_request=x").await;
    assert_eq!(guess.status, 400);
    // Still logged in: the person is asked.
    assert!(
        browser
            .get(&world, "/logout")
            .await
            .body
            .contains("Sign out?")
    );
}

#[tokio::test]
async fn a_code_that_is_under_way_when_its_login_ends_buys_nothing() {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let uri = authorize_uri(&[("client_id", "web"), ("scope", "openid orders:read")]);
    let code = query(&browser.walk(&world, &uri, "alice").await)["code"].clone();
    let uri = logout_uri(&[("id_token_hint", text(&tokens, "id_token"))]);
    assert_eq!(browser.get(&world, &uri).await.status, 200);
    world
        .redeem("web", &code)
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn every_client_of_the_login_is_told_by_a_token_that_is_for_nothing_else() {
    let (told, address) = Told::listen(StatusCode::OK).await;
    let world = world(&format!("backchannel_logout_uri: 'http://{address}/bye',")).await;
    let (mut browser, tokens) = logged_in(&world, "openid offline_access orders:read").await;
    let uri = logout_uri(&[("id_token_hint", text(&tokens, "id_token"))]);
    assert_eq!(browser.get(&world, &uri).await.status, 200);
    assert_eq!(told.count(1).await, 1);
    let body = told.bodies.lock().unwrap()[0].clone();
    let token = body.strip_prefix("logout_token=").unwrap();
    let claims = verified(&world, token, "logout+jwt", "web").await;
    let id_token = verified(&world, text(&tokens, "id_token"), "JWT", "web").await;
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!(ISSUER), &json!("alice"))
    );
    assert_eq!(claims["sid"], id_token["sid"]);
    let event = "http://schemas.openid.net/event/backchannel-logout";
    assert_eq!(claims["events"], json!({ event: {} }));
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        120
    );
    assert!(claims["jti"].is_string() && claims.get("nonce").is_none());
    // It is no hint, and no token.
    let uri = logout_uri(&[
        ("id_token_hint", token),
        ("post_logout_redirect_uri", AFTER),
    ]);
    let answer = browser.get(&world, &uri).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (200, ""));
    assert!(!world.is_active(token).await);
}

#[tokio::test]
async fn a_client_that_does_not_listen_is_told_again_and_holds_nobody_up() {
    let (told, address) = Told::listen(StatusCode::INTERNAL_SERVER_ERROR).await;
    let world = world(&format!("backchannel_logout_uri: 'http://{address}/bye',")).await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let uri = logout_uri(&[
        ("id_token_hint", text(&tokens, "id_token")),
        ("post_logout_redirect_uri", AFTER),
    ]);
    assert_eq!(browser.get(&world, &uri).await.location(), AFTER);
    assert_eq!(told.count(2).await, 2, "a second attempt after a second");
    // By another token: a client may refuse one that it has seen, though it could do nothing with it.
    let bodies = told.bodies.lock().unwrap().clone();
    let mut seen = BTreeSet::new();
    for body in bodies {
        let token = body.strip_prefix("logout_token=").unwrap();
        let claims = verified(&world, token, "logout+jwt", "web").await;
        assert!(seen.insert(claims["jti"].to_string()), "{claims}");
    }
}

#[tokio::test]
async fn an_outage_ends_nothing_by_half_and_can_be_sat_out() {
    let world = world("").await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    let uri = logout_uri(&[("id_token_hint", text(&tokens, "id_token"))]);
    world.store.set_read_only(true);
    let answer = browser.get(&world, &uri).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.get(header::SET_COOKIE).is_none());
    world.store.set_read_only(false);
    assert!(!is_logged_out(&mut browser, &world).await);
    assert_eq!(browser.get(&world, &uri).await.status, 200);
    assert!(!world.is_active(text(&tokens, "access_token")).await);
    assert!(is_logged_out(&mut browser, &world).await);
}

#[tokio::test]
async fn a_hint_of_a_key_that_is_gone_asks_the_person_and_sends_nobody_anywhere() {
    let world = world("").await;
    let (mut browser, _) = logged_in(&world, "openid orders:read").await;
    let params = [
        ("id_token_hint", "forged"),
        ("post_logout_redirect_uri", AFTER),
    ];
    let page = browser.get(&world, &logout_uri(&params)).await;
    assert!(
        page.status == 200 && page.body.contains("Sign out?"),
        "{}",
        page.body
    );
    let csrf = page.field("csrf");
    let form = [("csrf", csrf.as_str()), params[0], params[1]];
    let done = browser.post(&world, "/logout", &form).await;
    assert_eq!((done.status.as_u16(), done.location()), (200, ""));
    assert!(is_logged_out(&mut browser, &world).await);
}

#[tokio::test]
async fn an_id_token_says_whose_login_ends_as_long_as_a_login_lasts_whatever_keys_came_since() {
    let world = World::with(config(|text| {
        let web = format!("{{ id: web, post_logout_redirect_uris: ['{AFTER}'],");
        let keys = "keys: { rotate_secs: 7200, publish_ahead_secs: 3600 }";
        format!("{keys}\n{}", text.replacen("{ id: web,", &web, 1))
    }))
    .await;
    let (mut browser, tokens) = logged_in(&world, "openid orders:read").await;
    for _ in 0..7 {
        world.advance(3600);
        // As the background task does.
        world.service.reload_keys().await;
    }
    let uri = logout_uri(&[
        ("id_token_hint", text(&tokens, "id_token")),
        ("post_logout_redirect_uri", AFTER),
    ]);
    assert_eq!(browser.get(&world, &uri).await.location(), AFTER);
    assert!(is_logged_out(&mut browser, &world).await);
}
