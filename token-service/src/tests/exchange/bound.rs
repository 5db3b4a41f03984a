//! Tokens that are bound to a key (RFC 9449) are exchanged by whoever has the key.

use http::header;
use serde_json::Value;

use super::super::dpop::{Holder, ask};
use super::super::harness::{World, as_client, code_form};
use super::{JWT, exchange, form, text, world};

pub(super) async fn bound(world: &World, holder: &Holder) -> String {
    let code = world.code("web", "openid orders:read billing:read").await;
    let answer = ask(world, "web", &code_form(&code), &holder.named("bound")).await;
    text(&answer.json(), "access_token")
}

#[tokio::test]
async fn a_bound_token_is_exchanged_with_a_proof_of_its_key_alone() {
    let (world, holder, other) = (world().await, Holder::new(), Holder::new());
    let token = bound(&world, &holder).await;
    let refused = exchange(&world, "orders", &token, &[]).await;
    refused.assert_error(400, "invalid_request");
    let form = form(&token, &[]);
    let refused = ask(&world, "orders", &form, &other.named("1")).await;
    refused.assert_error(400, "invalid_request");
    // What comes of it is bound, too.
    let answer = ask(&world, "orders", &form, &holder.named("2")).await;
    assert_eq!(answer.json()["token_type"], "DPoP", "{}", answer.body);
}

#[tokio::test]
async fn the_jwt_of_a_bound_token_has_come_from_whoever_checked_the_proof() {
    let (world, holder) = (world().await, Holder::new());
    let token = bound(&world, &holder).await;
    let mut request = as_client("gw_orders", "/introspect", &[("token", &token)]);
    let media = oauth::SWAP_MEDIA_TYPE.parse().unwrap();
    request.headers_mut().insert(header::ACCEPT, media);
    let jwt = text(&world.send(request).await.json(), "phantom_token");
    let more = [("subject_token_type", JWT), ("scope", "orders:read")];
    let answer = exchange(&world, "orders", &jwt, &more).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told: Value = answer.json();
    assert_eq!(told["token_type"], "Bearer");
}
