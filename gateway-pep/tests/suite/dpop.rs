//! Tokens that are bound to a key (RFC 9449): taken with a proof of the key, and with nothing less.

mod announced;
mod mutations;
mod nonces;
mod once;

use std::sync::Arc;

use service_kit::{ManualClock, UnixTime};
use store::{MemoryStore, Store};

use crate::fixture::{Answer, Fixture, Setup, eventually, get};
use crate::holder::Holder;

/// What the clock says.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const URL: &str = "https://gw.test/records/1";

/// Of a gateway that takes bound tokens.
const GATEWAY: &str = "{ workers: 1, access_log: 'off', public_origins: ['https://gw.test', 'https://admin.gw.test'] }";

const SHARING: &str = "cache: { clock_skew_secs: 0, secret: 0123456789abcdef0123456789abcdef }";

/// The same with more.
fn gateway_with(more: &str) -> String {
    GATEWAY.replacen(" }", &format!(", {more} }}"), 1)
}

async fn gateway(settings: &str) -> (Fixture, Arc<ManualClock>) {
    let clock = ManualClock::at(UnixTime::from_secs(NOW));
    let setup = Setup {
        gateway: settings.into(),
        clock: clock.clone(),
        ..Setup::new().await
    };
    (setup.start().await, clock)
}

/// One of several on a store, with services of its own.
async fn one_of_several(store: &Arc<dyn Store>, clock: &Arc<ManualClock>) -> Fixture {
    let setup = Setup {
        gateway: gateway_with(SHARING),
        events: store.clone(),
        shared: Some(store.clone()),
        proofs: store.clone(),
        clock: clock.clone(),
        ..Setup::new().await
    };
    setup.start().await
}

/// `GET` with a token by a scheme, and these proofs.
fn request(path: &str, scheme: &str, token: &str, proofs: &[&str]) -> String {
    let mut request = get(path, token).replacen("Bearer", scheme, 1);
    for proof in proofs {
        request = request.replacen("\r\n", &format!("\r\nDPoP: {proof}\r\n"), 1);
    }
    request
}

async fn carol(gateway: &Fixture, proof: &str) -> Answer {
    let request = request("/records/1", "DPoP", "at_carol", &[proof]);
    gateway.raw(&request).await
}

fn challenges(answer: &Answer) -> Vec<&str> {
    let head = answer.0.split("\r\n\r\n").next().unwrap_or_default();
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
        .map(|(_, value)| value)
        .collect()
}

#[track_caller]
fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!(answer.status(), 401, "{answer:?}");
    let challenges = challenges(answer);
    let [challenge] = challenges.as_slice() else {
        panic!("one challenge: {challenges:?}");
    };
    assert!(
        challenge.starts_with("DPoP realm=\"cedargate\", algs=\"ES256 "),
        "{challenge}"
    );
    assert!(
        challenge.contains(&format!("error=\"{code}\"")),
        "{challenge}"
    );
}

#[tokio::test]
async fn a_bound_token_passes_with_a_proof_of_its_key_and_neither_goes_further() {
    let (gateway, _) = gateway(GATEWAY).await;
    let holder = Holder::known_to(&[&gateway]);
    for _ in 0..3 {
        let answer = carol(&gateway, &holder.proof(URL, NOW, &[])).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    assert_eq!(gateway.tokens.count(), 1, "it is remembered");
    for seen in gateway.upstream.seen() {
        assert_eq!(seen.headers["authorization"], "Bearer jwt.carol.signature");
        let all = format!("{:?}", seen.headers);
        assert!(!seen.headers.contains_key("dpop"), "{all}");
        assert!(!all.contains("at_carol"), "{all}");
    }
    // The query is of no account, and the scheme has no case.
    let queried = request(
        "/records/1?a=b",
        "dpop",
        "at_carol",
        &[&holder.proof(URL, NOW, &[])],
    );
    assert_eq!(gateway.raw(&queried).await.status(), 200);
}

#[tokio::test]
async fn a_proof_is_worth_nothing_on_a_route_for_everyone_and_is_not_passed_on() {
    let (gateway, _) = gateway(GATEWAY).await;
    for name in ["DPoP", "dpop", "DPOP"] {
        let request = format!(
            "GET /public/ok HTTP/1.1\r\nHost: gw.test\r\n{name}: x.y.z\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(gateway.raw(&request).await.status(), 200);
        assert!(!gateway.upstream.last().headers.contains_key("dpop"));
    }
}

#[tokio::test]
async fn whoever_has_the_token_alone_has_nothing_also_where_it_is_remembered() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = ManualClock::at(UnixTime::from_secs(NOW - 1));
    let one = one_of_several(&store, &clock).await;
    let two = one_of_several(&store, &clock).await;
    // Both must have listened before anything is asked.
    for gateway in [&one, &two] {
        let listens = || gateway.health.parts().contains_key("events");
        eventually("it listens", || listens() && gateway.health.is_ready()).await;
    }
    clock.advance(std::time::Duration::from_secs(1));
    let (holder, thief) = (Holder::known_to(&[&one, &two]), Holder::new());
    let good = carol(&one, &holder.proof(URL, NOW, &[])).await;
    assert_eq!(good.status(), 200, "{good:?}");
    for _ in 0..500 {
        let shared = store.scan("gateway-token:", None, 9).await.unwrap();
        if !shared.entries.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for gateway in [&one, &two] {
        for (scheme, proofs, code) in [
            ("Bearer", vec![], "invalid_token"),
            ("Bearer", vec![holder.proof(URL, NOW, &[])], "invalid_token"),
            ("DPoP", vec![], "invalid_dpop_proof"),
            ("DPoP", vec![thief.proof(URL, NOW, &[])], "invalid_token"),
        ] {
            let proofs: Vec<_> = proofs.iter().map(String::as_str).collect();
            let request = request("/records/1", scheme, "at_carol", &proofs);
            assert_refused(&gateway.raw(&request).await, code);
        }
    }
    assert_eq!(two.tokens.count(), 0, "another gateway's answer was used");
    assert!(two.upstream.seen().is_empty());
    let good = carol(&two, &holder.proof(URL, NOW, &[])).await;
    assert_eq!((good.status(), two.tokens.count()), (200, 0));
}

#[tokio::test]
async fn a_token_that_is_not_bound_is_no_bound_one_by_any_proof() {
    let (gateway, _) = gateway(GATEWAY).await;
    let holder = Holder::new();
    let of_alice = crate::holder::claims(URL, "at_alice", NOW).to_string();
    let proof = holder.sign(&holder.header().to_string(), &of_alice);
    let request_by = |scheme| request("/records/1", scheme, "at_alice", &[&proof]);
    assert_refused(&gateway.raw(&request_by("DPoP")).await, "invalid_token");
    // As a bearer token it is what it always was; of the proof, nothing is asked.
    assert_eq!(gateway.raw(&request_by("Bearer")).await.status(), 200);
    // Nobody's token.
    let of_nobody = crate::holder::claims(URL, "at_nobody", NOW).to_string();
    let proof = holder.sign(&holder.header().to_string(), &of_nobody);
    let request = request("/records/1", "DPoP", "at_nobody", &[&proof]);
    assert_refused(&gateway.raw(&request).await, "invalid_token");
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_is_refused_by_either_scheme() {
    let (gateway, _) = gateway(GATEWAY).await;
    let holder = Holder::new();
    let certificate = oauth::Confirmation::Certificate("thumbprint".into());
    let tokens = &gateway.tokens;
    tokens.issue_bound("carol", 4_000_000_000, Some(certificate));
    let bearer = gateway.get("/records/1", "at_carol").await;
    assert_eq!(bearer.status(), 401, "{bearer:?}");
    let by_proof = carol(&gateway, &holder.proof(URL, NOW, &[])).await;
    assert_refused(&by_proof, "invalid_token");
    assert!(gateway.upstream.seen().is_empty());
}

#[tokio::test]
async fn neither_token_nor_proof_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.jsonl");
    let settings = GATEWAY.replacen("'off'", &format!("{{ file: '{}' }}", file.display()), 1);
    let (gateway, _) = gateway(&settings).await;
    let holder = Holder::known_to(&[&gateway]);
    let proof = holder.proof(URL, NOW, &[]);
    for expected in [200, 401] {
        assert_eq!(carol(&gateway, &proof).await.status(), expected);
    }
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("both are logged", || lines().lines().count() == 2).await;
    let lines = lines();
    assert!(
        lines.contains("\"error\":\"invalid_dpop_proof\""),
        "{lines}"
    );
    for secret in ["at_carol", proof.split('.').next().unwrap()] {
        assert!(!lines.contains(secret), "{lines}");
    }
}

#[tokio::test]
async fn where_no_origin_is_configured_proofs_are_not_looked_at_and_bound_tokens_refused() {
    let (gateway, _) = gateway("{ workers: 1, access_log: 'off' }").await;
    let holder = Holder::known_to(&[&gateway]);
    for url in [URL, "http://gw.test/records/1"] {
        let refused = carol(&gateway, &holder.proof(url, NOW, &[])).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(challenges(&refused), ["Bearer realm=\"cedargate\""]);
    }
    let bearer = gateway.get("/records/1", "at_carol").await;
    assert_eq!(bearer.status(), 401);
    assert!(gateway.upstream.seen().is_empty());
}
