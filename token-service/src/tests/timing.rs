//! How long a refusal takes does not tell which part was wrong: a user or the password, the end of a token
//! or all of it.

use std::time::Duration;

use tokio::time::Instant;

use super::harness::{Answer, Browser, World, authorize_uri, config};

/// Turns of each kind. They alternate, so that whatever slows the machine down slows both down.
pub(super) const TURNS: usize = 300;
/// A tenth of them were not disturbed; that is where the kinds are compared.
const QUIET: usize = TURNS / 10;

pub(super) async fn took(run: impl Future<Output = Answer>, status: u16) -> Duration {
    let started = Instant::now();
    let answer = run.await;
    let took = started.elapsed();
    assert_eq!(answer.status, status, "{}", answer.body);
    took
}

/// The two must be as one, but for `most` times.
#[track_caller]
pub(super) fn assert_alike(what: &str, [mut first, mut second]: [Vec<Duration>; 2], most: f64) {
    first.sort();
    second.sort();
    let (first, second) = (first[QUIET], second[QUIET]);
    let ratio = first.max(second).as_secs_f64() / first.min(second).as_secs_f64();
    assert!(ratio < most, "{what}: {first:?} and {second:?}");
}

#[tokio::test]
async fn a_user_who_is_not_there_takes_as_long_as_a_wrong_password() {
    let world = World::with(config(|text| {
        let endless = "attempts: 10000, failures_per_username: 10000, failures_per_address: 10000";
        text.replacen("clients:", &format!("login: {{ {endless} }}\nclients:"), 1)
    }))
    .await;
    let mut browser = Browser::default();
    let page = browser.get(&world, &authorize_uri(&[])).await;
    let (interaction, csrf) = (page.field("interaction"), page.field("csrf"));
    let mut refused = async |username: &str| {
        let form = [
            ("interaction", interaction.as_str()),
            ("csrf", csrf.as_str()),
            ("username", username),
            ("password", "guess"),
        ];
        took(browser.post(&world, "/login", &form), 403).await
    };
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        took[0].push(refused("alice").await);
        took[1].push(refused("alise").await);
    }
    assert_alike("a user and nobody", took, 1.3);
}

/// Tokens are looked up by a keyed hash of the whole text: being nearly right is worth nothing.
#[tokio::test]
async fn a_token_that_begins_like_a_real_one_takes_as_long_as_any_other() {
    let world = World::new().await;
    let tokens = world.tokens("openid orders:read").await;
    let real = tokens["access_token"].as_str().unwrap();
    let (almost_all, _) = real.split_at(real.len() - 12);
    let (kind, _) = real.split_at("cg_at_".len());
    // With its checksum, without which nothing is looked up.
    let whole = |start: &str, turn: usize| {
        let body = format!(
            "{start}{turn:0>width$}",
            width = real.len() - 6 - start.len()
        );
        let digest = service_kit::digest::sha256_base64url(body.as_bytes());
        let (checksum, _) = digest.split_at(6);
        format!("{body}{checksum}")
    };
    let mut each = [Vec::new(), Vec::new()];
    for turn in 0..TURNS {
        for (each, start) in each.iter_mut().zip([almost_all, kind]) {
            let guess = whole(start, turn);
            assert_eq!(guess.len(), real.len());
            each.push(took(world.introspect("gw_orders", &guess), 200).await);
        }
    }
    assert!(world.is_active(real).await);
    assert_alike("a near guess and a wild one", each, 1.3);
}
