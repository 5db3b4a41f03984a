//! Redis and the PDP die under load: the gateway refuses what it cannot know, and recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::Site;
use e2e::http::{client, get, try_send};
use e2e::site::eventually;
use e2e::tokens;

/// Asks in a loop, two at a time; counts answers by kind, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    permitted: AtomicUsize,
    refused: AtomicUsize,
    unavailable: AtomicUsize,
    wrong: AtomicUsize,
}

impl Load {
    /// `url` must be permitted, `forbidden` must never be.
    fn start(url: String, forbidden: String, token: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let tasks = [(url, false), (forbidden, true)]
            .into_iter()
            .map(|(url, never)| {
                let (stop, counts, token) = (stop.clone(), counts.clone(), token.clone());
                tokio::spawn(async move {
                    let http = client();
                    while !stop.load(Ordering::SeqCst) {
                        let answer = try_send(http.get(&url).bearer_auth(&token)).await;
                        let counter = match answer.map(|answer| answer.status) {
                            Some(200) if never => &counts.wrong,
                            Some(200) => &counts.permitted,
                            Some(401 | 403) => &counts.refused,
                            Some(503) => &counts.unavailable,
                            _ => &counts.wrong,
                        };
                        counter.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                })
            })
            .collect();
        Self {
            stop,
            counts,
            tasks,
        }
    }

    async fn finish(self) -> Arc<Counts> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("load");
        }
        self.counts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_and_restarted_under_load_never_permits_wrongly() {
    let mut site = Site::split();
    let token = tokens::access_token(&site, "alice").await;
    let url = site.gateway_url("/records/1001");
    assert_eq!(get(&url, Some(&token)).await.status, 200);
    let load = Load::start(
        url.clone(),
        site.gateway_url("/records/1002"),
        token.clone(),
    );
    tokio::time::sleep(Duration::from_millis(500)).await;

    site.redis.as_mut().expect("redis").kill();
    // Past the bound on event lag nothing cached is trusted, and the token service cannot look.
    eventually(
        "the gateway refuses without its event log",
        Duration::from_secs(20),
        || async { get(&url, Some(&token)).await.status == 503 },
    )
    .await;
    // A revocation that cannot be made durable is not acknowledged.
    let revoked = e2e::http::post_form(
        &site.token_service_url("/revoke"),
        None,
        &[("token", &token), ("client_id", "cli")],
    )
    .await;
    assert_eq!(revoked.status, 503, "{}", revoked.body);

    site.redis.as_mut().expect("redis").restart();
    eventually(
        "it permits again by itself",
        Duration::from_secs(20),
        || async { get(&url, Some(&token)).await.status == 200 },
    )
    .await;
    let counts = load.finish().await;
    assert_eq!(counts.wrong.load(Ordering::SeqCst), 0, "{counts:?}");
    assert!(counts.permitted.load(Ordering::SeqCst) > 10, "{counts:?}");

    tokens::revoke(&site, &token).await;
    eventually(
        "revocations arrive after the restart",
        Duration::from_secs(5),
        || async { get(&url, Some(&token)).await.status == 401 },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_pdp_is_503_and_never_200() {
    let mut site = Site::split();
    let alice = tokens::access_token(&site, "alice").await;
    let bob = tokens::access_token(&site, "bob").await;
    let url = site.gateway_url("/records/1001");
    assert_eq!(get(&url, Some(&alice)).await.status, 200);
    site.pdp.kill();
    for _ in 0..20 {
        // Never asked before, so nothing can be cached for it.
        let answer = get(&site.gateway_url("/records/1002"), Some(&bob)).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(
            answer
                .header("content-type")
                .starts_with("application/problem+json")
        );
    }
    site.pdp = site.restart("pdp");
    eventually("it decides again", Duration::from_secs(10), || async {
        get(&site.gateway_url("/records/1002"), Some(&bob))
            .await
            .status
            == 200
    })
    .await;
}
