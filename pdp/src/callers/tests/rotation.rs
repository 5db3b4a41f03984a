//! Keys that change while the PDP runs, behind a real HTTP server and in a file.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::StatusCode;
use axum::Router;
use axum::routing::get;
use service_kit::{Metrics, Tasks};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::signer::{Signer, jwks};
use super::{INVALID, billing, claims, config, identify, jwt_caller, known, refused};
use crate::callers::{Callers, Refusal};
use crate::config::JwtCallerConfig;

/// An issuer's server, and callers that follow it.
struct World {
    shown: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
    metrics: Metrics,
    tasks: Tasks,
    callers: Callers,
}

impl World {
    async fn new(shown: (StatusCode, String), rest_ms: u64) -> Self {
        let shown = Arc::new(Mutex::new(shown));
        let asked = Arc::new(AtomicUsize::new(0));
        let (serving, counting) = (Arc::clone(&shown), Arc::clone(&asked));
        let router = Router::new().route(
            "/keys",
            get(async move || {
                counting.fetch_add(1, Ordering::SeqCst);
                // As slow as a network: everybody who needs it comes while it is under way.
                tokio::time::sleep(Duration::from_millis(30)).await;
                serving.lock().unwrap().clone()
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let tasks = Tasks::new();
        tasks.spawn(service_kit::serve::serve(listener, router, tasks.clone()));
        let jwt = JwtCallerConfig {
            jwks_file: None,
            jwks_url: Some(url),
            ..billing()
        };
        let mut config = config(vec![jwt_caller("billing", jwt)]);
        config.jwks_rest_ms = rest_ms;
        let callers = Callers::new(&config, &std::path::PathBuf::new()).unwrap();
        let metrics = Metrics::new();
        callers.follow(&metrics, &tasks).unwrap();
        Self {
            shown,
            asked,
            metrics,
            tasks,
            callers,
        }
    }

    fn serve(&self, status: StatusCode, text: String) {
        *self.shown.lock().unwrap() = (status, text);
    }

    /// With a token that has not been seen.
    async fn ask(&self, signer: &Signer) -> Result<Option<String>, Refusal> {
        self.show_token(&signer.token(&claims())).await
    }

    async fn show_token(&self, token: &str) -> Result<Option<String>, Refusal> {
        identify(&self.callers, &[&format!("Bearer {token}")]).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_need_it_and_an_old_one_counts_no_longer() {
    let (old, new) = (Signer::es256("old"), Signer::ed25519("new"));
    let world = World::new((StatusCode::OK, jwks(&[&old])), 0).await;
    let token = old.token(&claims());
    for _ in 0..2 {
        assert_eq!(world.show_token(&token).await, known("billing"));
        assert_eq!(world.asked(), 1);
    }
    world.serve(StatusCode::OK, jwks(&[&new]));
    let all = futures_util::future::join_all((0..20).map(|_| world.ask(&new))).await;
    assert!(
        all.iter().all(|found| *found == known("billing")),
        "{all:?}"
    );
    assert_eq!(world.asked(), 2);
    // What the old key has verified is remembered, and void with it.
    assert_eq!(world.show_token(&token).await, refused(&[INVALID]));
    assert!(world.tasks.finish(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn unknown_keys_do_not_make_us_ask_without_end() {
    let (known_key, unknown) = (Signer::es256("1"), Signer::es256("2"));
    let world = World::new((StatusCode::OK, jwks(&[&known_key])), 60_000).await;
    assert_eq!(world.ask(&known_key).await, known("billing"));
    for _ in 0..50 {
        assert_eq!(world.ask(&unknown).await, refused(&[INVALID]));
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn old_keys_stay_where_new_ones_cannot_be_had() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let world = World::new((StatusCode::OK, jwks(&[&old])), 0).await;
    assert_eq!(world.ask(&old).await, known("billing"));
    for (status, text) in [
        (StatusCode::INTERNAL_SERVER_ERROR, jwks(&[&new])),
        (StatusCode::FOUND, jwks(&[&new])),
        (StatusCode::OK, "{}".into()),
        (
            StatusCode::OK,
            format!("{}{}", jwks(&[&new]), " ".repeat(300_000)),
        ),
    ] {
        world.serve(status, text);
        assert_eq!(world.ask(&new).await, refused(&[INVALID]));
        assert_eq!(world.ask(&old).await, known("billing"));
    }
    let metrics = world.metrics.render();
    assert!(
        metrics.contains("pdp_caller_keys_read_total{result=\"failed\"} 4"),
        "{metrics}"
    );
    world.serve(StatusCode::OK, jwks(&[&old, &new]));
    assert_eq!(world.ask(&new).await, known("billing"));
    assert_eq!(world.ask(&old).await, known("billing"));
}

#[tokio::test]
async fn without_any_keys_nobody_can_be_known_or_refused() {
    let signer = Signer::es256("k1");
    let world = World::new((StatusCode::BAD_GATEWAY, String::new()), 0).await;
    assert_eq!(world.ask(&signer).await, Err(Refusal::NoKeys));
    // Whatever the keys may be, this is no token of the issuer.
    let other = serde_json::json!({ "iss": "https://other.example.org" });
    let bearer = format!("Bearer {}", signer.token(&other));
    assert_eq!(
        identify(&world.callers, &[&bearer]).await,
        refused(&[INVALID])
    );
    world.serve(StatusCode::OK, jwks(&[&signer]));
    assert_eq!(world.ask(&signer).await, known("billing"));
}

#[tokio::test]
async fn a_changed_file_counts_and_a_broken_one_does_not() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let folder: TempDir = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, jwks(&[&old])).unwrap();
    let mut config = config(vec![jwt_caller("billing", billing())]);
    config.rescan_ms = 20;
    let callers = Callers::new(&config, folder.path()).unwrap();
    let tasks = Tasks::new();
    callers.follow(&Metrics::new(), &tasks).unwrap();
    let ask = async |signer: &Signer| {
        let bearer = format!("Bearer {}", signer.token(&claims()));
        identify(&callers, &[&bearer]).await
    };
    std::fs::write(&file, "{").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ask(&old).await, known("billing"));
    std::fs::write(&file, jwks(&[&new])).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while ask(&new).await != known("billing") {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new key is not taken"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&old).await, refused(&[INVALID]));
    assert!(tasks.finish(Duration::from_secs(5)).await);
}
