//! ID tokens, userinfo, and the documents by which clients find their way.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request, header};
use serde_json::json;

use super::harness::{
    Answer, Browser, ISSUER, ORDERS, World, authorize_uri, config, encode, query, refresh_form,
    verified,
};

async fn userinfo(world: &World, authorization: Option<&str>) -> Answer {
    let mut request = Request::get("/userinfo");
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_id_token_says_who_logged_in_when_and_for_whom() {
    let world = World::new().await;
    let tokens = world.tokens("openid orders:read").await;
    let claims = verified(&world, tokens["id_token"].as_str().unwrap(), "JWT", "web").await;
    let sid = claims["sid"].clone();
    let digest =
        service_kit::digest::sha256_base64url(tokens["access_token"].as_str().unwrap().as_bytes());
    let at_hash = URL_SAFE_NO_PAD.decode(digest).unwrap();
    let at_hash = URL_SAFE_NO_PAD.encode(&at_hash[..16]);
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "sub": "alice", "aud": "web", "nonce": "n-1", "amr": ["pwd"],
            "iat": 1_800_000_000, "exp": 1_800_000_600, "auth_time": 1_800_000_000,
            "sid": sid, "at_hash": at_hash,
        })
    );
    world.advance(100);
    let rt = tokens["refresh_token"].as_str().unwrap();
    let next = world.token("web", &refresh_form(rt)).await.json();
    let again = verified(&world, next["id_token"].as_str().unwrap(), "JWT", "web").await;
    for name in ["iss", "sub", "aud", "auth_time", "sid"] {
        assert_eq!(again[name], claims[name], "{name}");
    }
    assert!(again.get("nonce").is_none());
    assert!(world.tokens("orders:read").await.get("id_token").is_none());
}

#[tokio::test]
async fn userinfo_tells_what_the_scope_allows() {
    let world = World::new().await;
    for (scope, expected) in [
        ("openid", json!({ "sub": "alice" })),
        (
            "openid email",
            json!({ "sub": "alice", "email": "alice@example.com" }),
        ),
        (
            "openid profile",
            json!({ "sub": "alice", "name": "Alice Archer", "preferred_username": "alice" }),
        ),
    ] {
        let tokens = world.tokens(scope).await;
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        let answer = userinfo(&world, Some(&bearer)).await;
        assert_eq!(answer.json(), expected);
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    }
}

#[tokio::test]
async fn userinfo_challenges_as_bearer_tokens_want_it() {
    let world = World::new().await;
    let challenge = async |authorization: Option<&str>| {
        let answer = userinfo(&world, authorization).await;
        let text = answer.header(header::WWW_AUTHENTICATE).to_owned();
        (answer.status.as_u16(), text)
    };
    assert_eq!(
        challenge(None).await,
        (401, r#"Bearer realm="cedargate""#.to_owned())
    );
    let (status, text) = challenge(Some("Bearer nope")).await;
    assert_eq!(status, 401);
    assert!(text.contains(r#"error="invalid_token""#), "{text}");
    assert_eq!(challenge(Some("Bearer")).await.0, 400);

    let machine = world
        .token("svc", &[("grant_type", "client_credentials")])
        .await
        .json();
    let no_openid = world.tokens("orders:read").await;
    for tokens in [machine, no_openid] {
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        let (status, text) = challenge(Some(&bearer)).await;
        assert_eq!(status, 403);
        assert!(text.contains(r#"error="insufficient_scope""#), "{text}");
        assert!(text.contains(r#"scope="openid""#), "{text}");
    }
    // A token for orders alone is not for this service.
    let uri = authorize_uri(&[("resource", ORDERS)]);
    let code = query(&Browser::default().walk(&world, &uri, "alice").await)["code"].clone();
    let tokens = world.redeem("web", &code).await.json();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let (status, text) = challenge(Some(&bearer)).await;
    assert_eq!(status, 401);
    assert!(text.contains(r#"error="invalid_token""#), "{text}");
    // Never by the query.
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        world
            .get(&format!("/userinfo?access_token={token}"))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn userinfo_takes_a_token_from_a_form_and_from_one_place() {
    let world = World::new().await;
    let tokens = world.tokens("openid").await;
    let token = tokens["access_token"].as_str().unwrap();
    let post = async |header: Option<&str>, form: &[(&str, &str)]| {
        let mut request = Request::post("/userinfo")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(token) = header {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        world
            .send(request.body(Body::from(encode(form))).unwrap())
            .await
    };
    for (header, form) in [
        (None, &[("access_token", token)] as &[_]),
        (Some(token), &[]),
        (Some(token), &[("access_token", "")]),
    ] {
        let answer = post(header, form).await;
        assert_eq!(answer.json(), json!({ "sub": "alice" }));
    }
    let both = post(Some(token), &[("access_token", token)]).await;
    assert_eq!(both.status, 400);
    assert!(
        both.header(header::WWW_AUTHENTICATE)
            .contains("invalid_request")
    );
    assert_eq!(post(None, &[]).await.status, 401);
    assert_eq!(post(None, &[("access_token", "nope")]).await.status, 401);
    // Only a form is one.
    let plain = Request::post("/userinfo").body(Body::from(format!("access_token={token}")));
    assert_eq!(world.send(plain.unwrap()).await.status, 401);
}

#[tokio::test]
async fn both_metadata_documents_are_one_and_no_header_moves_the_issuer() {
    let world = World::new().await;
    let openid = world.get("/.well-known/openid-configuration").await;
    let document = openid.json();
    assert_eq!(document["issuer"], ISSUER);
    assert_eq!(document["token_endpoint"], "https://as.example/token");
    assert_eq!(
        document["code_challenge_methods_supported"],
        json!(["S256"])
    );
    assert_eq!(
        document["authorization_response_iss_parameter_supported"],
        true
    );
    let request = Request::get("/.well-known/oauth-authorization-server")
        .header(header::HOST, "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example;proto=http")
        .body(Body::empty())
        .unwrap();
    let oauth = world.send(request).await;
    assert_eq!(oauth.body, openid.body);
    assert!(!oauth.body.contains("evil"));
    // Every endpoint that it names is there.
    for (name, value) in document.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let path = value.as_str().unwrap().strip_prefix(ISSUER).unwrap();
            assert_ne!(world.get(path).await.status, 404, "{name}");
        }
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_has_its_documents_where_the_standards_put_them() {
    let tenant = config(|text| text.replace(ISSUER, "https://as.example/tenant"));
    let world = World::with(tenant).await;
    for path in [
        "/tenant/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/tenant",
    ] {
        let document = world.get(path).await.json();
        assert_eq!(document["issuer"], "https://as.example/tenant");
        assert_eq!(document["jwks_uri"], "https://as.example/tenant/jwks.json");
    }
    assert_eq!(world.get("/tenant/jwks.json").await.status, 200);
    assert_eq!(world.get("/jwks.json").await.status, 404);
    let page = world.get(&format!("/tenant{}", authorize_uri(&[]))).await;
    assert!(page.body.contains("action=\"/tenant/login\""));
}

#[tokio::test]
async fn scripts_of_other_origins_may_call_what_looks_at_no_cookie() {
    let world = World::new().await;
    let preflight = async |path: &str| {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri(path)
            .header(header::ORIGIN, "https://spa.example")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
        world.send(request.body(Body::empty()).unwrap()).await
    };
    for path in ["/token", "/revoke", "/userinfo", "/jwks.json"] {
        let answer = preflight(path).await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
        assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "");
    }
    for path in ["/authorize", "/login", "/consent", "/introspect"] {
        let answer = preflight(path).await;
        assert_eq!(
            answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN),
            "",
            "{path}"
        );
    }
}

#[tokio::test]
async fn published_keys_have_no_private_member_and_may_be_kept_for_a_while() {
    let world = World::new().await;
    let answer = world.get("/jwks.json").await;
    assert_eq!(answer.header(header::CACHE_CONTROL), "public, max-age=300");
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    // The order of members depends on what else is built beside this crate.
    let mut names: Vec<&String> = keys[0].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
}

#[tokio::test]
async fn a_login_is_called_what_is_configured_and_asked_for_again_by_that_name() {
    let named = config(|text| format!("login: {{ acr: 'urn:example:password' }}\n{text}"));
    let plain = World::new().await;
    let mut browser = Browser::default();
    let uri = authorize_uri(&[
        ("scope", "openid orders:read"),
        ("acr_values", "urn:example:password x"),
    ]);
    // Nobody can be logged in by that name here: the client gets what there is, and no word of it.
    let code = query(&browser.walk(&plain, &uri, "alice").await)["code"].clone();
    let tokens = plain.redeem("web", &code).await.json();
    let id_token = verified(&plain, tokens["id_token"].as_str().unwrap(), "JWT", "web").await;
    assert_eq!(id_token.get("acr"), None);

    // The same browser, where logins have a name: the old one has none.
    let world = plain.restarted(named).await;
    let page = browser.get(&world, &uri).await;
    assert!(page.body.contains("name=\"password\""), "{}", page.body);
    let code = query(&browser.walk(&world, &uri, "alice").await)["code"].clone();
    let tokens = world.redeem("web", &code).await.json();
    let id_token = verified(&world, tokens["id_token"].as_str().unwrap(), "JWT", "web").await;
    assert_eq!(id_token["acr"], "urn:example:password");
    let told = world
        .introspect("gw_orders", tokens["access_token"].as_str().unwrap())
        .await;
    assert_eq!(told.json()["acr"], "urn:example:password");
    // Now the name is there, and one that nobody has is no reason to ask.
    for acr in ["urn:example:password", "urn:example:hardware"] {
        let uri = authorize_uri(&[
            ("prompt", "none"),
            ("scope", "openid orders:read"),
            ("acr_values", acr),
        ]);
        let target = browser.get(&world, &uri).await.location().to_owned();
        assert!(query(&target).contains_key("code"), "{target}");
    }
    let metadata = world.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["acr_values_supported"],
        serde_json::json!(["urn:example:password"])
    );
}

#[tokio::test]
async fn a_login_hint_is_typed_in_already_and_cannot_break_out() {
    let world = World::new().await;
    let uri = authorize_uri(&[("login_hint", "al\"><b>ice")]);
    let page = Browser::default().get(&world, &uri).await;
    assert!(
        page.body.contains("value=\"al&quot;&gt;&lt;b&gt;ice\""),
        "{}",
        page.body
    );
    let uri = authorize_uri(&[("login_hint", &"x".repeat(300))]);
    let page = Browser::default().get(&world, &uri).await;
    assert!(page.status == 200 && !page.body.contains("xxx"));
}
