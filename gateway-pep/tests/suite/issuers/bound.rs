//! Tokens of other issuers that are bound to a key (RFC 9449): worth nothing without a proof of it.

use serde_json::json;

use super::foreign::Foreign;
use super::{Gateway, NOW, ROUTES, at_hand, corp};
use crate::fixture::get;
use crate::holder::{Holder, claims as proof_claims};
use crate::signer::Signer;

const ORIGINS: &str = ", public_origins: ['https://gw.test', 'https://admin.gw.test']";
const URL: &str = "https://gw.test/corp/1";

fn proof(holder: &Holder, token: &str) -> String {
    let claims = proof_claims(URL, token, NOW).to_string();
    holder.sign(&holder.header().to_string(), &claims)
}

async fn show(gateway: &Gateway, scheme: &str, token: &str, proof: Option<&str>) -> u16 {
    let mut request = get("/corp/1", token).replacen("Bearer", scheme, 1);
    if let Some(proof) = proof {
        request = request.replacen("\r\n", &format!("\r\nDPoP: {proof}\r\n"), 1);
    }
    gateway.fixture.raw(&request).await.status()
}

/// Each way to show a bound token.
async fn check(gateway: &Gateway, holder: &Holder, token: &str) {
    let thief = Holder::new();
    for _ in 0..2 {
        assert_eq!(show(gateway, "Bearer", token, None).await, 401);
        assert_eq!(show(gateway, "DPoP", token, None).await, 401);
        let stolen = proof(&thief, token);
        assert_eq!(show(gateway, "DPoP", token, Some(&stolen)).await, 401);
        let other = proof(holder, "another.token.x");
        assert_eq!(show(gateway, "DPoP", token, Some(&other)).await, 401);
        let good = proof(holder, token);
        assert_eq!(show(gateway, "DPoP", token, Some(&good)).await, 200);
        assert_eq!(
            show(gateway, "DPoP", token, Some(&good)).await,
            401,
            "twice"
        );
    }
}

fn thumbprint(holder: &Holder) -> String {
    match holder.confirmation() {
        oauth::Confirmation::DpopKey(key) => key,
        oauth::Confirmation::Certificate(_) => panic!("a key"),
    }
}

#[tokio::test]
async fn a_bound_jwt_needs_its_proof_whoever_made_it() {
    let (signer, holder) = (Signer::new("k1"), Holder::new());
    let issuers = at_hand(&[&signer], &[&Signer::new("o1")], "");
    let gateway = Gateway::start_with(&issuers, ORIGINS, ROUTES).await;
    let token = signer.token(&corp(&[("cnf", json!({ "jkt": thumbprint(&holder) }))]));
    check(&gateway, &holder, &token).await;
    let certificate = signer.token(&corp(&[("cnf", json!({ "x5t#S256": "hash" }))]));
    assert_eq!(show(&gateway, "Bearer", &certificate, None).await, 401);
    // One that is not bound is no bound one by any proof.
    let plain = signer.token(&corp(&[]));
    let good = proof(&holder, &plain);
    assert_eq!(show(&gateway, "DPoP", &plain, Some(&good)).await, 401);
    assert_eq!(show(&gateway, "Bearer", &plain, None).await, 200);
}

#[tokio::test]
async fn a_bound_token_that_was_asked_about_needs_its_proof_too() {
    let (foreign, holder) = (Foreign::start(&[]).await, Holder::new());
    let issuers = format!(
        "{{ corp: {{ introspection: {{ introspection_url: '{}', client_id: c, client_secret: s }} }} }}",
        foreign.introspection_url()
    );
    let routes = "  - { match: '/corp/{id}', methods: [GET], upstream: a, action: view, resource: 'Record/{id}', issuers: [corp] }\n";
    let gateway = Gateway::start_with(&issuers, ORIGINS, routes).await;
    foreign.say(
        "opaque",
        &json!({
            "active": true, "aud": "https://a", "sub": "alice", "client_id": "web",
            "token_type": "DPoP", "cnf": { "jkt": thumbprint(&holder) },
        }),
    );
    check(&gateway, &holder, "opaque").await;
    assert_eq!(
        foreign.asked(),
        1,
        "it is remembered with what it is bound to"
    );
}
