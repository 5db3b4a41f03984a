//! How things are signed: as whoever reads them has asked for, by keys that are published.

use http::{Request, header};

use super::harness::{ORDERS, World, as_client, config, verified};

fn algorithm(jwt: &str) -> String {
    format!("{:?}", jsonwebtoken::decode_header(jwt).unwrap().alg)
}

#[tokio::test]
async fn everything_is_signed_as_its_reader_wants_it() {
    let wanted = config(|text| {
        text.replacen(
            "{ id: web,",
            "{ id: web, id_token_signed_response_alg: RS256,",
            1,
        )
        .replacen(
            "claims: [roles, email] }",
            "claims: [roles, email], jwt_alg: EdDSA }",
            1,
        )
        .replacen(
            "{ id: gw_orders,",
            "{ id: gw_orders, introspection_signed_response_alg: PS256,",
            1,
        )
    });
    let world = World::with(wanted).await;
    let tokens = world.tokens("openid orders:read").await;
    let id_token = tokens["id_token"].as_str().unwrap();
    assert_eq!(algorithm(id_token), "RS256");
    verified(&world, id_token, "JWT", "web").await;
    let opaque = tokens["access_token"].as_str().unwrap();
    for (media, expected, typ, audience) in [
        ("application/jwt", "EdDSA", "at+jwt", ORDERS),
        (
            "application/token-introspection+jwt",
            "PS256",
            "token-introspection+jwt",
            "gw_orders",
        ),
    ] {
        let mut request: Request<_> = as_client("gw_orders", "/introspect", &[("token", opaque)]);
        request
            .headers_mut()
            .insert(header::ACCEPT, media.parse().unwrap());
        let jwt = world.send(request).await.body;
        assert_eq!(algorithm(&jwt), expected);
        verified(&world, &jwt, typ, audience).await;
    }
    let metadata = world.get("/.well-known/openid-configuration").await.json();
    let all = serde_json::json!(["ES256", "EdDSA", "RS256", "PS256"]);
    assert_eq!(metadata["id_token_signing_alg_values_supported"], all);
}

#[tokio::test]
async fn a_reload_makes_the_keys_that_it_wants() {
    let world = World::new().await;
    let before = world.tokens("openid").await;
    assert_eq!(algorithm(before["id_token"].as_str().unwrap()), "ES256");
    let wanted = config(|text| {
        text.replacen(
            "{ id: web,",
            "{ id: web, id_token_signed_response_alg: EdDSA,",
            1,
        )
    });
    let folder = std::path::Path::new(".");
    world.service.reload(&wanted, folder).await.unwrap();
    let after = world.tokens("openid").await;
    let id_token = after["id_token"].as_str().unwrap();
    assert_eq!(algorithm(id_token), "EdDSA");
    verified(&world, id_token, "JWT", "web").await;
    verified(&world, before["id_token"].as_str().unwrap(), "JWT", "web").await;
}
