//! Fifty at once: what is used once is used once.

use std::sync::Arc;

use serde_json::Value;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
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
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
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
