//! Tokens that are bound to a key (RFC 9449), at several gateways over a real Redis.

use std::time::Duration;

use e2e::Site;
use e2e::holder::Holder;
use e2e::http::{Answer, get};
use e2e::site::eventually;
use futures_util::future::join_all;

const MACHINE: (&str, &str) = ("nightly-report", "demo-secret-of-nightly-report");

/// What clients know of the gateways, which stand behind it.
const PUBLIC: &str = "https://api.example.org";

fn site() -> Site {
    Site::split_with_gateway(|text| {
        let (before, after) = text.split_once("public_origins: [").expect("origins");
        let (_, after) = after.split_once(']').expect("the end");
        format!("{before}public_origins: ['{PUBLIC}']{after}")
    })
}

#[track_caller]
fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 401, "{}", answer.body);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("DPoP "), "{challenge}");
    assert!(
        challenge.contains(&format!("error=\"{code}\"")),
        "{challenge}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_was_used_at_one_gateway_is_refused_at_every_other() {
    let mut site = site();
    let (second, _process) = site.second_gateway();
    let holder = Holder::new();
    let token = holder.bound_token(&site, MACHINE).await;
    let proof = || holder.proof("GET", &format!("{PUBLIC}/records"), Some(&token));
    let urls = [
        site.gateway_url("/records"),
        format!("http://{second}:8080/records"),
    ];

    // One after the other, either way round.
    for (first, then) in [(0, 1), (1, 0), (0, 0)] {
        let proof = proof();
        let passed = Holder::send(&urls[first], &token, &proof).await;
        assert_eq!(passed.status, 200, "{}", passed.body);
        for url in [&urls[then], &urls[first]] {
            assert_refused(
                &Holder::send(url, &token, &proof).await,
                "invalid_dpop_proof",
            );
        }
    }
    // Fifty at once, at both.
    let once = proof();
    let sent = (0..50).map(|n| Holder::send(&urls[n % 2], &token, &once));
    let answers = join_all(sent).await;
    let (passed, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 200);
    assert_eq!(passed.len(), 1, "uses of one proof");
    for answer in lost {
        assert_refused(answer, "invalid_dpop_proof");
    }
    // Both have the token in their caches by now: without its key it is worth nothing there, either.
    let thief = Holder::new();
    for url in &urls {
        assert_refused(&get(url, Some(&token)).await, "invalid_token");
        let stolen = thief.proof("GET", &format!("{PUBLIC}/records"), Some(&token));
        assert_refused(&Holder::send(url, &token, &stolen).await, "invalid_token");
        let at_its_own = holder.proof("GET", url, Some(&token));
        let refused = Holder::send(url, &token, &at_its_own).await;
        assert_refused(&refused, "invalid_dpop_proof");
    }
    are_kept_no_longer_than_they_are_good(&site, &token);

    // Nobody knows any more what was used.
    site.redis.as_mut().expect("split").kill();
    let refused = Holder::send(&urls[0], &token, &proof()).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(
        refused.body.contains("proof-store-unavailable"),
        "{}",
        refused.body
    );
    site.redis.as_mut().expect("split").restart();
    let passes = async || Holder::send(&urls[0], &token, &proof()).await.status == 200;
    eventually("Redis is there again", Duration::from_secs(15), passes).await;
}

/// What Redis has of proofs says nothing, and goes away.
fn are_kept_no_longer_than_they_are_good(site: &Site, token: &str) {
    let redis = site.redis.as_ref().expect("split");
    let keys = redis.command(&["--scan", "--pattern", "*gateway-proof:*"]);
    let keys: Vec<_> = keys.lines().collect();
    assert_eq!(keys.len(), 4, "only what held: {keys:?}");
    for key in keys {
        assert!(!key.contains(token), "{key}");
        let ttl: i64 = redis
            .command(&["ttl", key])
            .trim()
            .parse()
            .expect("seconds");
        assert!((60..=122).contains(&ttl), "{key}: {ttl}");
        let value = redis.command(&["get", key]);
        assert!(value.len() < 20, "{value}");
    }
}
