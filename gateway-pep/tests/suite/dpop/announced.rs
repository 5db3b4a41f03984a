//! What clients are told of proofs, by challenges and by metadata (RFC 9449 section 7.1, RFC 9728).

use serde_json::{Value, json};
use service_kit::{ManualClock, UnixTime};

use super::{NOW, assert_refused, carol, challenges, gateway_with, request};
use crate::fixture::{Fixture, Setup};
use crate::holder::Holder;

const ANNOUNCING: &str = "authorization_servers: ['https://as.example']";
const BOUND: &str = "  - { match: '/bound', methods: [GET], upstream: a, action: view, resource: Service/x, dpop_bound_access_tokens_required: true }\n";
const METADATA: &str = "/.well-known/oauth-protected-resource";

async fn announcing() -> Fixture {
    let setup = Setup {
        gateway: gateway_with(ANNOUNCING),
        more_routes: BOUND,
        clock: ManualClock::at(UnixTime::from_secs(NOW)),
        ..Setup::new().await
    };
    setup.start().await
}

fn bare(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn whoever_brings_nothing_is_told_both_ways_and_where_to_look() {
    let gateway = announcing().await;
    let nothing = gateway.raw(&bare("/records/1")).await;
    let url = format!("resource_metadata=\"https://a{METADATA}\"");
    assert_eq!(
        challenges(&nothing),
        [
            format!("Bearer realm=\"cedargate\", {url}"),
            format!("DPoP realm=\"cedargate\", algs=\"ES256 ES384 EdDSA RS256 PS256\", {url}"),
        ]
    );
    let document = gateway.raw(&bare(METADATA)).await;
    let document: Value = serde_json::from_str(document.body()).unwrap();
    assert_eq!(
        document["dpop_signing_alg_values_supported"],
        json!(["ES256", "ES384", "EdDSA", "RS256", "PS256"])
    );
    // Not all of its routes want it.
    assert_eq!(document["dpop_bound_access_tokens_required"], Value::Null);
}

#[tokio::test]
async fn a_route_that_wants_bound_tokens_takes_no_others() {
    let gateway = announcing().await;
    let nothing = gateway.raw(&bare("/bound")).await;
    let [only] = challenges(&nothing)[..] else {
        panic!("one challenge");
    };
    assert!(
        only.starts_with("DPoP ") && !only.contains("error"),
        "{only}"
    );
    assert_refused(&gateway.get("/bound", "at_alice").await, "invalid_token");
    let holder = Holder::known_to(&[&gateway]);
    let proof = holder.proof("https://gw.test/bound", NOW, &[]);
    let good = request("/bound", "DPoP", "at_carol", &[&proof]);
    assert_eq!(gateway.raw(&good).await.status(), 200);
    assert_eq!(gateway.upstream.seen().len(), 1);
}

#[tokio::test]
async fn what_a_bound_token_lacks_is_said_in_the_same_words() {
    let gateway = announcing().await;
    let holder = Holder::known_to(&[&gateway]);
    let proof = holder.proof("https://gw.test/scoped", NOW, &[]);
    let lacking = request("/scoped", "DPoP", "at_carol", &[&proof]);
    let lacking = gateway.raw(&lacking).await;
    assert_eq!(lacking.status(), 403);
    let [only] = challenges(&lacking)[..] else {
        panic!("one challenge");
    };
    assert!(only.starts_with("DPoP ") && only.contains("scope=\"read write\""));
    let why = carol(&gateway, "x").await;
    assert_refused(&why, "invalid_dpop_proof");
    let problem: Value = serde_json::from_str(why.body()).unwrap();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .starts_with("the proof: ")
    );
}
