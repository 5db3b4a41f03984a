//! Fifty at once: what is used once is used once. On one thread, where each read of the store lets the
//! others in: all fifty have read before the first one writes, in every run.

use std::sync::Arc;

use serde_json::Value;

use super::device;
use super::harness::{Answer, World, config, refresh_form};

async fn fifty<F>(world: &Arc<World>, what: impl Fn(Arc<World>) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        tasks.spawn(what(world.clone()));
    }
    tasks.join_all().await
}

fn winners(answers: &[Answer]) -> Vec<&Answer> {
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    for answer in lost {
        answer.assert_error(400, "invalid_grant");
    }
    won
}

#[tokio::test]
async fn of_fifty_redemptions_of_one_code_one_wins_and_its_family_dies() {
    let world = Arc::new(World::new().await);
    let code = world.code("web", "orders:read").await;
    let answers = fifty(&world, |world| {
        let code = code.clone();
        async move { world.redeem("web", &code).await }
    })
    .await;
    let won = winners(&answers);
    assert_eq!(won.len(), 1);
    let tokens = won[0].json();
    assert!(
        !world
            .is_active(tokens["access_token"].as_str().unwrap())
            .await
    );
    let rt = tokens["refresh_token"].as_str().unwrap();
    world
        .token("web", &refresh_form(rt))
        .await
        .assert_error(400, "invalid_grant");
}

/// Where answers are not repeated, whoever comes second has a copy.
#[tokio::test]
async fn of_fifty_uses_of_one_refresh_token_one_wins_and_its_family_dies() {
    let never = config(|text| format!("ttl: {{ refresh_retry_secs: 0 }}\n{text}"));
    let world = Arc::new(World::with(never).await);
    let (tokens, answers) = fifty_refreshes(&world).await;
    let won = winners(&answers);
    assert_eq!(won.len(), 1);
    for tokens in [won[0].json(), tokens] {
        let access = tokens["access_token"].as_str().unwrap();
        assert!(!world.is_active(access).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_uses_of_one_refresh_token_at_once_have_one_successor() {
    let world = Arc::new(World::new().await);
    let (_, answers) = fifty_refreshes(&world).await;
    let first = answers[0].json();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
        for name in ["access_token", "refresh_token"] {
            assert_eq!(answer.json()[name], first[name]);
        }
    }
    let access = first["access_token"].as_str().unwrap();
    assert!(world.is_active(access).await);
}

async fn fifty_refreshes(world: &Arc<World>) -> (Value, Vec<Answer>) {
    let tokens = world.tokens("orders:read").await;
    let rt = tokens["refresh_token"].as_str().unwrap().to_owned();
    let answers = fifty(world, |world| {
        let rt = rt.clone();
        async move { world.token("web", &refresh_form(&rt)).await }
    });
    (tokens, answers.await)
}

#[tokio::test]
async fn of_fifty_polls_with_one_device_code_one_wins_and_its_family_lives() {
    let world = Arc::new(device::world().await);
    let device = device::begin(&world, "orders:read").await;
    device::decide(&world, "alice", &device.user_code, "approve").await;
    let answers = fifty(&world, |world| {
        let device = device.clone();
        async move { device::poll(&world, "tv", &device).await }
    })
    .await;
    let won = winners(&answers);
    assert_eq!(won.len(), 1);
    let tokens = won[0].json();
    assert!(
        world
            .is_active(tokens["access_token"].as_str().unwrap())
            .await
    );
    let rt = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(world.token("tv", &refresh_form(rt)).await.status, 200);
}

#[tokio::test]
async fn of_fifty_polls_before_anybody_answered_one_was_not_too_fast() {
    let world = Arc::new(device::world().await);
    let device = device::begin(&world, "orders:read").await;
    // Also where there was a poll before, long ago.
    for _ in 0..2 {
        let answers = fifty(&world, |world| {
            let device = device.clone();
            async move { device::poll(&world, "tv", &device).await }
        })
        .await;
        let errors = answers.iter().map(|answer| answer.json()["error"].clone());
        let (patient, early): (Vec<_>, Vec<_>) =
            errors.partition(|error| error == "authorization_pending");
        assert_eq!(patient.len(), 1);
        assert!(early.iter().all(|error| error == "slow_down"), "{early:?}");
        world.advance(60);
    }
}

#[tokio::test]
async fn of_an_approval_and_a_denial_at_once_one_counts_whatever_the_device_does_meanwhile() {
    for _ in 0..10 {
        let world = Arc::new(device::world().await);
        let device = device::begin(&world, "orders:read").await;
        let mut asked = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for (user, decision) in [("alice", "approve"), ("bob", "deny")] {
            let mut browser = device::logged_in(&world, user).await;
            let page = device::enter(&mut browser, &world, &device.user_code).await;
            asked.push((browser, page, decision));
        }
        for (mut browser, page, decision) in asked {
            let world = world.clone();
            tasks.spawn(async move {
                let page = device::answer(&mut browser, &world, &page, decision).await;
                (page.status == 200).then_some(decision)
            });
        }
        let poll = async || {
            let answer = device::poll(&world, "tv", &device).await.json();
            answer["error"].as_str().unwrap_or("ok").to_owned()
        };
        let mut last = poll().await;
        for _ in 0..10_000 {
            if !matches!(last.as_str(), "authorization_pending" | "slow_down") {
                break;
            }
            last = poll().await;
        }
        let counted: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        let expected = if last == "ok" { "approve" } else { "deny" };
        assert_eq!(counted, [expected], "{last}");
    }
}
