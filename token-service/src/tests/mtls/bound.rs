//! Access tokens that are bound to a certificate, from the token endpoint to whoever asks about them.

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};
use service_kit::ClientCertificate;

use super::super::dpop::{Holder, with_proof};
use super::super::harness::{
    Answer, VERIFIER, World, as_client, code_form, refresh_form, verified,
};
use super::{MTLS, ORDERS, files, for_itself, over, post, shown, thumbprint, token, with_mtls};

const BOUND: &str = "tls_client_certificate_bound_access_tokens: true";

/// `web` has a secret and `native` nothing; the tokens of both are bound.
async fn world() -> World {
    let folder = files();
    let config = with_mtls(&folder, |text| {
        text.replace("id: web,", &format!("id: web, {BOUND},"))
            .replace("id: native,", &format!("id: native, {BOUND},"))
    });
    World::with(config).await
}

fn as_web(form: &[(&str, &str)]) -> Request<Body> {
    as_client("web", "/one/token", form)
}

/// Alice at `web`, over a connection with this certificate.
async fn tokens(world: &World, certificate: Option<ClientCertificate>) -> Answer {
    let code = world.code("web", "openid orders:read").await;
    over(world, certificate, as_web(&code_form(&code))).await
}

async fn cnf(world: &World, token: &str) -> Value {
    let told = world.introspect("gw_orders", token).await;
    assert_eq!(told.json()["token_type"], "Bearer", "{}", told.body);
    told.json()["cnf"].clone()
}

async fn introspected(world: &World, media: &str, token: &str) -> Answer {
    let mut request = as_client("gw_orders", "/introspect", &[("token", token)]);
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, media.parse().unwrap());
    world.send(request).await
}

async fn userinfo(
    world: &World,
    certificate: Option<ClientCertificate>,
    scheme: &str,
    token: &str,
) -> Answer {
    let request = Request::get("/one/userinfo")
        .header(header::AUTHORIZATION, format!("{scheme} {token}"))
        .body(Body::empty())
        .unwrap();
    over(world, certificate, request).await
}

#[tokio::test]
async fn whoever_asks_about_a_bound_token_is_told_its_certificate_in_every_form() {
    let world = world().await;
    let answer = over(&world, Some(shown("robot")), for_itself("robot")).await;
    assert_eq!(answer.json()["token_type"], "Bearer");
    let opaque = token(&answer);
    let expected = json!({ "x5t#S256": thumbprint("robot") });
    assert_eq!(cnf(&world, &opaque).await, expected);

    let signed = introspected(&world, "application/token-introspection+jwt", &opaque).await;
    let said = verified(&world, &signed.body, "token-introspection+jwt", "gw_orders").await;
    assert_eq!(said["token_introspection"]["cnf"], expected);

    let swap = introspected(&world, oauth::SWAP_MEDIA_TYPE, &opaque).await;
    assert_eq!(swap.json()["cnf"], expected);
    let jwt = swap.json()["phantom_token"].as_str().unwrap().to_owned();
    assert_eq!(
        verified(&world, &jwt, "at+jwt", ORDERS).await["cnf"],
        expected
    );

    // Who asks in this form looks at no certificate.
    let bare = introspected(&world, "application/jwt", &opaque).await;
    assert_eq!((bare.status.as_u16(), bare.body.as_str()), (204, ""));
}

#[tokio::test]
async fn a_client_whose_tokens_are_bound_gets_none_without_a_certificate() {
    let (world, holder) = (world().await, Holder::new());
    tokens(&world, None)
        .await
        .assert_error(400, "invalid_request");
    let code = world.code("web", "openid orders:read").await;
    world
        .redeem("web", &code)
        .await
        .assert_error(400, "invalid_request");
    // A key in its place is none, and does not come beside it.
    let htu = ("htu", json!(format!("{MTLS}/token")));
    let proof = holder.proof(&[htu]);
    let request = with_proof(as_web(&code_form(&code)), &[&proof]);
    let answer = over(&world, Some(shown("web")), request).await;
    answer.assert_error(400, "invalid_dpop_proof");
    // Nothing of that has used the code up.
    token(&over(&world, Some(shown("web")), as_web(&code_form(&code))).await);
}

#[tokio::test]
async fn userinfo_wants_the_certificate_of_the_token() {
    let world = world().await;
    let opaque = token(&tokens(&world, Some(shown("web"))).await);
    let told = userinfo(&world, Some(shown("web")), "Bearer", &opaque).await;
    assert_eq!(
        (told.status.as_u16(), &told.json()["sub"]),
        (200, &json!("alice"))
    );
    for (certificate, scheme) in [
        (None, "Bearer"),
        (Some(shown("robot")), "Bearer"),
        (Some(shown("web")), "DPoP"),
        (None, "DPoP"),
    ] {
        let refused = userinfo(&world, certificate, scheme, &opaque).await;
        assert_eq!(refused.status, 401);
        let challenge = refused.header(header::WWW_AUTHENTICATE);
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert_eq!(refused.body, "");
    }
    let request = Request::get("/userinfo")
        .header(header::AUTHORIZATION, format!("Bearer {opaque}"))
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.status, 401);
}

#[tokio::test]
async fn a_client_with_a_secret_may_come_with_a_new_certificate_to_refresh() {
    let world = world().await;
    let first = tokens(&world, Some(shown("web"))).await.json();
    let refresh = first["refresh_token"].as_str().unwrap();
    let none = over(&world, None, as_web(&refresh_form(refresh))).await;
    none.assert_error(400, "invalid_request");
    let second = over(&world, Some(shown("web-2")), as_web(&refresh_form(refresh))).await;
    let renewed = json!({ "x5t#S256": thumbprint("web-2") });
    assert_eq!(cnf(&world, &token(&second)).await, renewed);
    // The answer again, where it was lost, is for the certificate that it was made for.
    let again = over(&world, Some(shown("web-2")), as_web(&refresh_form(refresh))).await;
    assert_eq!(again.json()["access_token"], second.json()["access_token"]);
    let stolen = over(&world, Some(shown("web")), as_web(&refresh_form(refresh))).await;
    stolen.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn the_refresh_token_of_a_public_client_is_bound_to_its_certificate() {
    let world = world().await;
    let code = world.code("native", "openid orders:read").await;
    let own = |form: &[(&str, &str)]| {
        let form: Vec<_> = form
            .iter()
            .copied()
            .chain([("client_id", "native")])
            .collect();
        post("/token", &form)
    };
    let redirect = "http://127.0.0.1:51789/cb";
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", redirect),
        ("code_verifier", VERIFIER),
    ];
    let first = over(&world, Some(shown("phone")), own(&form)).await;
    let opaque = token(&first);
    assert_eq!(
        cnf(&world, &opaque).await,
        json!({ "x5t#S256": thumbprint("phone") })
    );
    let refresh = first.json()["refresh_token"].as_str().unwrap().to_owned();
    for (certificate, code) in [
        (None, "invalid_request"),
        (Some(shown("thief")), "invalid_grant"),
    ] {
        let refused = over(&world, certificate, own(&refresh_form(&refresh))).await;
        refused.assert_error(400, code);
    }
    // Whoever found it has not ended the grant either.
    assert!(world.is_active(&opaque).await);
    let answer = over(&world, Some(shown("phone")), own(&refresh_form(&refresh))).await;
    let renewed = token(&answer);
    // Nor is it revoked by whoever found it.
    let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    let revoke = |certificate| {
        let form = [("token", refresh.as_str()), ("client_id", "native")];
        over(&world, certificate, post("/revoke", &form))
    };
    for certificate in [None, Some(shown("thief"))] {
        revoke(certificate)
            .await
            .assert_error(400, "invalid_request");
        assert!(world.is_active(&renewed).await);
    }
    assert_eq!(revoke(Some(shown("phone"))).await.status, 200);
    assert!(!world.is_active(&renewed).await);
}

#[tokio::test]
async fn a_bound_token_is_exchanged_over_a_connection_with_its_certificate_alone() {
    const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
    const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
    let folder = files();
    let config = with_mtls(&folder, |text| {
        text.replace("id: web,", &format!("id: web, {BOUND},"))
            .replace(
                "grant_types: [client_credentials], scope: orders:read orders:write,",
                "grant_types: [token_exchange], scope: orders:read, exchange: { audiences: \
             ['https://api.example/orders'], subject_clients: [web], subject_resources: \
             ['https://api.example/orders'] },",
            )
    });
    let world = World::with(config).await;
    let opaque = token(&tokens(&world, Some(shown("web"))).await);
    let form = [
        ("grant_type", GRANT),
        ("subject_token", opaque.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    let exchange = || as_client("svc", "/one/token", &form);
    for certificate in [None, Some(shown("svc"))] {
        let refused = over(&world, certificate, exchange()).await;
        refused.assert_error(400, "invalid_request");
    }
    token(&over(&world, Some(shown("web")), exchange()).await);
}
