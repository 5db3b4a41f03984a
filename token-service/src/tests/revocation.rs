//! A refresh token that is bound is revoked by whoever has its key or certificate, not by whoever found
//! it.

use axum::body::Body;
use http::{Request, header};
use serde_json::json;

use super::dpop::{Holder, with_proof};
use super::harness::{Answer, ISSUER, VERIFIER, World, as_client, code_form, encode};

fn native(path: &str, form: &[(&str, &str)], proof: Option<&str>) -> Request<Body> {
    let form: Vec<_> = form
        .iter()
        .copied()
        .chain([("client_id", "native")])
        .collect();
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encode(&form)))
        .unwrap();
    with_proof(request, proof.as_slice())
}

fn proof(holder: &Holder, jti: &str) -> String {
    holder.proof(&[
        ("jti", json!(jti)),
        ("htu", json!(format!("{ISSUER}/revoke"))),
    ])
}

async fn revoke(world: &World, token: &str, proof: Option<&str>) -> Answer {
    world
        .send(native("/revoke", &[("token", token)], proof))
        .await
}

#[tokio::test]
async fn a_bound_refresh_token_is_revoked_with_a_proof_of_its_key_alone() {
    let (world, holder, other) = (World::new().await, Holder::new(), Holder::new());
    let code = world.code("native", "openid orders:read").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "http://127.0.0.1:51789/cb"),
        ("code_verifier", VERIFIER),
    ];
    let tokens = world
        .send(native("/token", &form, Some(&holder.named("1"))))
        .await
        .json();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    for proof in [None, Some(proof(&other, "2")), Some(holder.named("3"))] {
        let refused = revoke(&world, &refresh, proof.as_deref()).await;
        refused.assert_error(400, "invalid_dpop_proof");
        assert!(world.is_active(&access).await);
    }
    let done = revoke(&world, &refresh, Some(&proof(&holder, "4"))).await;
    assert_eq!((done.status.as_u16(), done.body.as_str()), (200, ""));
    assert!(!world.is_active(&access).await);
}

#[tokio::test]
async fn a_client_with_a_secret_revokes_without_the_key() {
    let (world, holder) = (World::new().await, Holder::new());
    let code = world.code("web", "openid orders:read").await;
    let request = with_proof(
        as_client("web", "/token", &code_form(&code)),
        &[&holder.named("1")],
    );
    let tokens = world.send(request).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let done = world.post_as("web", "/revoke", &[("token", refresh)]).await;
    assert_eq!(done.status, 200);
    assert!(
        !world
            .is_active(tokens["access_token"].as_str().unwrap())
            .await
    );
}
