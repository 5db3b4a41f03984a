//! What strangers try when they register: redirects that are not theirs, names that lie, bodies that hurt.

use http::{Method, header};
use serde_json::{Value, json};

use super::{
    NEW_CALLBACK, TOKEN, authorize, register, registered, request, text, web, with, world,
};
use crate::tests::harness::{CALLBACK, World};
use crate::tests::secrecy;
use crate::tests::signer::Signer;

/// Sends `web` with one member changed.
async fn refused(world: &World, name: &str, value: Value, error: &str) {
    let mut said = web();
    said[name] = value.clone();
    let answer = register(world, Some(TOKEN), &said).await;
    assert_eq!(answer.status, 400, "{name} {value}: {}", answer.body);
    answer.assert_error(400, error);
    // Nothing of what was sent comes back.
    assert!(!answer.body.contains("evil"), "{}", answer.body);
}

#[tokio::test]
async fn no_redirect_uri_leads_into_a_script_or_to_somebody_else() {
    let world = world().await;
    for uri in [
        "javascript:alert(1)",
        "javascript://evil.example/%0aalert(1)",
        "data:text/html,<script>evil</script>",
        "vbscript:evil",
        "file:///etc/passwd",
        "blob:https://evil.example/x",
        "about:blank",
        "http://evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "https://evil.example/cb#fragment",
        "https://*.evil.example/cb",
        "https://evil.example/*",
        "https://user:pass@evil.example/cb",
        "https://evil.example/c b",
        "https://\u{435}vil.example/cb",
        "//evil.example/cb",
        "/cb",
        "",
        // An app's own scheme is allowed nowhere here.
        "com.evil.app:/cb",
        // The redirect URI of a client of the configuration.
        CALLBACK,
        "https://other.example/cb",
    ] {
        for (name, uris) in [
            ("redirect_uris", json!([uri])),
            ("redirect_uris", json!([NEW_CALLBACK, uri])),
            ("post_logout_redirect_uris", json!([uri])),
        ] {
            refused(&world, name, uris, "invalid_redirect_uri").await;
        }
    }
}

#[tokio::test]
async fn redirect_uris_are_few_and_short_and_fit_what_the_application_is() {
    let world = world().await;
    let many: Vec<_> = (0..11)
        .map(|n| format!("https://evil.example/{n}"))
        .collect();
    refused(&world, "redirect_uris", json!(many), "invalid_redirect_uri").await;
    let long = format!("https://evil.example/{}", "x".repeat(2000));
    refused(
        &world,
        "redirect_uris",
        json!([long]),
        "invalid_redirect_uri",
    )
    .await;
    refused(&world, "redirect_uris", json!([]), "invalid_redirect_uri").await;
    let mut said = web();
    said["application_type"] = json!("web");
    said["redirect_uris"] = json!(["http://localhost/cb"]);
    register(&world, Some(TOKEN), &said)
        .await
        .assert_error(400, "invalid_redirect_uri");
    // Loopback is everybody's.
    said["application_type"] = json!("native");
    said["redirect_uris"] = json!(["http://127.0.0.1/cb"]);
    registered(&world, &said).await;
}

#[tokio::test]
async fn a_redirect_uri_is_compared_exactly_for_registered_clients_too() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let good = authorize(&client, "openid");
    assert_eq!(world.get(&good).await.status, 200);
    let exact = "new.example%2Fcb";
    assert!(good.contains(exact));
    for other in [
        "new.example%2Fcb%2F",
        "new.example%2Fcb%3Fx",
        "new.example%2FCB",
        "evil.example%2Fcb",
    ] {
        assert_eq!(
            world.get(&good.replace(exact, other)).await.status,
            400,
            "{other}"
        );
    }
}

#[tokio::test]
async fn what_a_client_cannot_be_is_refused_in_the_words_of_the_rfc() {
    let world = world().await;
    let mut private = Signer::new().jwk();
    private["d"] = json!("AAAA");
    for (name, value) in [
        ("grant_types", json!(["implicit"])),
        ("grant_types", json!(["password"])),
        (
            "grant_types",
            json!([
                "authorization_code",
                "urn:ietf:params:oauth:grant-type:token-exchange"
            ]),
        ),
        ("grant_types", json!([])),
        ("grant_types", json!("authorization_code")),
        ("response_types", json!(["code", "token"])),
        ("response_types", json!(["id_token"])),
        ("response_types", json!([])),
        ("token_endpoint_auth_method", json!("tls_client_auth")),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
        ("jwks", json!({ "keys": [] })),
        ("jwks", json!({ "keys": [private] })),
        ("jwks", json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] })),
        ("jwks", json!("evil")),
        ("jwks_uri", json!("http://169.254.169.254/evil")),
        ("jwks_uri", json!("https://evil.example/jwks")),
        ("scope", json!("admin root")),
        ("scope", json!("a\"b")),
        ("scope", json!(["openid"])),
        ("id_token_signed_response_alg", json!("none")),
        ("id_token_signed_response_alg", json!("HS256")),
        ("id_token_signed_response_alg", json!("PS256")),
    ] {
        refused(&world, name, value, "invalid_client_metadata").await;
    }
    for said in [
        json!({ "grant_types": ["client_credentials"], "token_endpoint_auth_method": "none" }),
        json!({ "grant_types": ["refresh_token"] }),
    ] {
        let answer = register(&world, Some(TOKEN), &said).await;
        answer.assert_error(400, "invalid_client_metadata");
    }
}

#[tokio::test]
async fn what_a_client_says_of_itself_cannot_lie_or_lead_inside() {
    let world = world().await;
    for (name, value) in [
        ("application_type", json!("evil")),
        ("client_uri", json!("javascript:evil()")),
        ("logo_uri", json!("data:image/svg+xml,evil")),
        ("policy_uri", json!("https://u:p@evil.example/")),
        ("contacts", json!(["evil\nBcc: all"])),
        ("software_id", json!("x".repeat(256))),
        ("dpop_bound_access_tokens", json!("yes")),
        ("backchannel_logout_uri", json!("http://evil.example/bye")),
        (
            "backchannel_logout_uri",
            json!("https://169.254.169.254/latest/evil"),
        ),
        (
            "backchannel_logout_uri",
            json!("https://[::ffff:127.0.0.1]/"),
        ),
        ("backchannel_logout_uri", json!("https://localhost/bye")),
        ("backchannel_logout_uri", json!("http://127.0.0.1/bye")),
        ("client_name", json!("")),
        ("client_name", json!("x".repeat(65))),
        ("client_name", json!("evil\u{202e}txt")),
        ("client_name", json!("evil\u{0}")),
        ("client_name", json!("evil\r\nSet-Cookie: a=b")),
        ("client_name", json!("\u{435}vil bank")),
        // What the configured client `web` is called, in other letters.
        ("client_name", json!("The <W\u{435}b> Shop")),
        ("client_name", json!("the web shop")),
        ("client_name", json!("SVC")),
    ] {
        refused(&world, name, value, "invalid_client_metadata").await;
    }
}

#[tokio::test]
async fn bodies_are_json_of_bounded_size_without_two_readings() {
    let world = world().await;
    let long = json!({ "redirect_uris": [NEW_CALLBACK], "x": "x".repeat(1 << 20) }).to_string();
    let answer = world
        .send(request(Method::POST, "/register", Some(TOKEN), &long))
        .await;
    assert_eq!(answer.status, 413);
    // A stranger's is not even read.
    let answer = world
        .send(request(Method::POST, "/register", None, &long))
        .await;
    assert_eq!(answer.status, 401);
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    for body in [
        "",
        "[]",
        "null",
        "{",
        "{} {}",
        "redirect_uris=x",
        r#"{"redirect_uris":["https://new.example/cb"],"redirect_uris":["https://evil.example/cb"]}"#,
        r#"{"scope":"openid","\u0073cope":"orders:write"}"#,
        deep.as_str(),
    ] {
        let answer = world
            .send(request(Method::POST, "/register", Some(TOKEN), body))
            .await;
        answer.assert_error(400, "invalid_client_metadata");
    }
    // What a form of somebody's page can send is refused.
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let mut form = request(Method::POST, "/register", Some(TOKEN), &web().to_string());
        form.headers_mut()
            .insert(header::CONTENT_TYPE, media.parse().unwrap());
        world
            .send(form)
            .await
            .assert_error(400, "invalid_client_metadata");
    }
}

#[tokio::test]
async fn an_apps_own_scheme_is_taken_only_where_it_is_allowed_and_nobody_has_it() {
    const OPEN: &str = "  open: { bounds: { scope: orders:read, private_use_redirects: true } }";
    let world = World::with(with(OPEN)).await;
    let said = |uri: &str| json!({ "redirect_uris": [uri], "token_endpoint_auth_method": "none" });
    let client = register(&world, None, &said("com.example.notes:/cb")).await;
    assert_eq!(
        client.json()["application_type"],
        "native",
        "{}",
        client.body
    );
    let mail = register(&world, None, &said("mailto:evil@example.com")).await;
    mail.assert_error(400, "invalid_redirect_uri");
}

#[tokio::test]
async fn no_secret_of_a_registration_is_in_the_store_or_in_what_is_logged() {
    let (log, _guards) = secrecy::listen();
    let world = world().await;
    let client = registered(&world, &web()).await;
    super::tokens(&world, &client, "openid orders:read").await;
    let kept = secrecy::at_rest(&world).await;
    assert!(kept.contains(text(&client, "client_id")));
    for secret in [
        TOKEN,
        text(&client, "client_secret"),
        text(&client, "registration_access_token"),
    ] {
        assert!(!kept.contains(secret), "in the store");
        assert!(!log.text().contains(secret), "in the log");
    }
    assert!(log.text().contains("client_registered"));
}
