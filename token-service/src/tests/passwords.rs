//! Guessing passwords: nothing tells a wrong one from an unknown user, and there is an end to it.

use std::net::IpAddr;

use axum::body::Body;
use http::{Request, header};

use super::harness::{Answer, Browser, PASSWORD, World, authorize_uri, config, encode, from};

/// A login page that is open.
struct Page {
    browser: Browser,
    interaction: String,
    csrf: String,
}

impl Page {
    async fn open(world: &World) -> Self {
        let mut browser = Browser::default();
        let login = browser.get(world, &authorize_uri(&[])).await;
        Self {
            browser,
            interaction: login.field("interaction"),
            csrf: login.field("csrf"),
        }
    }

    async fn attempt(
        &self,
        world: &World,
        address: impl Into<IpAddr>,
        (username, password): (&str, &str),
    ) -> Answer {
        let form = [
            ("interaction", self.interaction.as_str()),
            ("csrf", self.csrf.as_str()),
            ("username", username),
            ("password", password),
        ];
        let request = Request::post("/login")
            .header(header::COOKIE, self.browser.cookie_header())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(encode(&form)))
            .unwrap();
        world.send(from(address, request)).await
    }
}

fn limited(login: &'static str) -> impl Fn(String) -> String {
    move |text| text.replacen("clients:", &format!("login: {{ {login} }}\nclients:"), 1)
}

const HERE: [u8; 4] = [192, 0, 2, 1];

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_alike_and_guessing_is_limited() {
    let world = World::new().await;
    let page = Page::open(&world).await;
    let attempt = async |username, password| page.attempt(&world, HERE, (username, password)).await;
    let wrong = attempt("alice", "guess").await;
    let unknown = attempt("nobody", "guess").await;
    assert_eq!(wrong.status, 403);
    assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
    for _ in 0..9 {
        assert_eq!(attempt("alice", "guess").await.status, 403);
    }
    // Now even the right one has to wait.
    let limited = attempt("ALICE", PASSWORD).await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header(header::RETRY_AFTER), "300");
    assert!(limited.body.contains("Too many attempts"));
    assert_eq!(attempt("bob", "guess").await.status, 403);
}

#[tokio::test]
async fn one_username_cannot_be_guessed_at_from_everywhere() {
    let world = World::with(config(limited("failures_per_username: 5, window_secs: 60"))).await;
    let page = Page::open(&world).await;
    for host in 1..=5 {
        let answer = page.attempt(&world, [192, 0, 2, host], ("alice", "guess"));
        assert_eq!(answer.await.status, 403);
    }
    let right = ("Alice", PASSWORD);
    let paused = page.attempt(&world, [198, 51, 100, 1], right).await;
    assert_eq!(paused.status, 429);
    assert_eq!(paused.header(header::RETRY_AFTER), "60");
    // Nobody else pays for it, and it ends.
    let bob = page.attempt(&world, HERE, ("bob", PASSWORD)).await;
    assert_eq!(bob.status, 303, "{}", bob.body);
    world.advance(61);
    let page = Page::open(&world).await;
    let again = page.attempt(&world, [198, 51, 100, 1], right).await;
    assert_eq!(again.status, 303, "{}", again.body);
}

#[tokio::test]
async fn attempts_at_the_same_time_are_no_way_round_the_limit() {
    let world = World::with(config(limited("failures_per_username: 5"))).await;
    let page = Page::open(&world).await;
    let attempts = (0..60).map(|host| page.attempt(&world, [192, 0, 2, host], ("alice", "guess")));
    let answers = futures_util::future::join_all(attempts).await;
    let verified = answers.iter().filter(|answer| answer.status == 403).count();
    // Four are under way when the fifth is counted.
    assert!((5..=9).contains(&verified), "{verified}");
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status.as_u16(), 403 | 429))
    );
}

#[tokio::test]
async fn one_address_cannot_guess_at_everybody() {
    let world = World::with(config(limited("failures_per_address: 5"))).await;
    let page = Page::open(&world).await;
    for (n, username) in ["alice", "bob", "carol", "dave", "erin"].iter().enumerate() {
        // Right ones are not counted: the address may be that of many people.
        if n < 3 {
            let right = page.attempt(&world, HERE, ("alice", PASSWORD)).await;
            assert!(right.status != 429, "{}", right.body);
        }
        let answer = page.attempt(&world, HERE, (username, "Summer2026")).await;
        assert_eq!(answer.status, 403, "{username}");
    }
    let page = Page::open(&world).await;
    let paused = page.attempt(&world, HERE, ("frank", "Summer2026")).await;
    assert_eq!(paused.status, 429);
    let elsewhere = page.attempt(&world, [192, 0, 2, 2], ("alice", PASSWORD));
    assert_eq!(elsewhere.await.status, 303);
}
