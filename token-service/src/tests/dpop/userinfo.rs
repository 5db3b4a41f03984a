//! Userinfo is told to whoever has the token and its key.

use axum::body::Body;
use http::{Request, header};
use serde_json::json;
use service_kit::digest;

use super::{Holder, ask, with_proof};
use crate::tests::harness::{Answer, ISSUER, World, code_form};

impl Holder {
    /// For userinfo, with a token.
    pub(super) fn proof_of(&self, jti: &str, token: &str) -> String {
        self.proof(&[
            ("jti", json!(jti)),
            ("htm", json!("GET")),
            ("htu", json!(format!("{ISSUER}/userinfo"))),
            ("ath", json!(digest::sha256_base64url(token.as_bytes()))),
        ])
    }
}

pub(super) async fn userinfo(world: &World, scheme: &str, token: &str, proofs: &[&str]) -> Answer {
    let request = Request::get("/userinfo")
        .header(header::AUTHORIZATION, format!("{scheme} {token}"))
        .body(Body::empty())
        .unwrap();
    world.send(with_proof(request, proofs)).await
}

#[tokio::test]
async fn userinfo_takes_a_bound_token_with_its_proof_alone() {
    let (world, holder, other) = (World::new().await, Holder::new(), Holder::new());
    let code = world.code("web", "openid profile").await;
    let answer = ask(&world, "web", &code_form(&code), &holder.named("1")).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let told = userinfo(&world, "DPoP", &token, &[&holder.proof_of("2", &token)]).await;
    assert_eq!(told.json()["preferred_username"], "alice");
    let wrong_method = holder.proof(&[
        ("jti", json!("3")),
        ("htu", json!(format!("{ISSUER}/userinfo"))),
    ]);
    for (scheme, proofs, code) in [
        ("Bearer", vec![], "invalid_token"),
        (
            "Bearer",
            vec![holder.proof_of("4", &token)],
            "invalid_token",
        ),
        ("DPoP", vec![], "invalid_dpop_proof"),
        ("DPoP", vec![other.proof_of("5", &token)], "invalid_token"),
        (
            "DPoP",
            vec![holder.proof_of("6", "another token")],
            "invalid_dpop_proof",
        ),
        (
            "DPoP",
            vec![holder.proof_of("2", &token)],
            "invalid_dpop_proof",
        ),
        ("DPoP", vec![wrong_method], "invalid_dpop_proof"),
        (
            "DPoP",
            vec![holder.proof_of("7", &token), holder.proof_of("8", &token)],
            "invalid_dpop_proof",
        ),
    ] {
        let proofs: Vec<_> = proofs.iter().map(String::as_str).collect();
        let refused = userinfo(&world, scheme, &token, &proofs).await;
        assert_eq!(refused.status, 401, "{scheme} {proofs:?}");
        let challenge = refused.header(header::WWW_AUTHENTICATE);
        assert!(
            challenge.starts_with("DPoP ") && challenge.contains(&format!("error=\"{code}\"")),
            "{challenge}"
        );
        assert!(challenge.contains("algs=\"ES256 "), "{challenge}");
        assert!(refused.body.is_empty());
    }
}

#[tokio::test]
async fn userinfo_takes_no_proof_of_what_is_not_bound() {
    let (world, holder) = (World::new().await, Holder::new());
    // One that is not bound is a bearer token, and not what the scheme says.
    let plain = world.tokens("openid").await;
    let plain = plain["access_token"].as_str().unwrap();
    assert_eq!(
        userinfo(&world, "DPoP", plain, &[&holder.proof_of("9", plain)])
            .await
            .status,
        401
    );
    // Whoever brings nothing is told both ways.
    let nothing = world.get("/userinfo").await;
    let challenges: Vec<_> = nothing
        .headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .collect();
    assert_eq!(challenges.len(), 2);
}
