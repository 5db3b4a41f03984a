//! `kill -9`: what was acknowledged is still there; and a terminated process finishes its work.

use std::time::Duration;

use e2e::Site;
use e2e::drills::kills::kills;
use e2e::http::{client, get, try_send};
use e2e::site::{Topology, eventually};
use e2e::tokens;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_forgets_no_token_and_no_revocation() {
    let mut site = Site::all_in_one();
    let url = site.gateway_url("/records/1001");
    for _ in 0..3 {
        let live = tokens::access_token(&site, "alice").await;
        let dead = tokens::access_token(&site, "alice").await;
        tokens::revoke(&site, &dead).await;
        site.pdp.kill();
        site.pdp = site.restart("all-in-one");
        assert_eq!(
            get(&url, Some(&live)).await.status,
            200,
            "an acknowledged token is gone"
        );
        assert_eq!(
            get(&url, Some(&dead)).await.status,
            401,
            "an acknowledged revocation is gone"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_forgets_no_token_and_no_revocation() {
    let mut site = Site::split();
    let url = site.gateway_url("/records/1001");
    for _ in 0..3 {
        let live = tokens::access_token(&site, "alice").await;
        let dead = tokens::access_token(&site, "alice").await;
        tokens::revoke(&site, &dead).await;
        let redis = site.redis.as_mut().expect("redis");
        redis.kill();
        redis.restart();
        eventually(
            "the token is live again",
            Duration::from_secs(10),
            || async { get(&url, Some(&live)).await.status == 200 },
        )
        .await;
        assert_eq!(
            get(&url, Some(&dead)).await.status,
            401,
            "an acknowledged revocation is gone"
        );
    }
}

/// `bench/kills` does it a thousand times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_in_the_middle_of_revocations_loses_an_acknowledged_one() {
    for topology in [Topology::AllInOne, Topology::Split] {
        let seen = kills(topology, 5).await;
        println!("{topology:?}: {seen:?}");
        assert!(seen.revocations >= 5 && seen.tokens >= 5, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_gateway_finishes_what_it_began() {
    let mut site = Site::split();
    let token = tokens::access_token(&site, "alice").await;
    let url = site.gateway_url("/records/1001");
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (url, token) = (url.clone(), token.clone());
            tokio::spawn(async move {
                let mut answered = 0;
                // A fresh connection each: after the end of accepting, connecting is refused,
                // which is not a lost request.
                loop {
                    let http = client();
                    let request = http.get(&url).bearer_auth(&token);
                    match request.send().await {
                        Ok(response) => {
                            assert_eq!(response.status().as_u16(), 200);
                            assert!(response.text().await.is_ok(), "a body was cut");
                            answered += 1;
                        }
                        Err(error) if error.is_connect() => return answered,
                        Err(error) => panic!("a request was lost: {error:?}"),
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let gateway = site.gateway.as_mut().expect("gateway");
    gateway.terminate();
    let status = gateway.wait(Duration::from_secs(20));
    assert!(status.success(), "{status}");
    for worker in workers {
        assert!(worker.await.expect("worker") > 0);
    }
    assert!(try_send(client().get(&url)).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_process_has_logged_every_decision_and_request_it_answered() {
    const REQUESTS: usize = 200;
    let mut site = Site::all_in_one();
    let token = tokens::access_token(&site, "alice").await;
    let http = client();
    for number in 0..REQUESTS {
        // A record of its own is a decision of its own: nothing is answered from the cache.
        let url = site.gateway_url(&format!("/records/{}", 10_000 + number));
        let response = http.get(&url).bearer_auth(&token).send().await;
        assert_eq!(response.expect("an answer").status().as_u16(), 403);
    }
    site.pdp.terminate();
    let status = site.pdp.wait(Duration::from_secs(20));
    assert!(status.success(), "{status}");
    for (file, mark) in [
        ("decisions.jsonl", "view_record"),
        ("access.jsonl", r#""status":403"#),
    ] {
        let text = std::fs::read_to_string(site.folder.path().join("data").join(file));
        let text = text.expect("a log");
        let lines = text.lines().filter(|line| line.contains(mark));
        assert_eq!(lines.count(), REQUESTS, "{file}");
    }
}
