//! The token endpoint: what is issued for what, and every way of not getting it.

use axum::body::Body;
use http::{Request, header};
use serde_json::json;

use super::harness::{
    BILLING, Browser, CALLBACK, ORDERS, VERIFIER, World, as_client, authorize_uri, basic,
    code_form, config, encode, query, refresh_form,
};

#[tokio::test]
async fn a_code_buys_tokens_once_and_its_replay_kills_the_family() {
    let world = World::new().await;
    let code = world.code("web", "openid orders:read").await;
    let answer = world.redeem("web", &code).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(answer.header(header::PRAGMA), "no-cache");
    let tokens = answer.json();
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 900);
    assert_eq!(tokens["scope"], "openid orders:read");
    let access = tokens["access_token"].as_str().unwrap();
    assert!(access.starts_with("cg_at_"));
    assert!(world.is_active(access).await);

    world
        .redeem("web", &code)
        .await
        .assert_error(400, "invalid_grant");
    assert!(!world.is_active(access).await);
    let refresh = tokens["refresh_token"].as_str().unwrap();
    world
        .token("web", &refresh_form(refresh))
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_code_is_good_only_for_its_client_its_redirect_uri_and_its_verifier() {
    let world = World::new().await;
    let code = world.code("web", "orders:read").await;
    // Another client gets nothing, and burns nothing.
    world
        .redeem("other", &code)
        .await
        .assert_error(400, "invalid_grant");
    let no_verifier = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
    ];
    world
        .token("web", &no_verifier)
        .await
        .assert_error(400, "invalid_grant");
    let no_uri = [no_verifier[0], no_verifier[1], ("code_verifier", VERIFIER)];
    world
        .token("web", &no_uri)
        .await
        .assert_error(400, "invalid_request");
    assert_eq!(world.redeem("web", &code).await.status, 200);

    let other_verifier = "a".repeat(43);
    for (name, value) in [
        ("redirect_uri", "https://app.example/other"),
        ("redirect_uri", "https://app.example/cb/"),
        ("code_verifier", other_verifier.as_str()),
    ] {
        let code = world.code("web", "orders:read").await;
        let form: Vec<_> = code_form(&code)
            .into_iter()
            .map(|(n, v)| (n, if n == name { value } else { v }))
            .collect();
        world
            .token("web", &form)
            .await
            .assert_error(400, "invalid_grant");
        // Whoever held it has shown that it leaked: it is burnt.
        world
            .redeem("web", &code)
            .await
            .assert_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn an_expired_code_is_refused() {
    let world = World::new().await;
    let code = world.code("web", "orders:read").await;
    world.advance(60);
    world
        .redeem("web", &code)
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_client_on_its_own_behalf_gets_no_refresh_token() {
    let world = World::new().await;
    let answer = world
        .token("svc", &[("grant_type", "client_credentials")])
        .await
        .json();
    assert_eq!(answer["scope"], "orders:read orders:write");
    assert!(answer.get("refresh_token").is_none());
    assert!(answer.get("id_token").is_none());
    let facts = world
        .introspect("gw_orders", answer["access_token"].as_str().unwrap())
        .await;
    assert_eq!(facts.json()["sub"], "svc");
    assert!(facts.json().get("username").is_none());
    let asked = world.decisions.asked.lock().unwrap();
    let question = asked.first().unwrap();
    assert_eq!(question.subject.kind, "Client");
    assert_eq!(question.subject.properties["tier"], "gold");
    assert_eq!(question.action.name, "grant_scope");
    assert_eq!(
        (
            question.resource.kind.as_str(),
            question.resource.id.as_str()
        ),
        ("Scope", "orders:read")
    );
    assert_eq!(
        json!(question.context),
        json!({ "client_id": "svc", "grant_type": "client_credentials", "moment": "issue" })
    );
}

#[tokio::test]
async fn scope_is_what_client_and_decision_point_allow() {
    let world = World::new().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "orders:read orders:write admin"),
    ];
    world.decisions.deny("orders:write");
    let answer = world.token("svc", &form).await;
    assert_eq!(answer.json()["scope"], "orders:read");
    // A permit with an obligation that nobody here can fulfil is a deny.
    world.decisions.oblige("orders:read");
    world
        .token("svc", &form)
        .await
        .assert_error(400, "invalid_scope");
    let foreign = [("grant_type", "client_credentials"), ("scope", "admin")];
    world
        .token("svc", &foreign)
        .await
        .assert_error(400, "invalid_scope");
    let openid = [("grant_type", "client_credentials"), ("scope", "openid")];
    world
        .token("other", &openid)
        .await
        .assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn resources_are_known_and_never_more_than_granted() {
    let world = World::new().await;
    let with = |resource| [("grant_type", "client_credentials"), ("resource", resource)];
    world
        .token("svc", &with("https://api.example/nope"))
        .await
        .assert_error(400, "invalid_target");
    let token = world.token("svc", &with(ORDERS)).await.json()["access_token"].clone();
    assert!(world.is_active(token.as_str().unwrap()).await);

    let uri = authorize_uri(&[("resource", ORDERS), ("scope", "orders:read billing:read")]);
    let target = Browser::default().walk(&world, &uri, "alice").await;
    let code = query(&target)["code"].clone();
    let mut form = code_form(&code).to_vec();
    form.push(("resource", BILLING));
    world
        .token("web", &form)
        .await
        .assert_error(400, "invalid_target");
    let tokens = world.redeem("web", &code).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    assert!(world.is_active(access).await);
    let elsewhere = world.introspect("gw_billing", access).await;
    assert_eq!(elsewhere.body, r#"{"active":false}"#);
}

#[tokio::test]
async fn a_client_proves_who_it_is_in_exactly_one_way() {
    let world = World::new().await;
    let grant = ("grant_type", "client_credentials");
    let posted = [grant, ("client_id", "svc"), ("client_secret", "svc-secret")];
    let check = async |authorization: Option<String>, form: &[(&str, &str)]| {
        let mut request = Request::post("/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        world
            .send(request.body(Body::from(encode(form))).unwrap())
            .await
    };
    assert_eq!(check(None, &posted).await.status, 200);
    let good = || Some(basic("svc", "svc-secret"));
    check(good(), &posted)
        .await
        .assert_error(400, "invalid_request");
    check(good(), &[grant, ("client_assertion", "x")])
        .await
        .assert_error(400, "invalid_request");
    check(good(), &[grant, ("client_id", "web")])
        .await
        .assert_error(400, "invalid_request");
    assert_eq!(
        check(good(), &[grant, ("client_id", "svc")]).await.status,
        200
    );
    // Form-encoded halves, as RFC 6749 wants them.
    assert_eq!(
        check(Some(basic("s%76c", "svc%2Dsecret")), &[grant])
            .await
            .status,
        200
    );
    for (authorization, form) in [
        (Some(basic("svc", "wrong")), vec![grant]),
        (Some(basic("nobody", "svc-secret")), vec![grant]),
        (Some(basic("native", "")), vec![grant]),
        (Some("Bearer x".into()), vec![grant]),
        (None, vec![grant]),
        (None, vec![grant, ("client_id", "svc")]),
        (
            None,
            vec![grant, ("client_id", "native"), ("client_secret", "x")],
        ),
        (
            None,
            vec![grant, ("client_id", "svc"), ("client_assertion", "x")],
        ),
    ] {
        let answer = check(authorization, &form).await;
        answer.assert_error(401, "invalid_client");
        assert!(answer.header(header::WWW_AUTHENTICATE).starts_with("Basic"));
    }
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_an_unknown_parameter_is_not() {
    let world = World::new().await;
    for grant_type in [
        "password",
        "implicit",
        "unknown",
        "urn:ietf:params:oauth:grant-type:x",
    ] {
        let answer = world.token("svc", &[("grant_type", grant_type)]).await;
        answer.assert_error(400, "unsupported_grant_type");
    }
    let grant = ("grant_type", "client_credentials");
    world
        .token("svc", &[grant, grant])
        .await
        .assert_error(400, "invalid_request");
    world
        .token("svc", &[])
        .await
        .assert_error(400, "invalid_request");
    world
        .token("svc", &[("grant_type", "")])
        .await
        .assert_error(400, "invalid_request");
    world
        .token("web", &[grant])
        .await
        .assert_error(400, "unauthorized_client");
    let empty = [code_form("x")[0], ("code", "x"), ("code_verifier", "")];
    world
        .token("web", &empty)
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(
        world.token("svc", &[grant, ("foo", "bar")]).await.status,
        200
    );
    let in_query = world.post_as("svc", "/token?x=1", &[grant]).await;
    in_query.assert_error(400, "invalid_request");
    let long = "x".repeat(70_000);
    assert_eq!(world.token("svc", &[grant, ("x", &long)]).await.status, 413);

    let get = world.get("/token").await;
    assert_eq!(get.status, 405);
    assert!(get.header(header::ALLOW).contains("POST"));
}

#[tokio::test]
async fn a_native_app_redeems_without_a_secret_on_any_loopback_port() {
    let world = World::new().await;
    let code = world.code("native", "openid orders:read").await;
    let form = [
        ("client_id", "native"),
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "http://127.0.0.1:51789/cb"),
        ("code_verifier", VERIFIER),
    ];
    let request = Request::post("/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encode(&form)))
        .unwrap();
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.json()["refresh_token"].is_string());
}

#[tokio::test]
async fn a_disabled_user_gets_nothing_by_any_path_and_keeps_nothing() {
    let world = World::new().await;
    let tokens = world.tokens("orders:read").await;
    let code = world.code("web", "orders:read").await;
    let start = world.store_tail().await;
    let disabled =
        config(|text| text.replace("{ username: alice,", "{ username: alice, disabled: true,"));
    let world = world.restarted(disabled).await;
    assert_eq!(
        world.events(&start).await,
        [json!({ "kind": "registry_changed" })]
    );
    world
        .redeem("web", &code)
        .await
        .assert_error(400, "invalid_grant");
    let rt = tokens["refresh_token"].as_str().unwrap();
    world
        .token("web", &refresh_form(rt))
        .await
        .assert_error(400, "invalid_grant");
    assert!(
        !world
            .is_active(tokens["access_token"].as_str().unwrap())
            .await
    );
    let mut browser = Browser::default();
    let page = browser.get(&world, &authorize_uri(&[])).await;
    let answer = browser.log_in(&world, &page, "alice").await;
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("not right"));
}

#[tokio::test]
async fn a_disabled_client_gets_nothing_and_its_tokens_are_dead() {
    let world = World::new().await;
    let tokens = world.tokens("orders:read").await;
    let disabled = config(|text| text.replace("{ id: web,", "{ id: web, disabled: true,"));
    world
        .service
        .reload(&disabled, std::path::Path::new("."))
        .await
        .unwrap();
    assert!(
        !world
            .is_active(tokens["access_token"].as_str().unwrap())
            .await
    );
    let rt = tokens["refresh_token"].as_str().unwrap();
    world
        .token("web", &refresh_form(rt))
        .await
        .assert_error(401, "invalid_client");
    let page = world.get(&authorize_uri(&[])).await;
    assert_eq!(page.status, 400);
    assert_eq!(page.location(), "");
}

#[tokio::test]
async fn the_redirect_uri_may_be_left_out_where_there_is_only_one() {
    let world = World::new().await;
    let uri = authorize_uri(&[("client_id", "other"), ("scope", "orders:read")]);
    let uri = uri.replace("&redirect_uri=https%3A%2F%2Fother.example%2Fcb", "");
    let target = Browser::default().walk(&world, &uri, "alice").await;
    assert!(
        target.starts_with("https://other.example/cb?code="),
        "{target}"
    );
    let code = query(&target)["code"].clone();
    let form = [
        code_form(&code)[0],
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(world.token("other", &form).await.status, 200);
    assert_ne!(CALLBACK, "https://other.example/cb");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let world = World::new().await;
    let mut request = as_client("svc", "/token", &[]);
    let never = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    *request.body_mut() = Body::from_stream(never);
    tokio::time::pause();
    let answer = world.send(request).await;
    answer.assert_error(408, "invalid_request");
}
