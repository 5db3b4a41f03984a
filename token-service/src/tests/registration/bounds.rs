//! How much there may be of registered clients, for how long, and that a configuration which allows less
//! takes away what there is.

use std::sync::Arc;

use http::{Method, header};
use serde_json::{Value, json};

use super::{
    ONCE, TOKEN, authorize, path, register, registered, request, section, text, token, tokens, web,
    web_of_one, with, world,
};
use crate::tests::harness::{World, config};
use crate::tests::signer::Signer;

const DAY: u64 = 24 * 3600;

#[tokio::test]
async fn of_fifty_at_once_a_token_for_one_registers_one() {
    let world = Arc::new(world().await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let world = world.clone();
        tasks.spawn(async move { register(&world, Some(ONCE), &web_of_one()).await });
    }
    let answers = tasks.join_all().await;
    let count = |status: u16| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(201), count(429)), (1, 49));
}

#[tokio::test]
async fn there_are_never_more_than_may_be_and_who_goes_makes_room() {
    let world = world().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(registered(&world, &web()).await);
    }
    for _ in 0..10_000 {
        let answer = register(&world, Some(TOKEN), &web()).await;
        assert_eq!(answer.status, 429, "{}", answer.body);
        assert!(!answer.header(header::RETRY_AFTER).is_empty());
    }
    // Another token has its own count.
    assert_eq!(
        register(&world, Some(ONCE), &web_of_one()).await.status,
        201
    );
    let token = text(&clients[0], "registration_access_token");
    let ended = world
        .send(request(Method::DELETE, &path(&clients[0]), Some(token), ""))
        .await;
    assert_eq!(ended.status, 204, "{}", ended.body);
    registered(&world, &web()).await;
    assert_eq!(register(&world, Some(TOKEN), &web()).await.status, 429);
}

#[tokio::test]
async fn who_gets_no_token_for_long_is_forgotten_and_who_does_is_not() {
    let world = world().await;
    let idle = registered(&world, &web()).await;
    let busy = registered(&world, &web()).await;
    registered(&world, &web()).await;
    world.advance(60 * DAY);
    tokens(&world, &busy, "openid orders:read").await;
    world.advance(40 * DAY);
    // Forgotten as by everybody: pages, token endpoint, its own management.
    let page = world.get(&authorize(&idle, "openid")).await;
    assert_eq!(page.status, 400);
    let form = [("grant_type", "client_credentials")];
    token(&world, &idle, &form)
        .await
        .assert_error(401, "invalid_client");
    let own = text(&idle, "registration_access_token");
    let shown = world
        .send(request(Method::GET, &path(&idle), Some(own), ""))
        .await;
    shown.assert_error(401, "invalid_token");
    // Two have made room.
    tokens(&world, &busy, "openid orders:read").await;
    registered(&world, &web()).await;
    registered(&world, &web()).await;
    assert_eq!(register(&world, Some(TOKEN), &web()).await.status, 429);
}

#[tokio::test]
async fn anybody_may_register_only_where_that_is_said_and_not_too_often() {
    const OPEN: &str = "  open: { attempts: 6, bounds: { scope: orders:read, auth_methods: [none],
    redirect_hosts: [new.example], loopback_redirects: false } }";
    let world = World::with(with(OPEN)).await;
    let said = json!({ "redirect_uris": ["https://new.example/cb"], "token_endpoint_auth_method": "none" });
    let client = register(&world, None, &said).await;
    assert_eq!(client.status, 201, "{}", client.body);
    assert_eq!(client.json()["scope"], "orders:read");
    // A token that is wrong is not the same as none.
    register(&world, Some("wrong"), &said)
        .await
        .assert_error(401, "invalid_token");
    for (name, value, error) in [
        (
            "redirect_uris",
            json!(["https://old.example/cb"]),
            "invalid_redirect_uri",
        ),
        (
            "redirect_uris",
            json!(["http://127.0.0.1/cb"]),
            "invalid_redirect_uri",
        ),
        (
            "token_endpoint_auth_method",
            json!("client_secret_basic"),
            "invalid_client_metadata",
        ),
        (
            "grant_types",
            json!([
                "authorization_code",
                "urn:ietf:params:oauth:grant-type:device_code"
            ]),
            "invalid_client_metadata",
        ),
    ] {
        let mut said = said.clone();
        said[name] = value;
        let answer = register(&world, None, &said).await;
        answer.assert_error(400, error);
    }
    assert_eq!(register(&world, None, &said).await.status, 201);
    // Six attempts, whatever came of them; the wrong token was none.
    let answer = register(&world, None, &said).await;
    answer.assert_error(429, "temporarily_unavailable");
    assert_eq!(answer.header(header::RETRY_AFTER), "3600");
    // Who has a token does not wait for strangers.
    registered(&world, &web()).await;
}

#[tokio::test]
async fn a_client_that_does_not_say_how_it_authenticates_is_public_where_it_can_be_no_other() {
    let only = |methods: &'static str| {
        config(move |text| {
            let open = format!(
                "  open: {{ bounds: {{ scope: orders:read, auth_methods: [{methods}] }} }}"
            );
            text.replacen("clients:\n", &section(&open), 1)
        })
    };
    let said = json!({ "redirect_uris": ["https://new.example/cb"] });
    let mut with_keys = said.clone();
    with_keys["jwks"] = json!({ "keys": [Signer::new().jwk()] });
    let said_and_got = |methods: &'static str, said: Value| async move {
        let world = World::with(only(methods)).await;
        register(&world, None, &said).await
    };
    let public = said_and_got("none, private_key_jwt", said.clone()).await;
    assert_eq!(public.status, 201, "{}", public.body);
    let public = public.json();
    assert_eq!(public["token_endpoint_auth_method"], "none");
    assert!(public.get("client_secret").is_none(), "{public}");
    // RFC 7591 section 2: what saying nothing means, wherever it may be had.
    let secret = said_and_got("none, client_secret_basic", said.clone())
        .await
        .json();
    assert_eq!(secret["token_endpoint_auth_method"], "client_secret_basic");
    assert!(secret["client_secret"].is_string(), "{secret}");
    // Keys are there to be used, and nobody is made weaker than they may be.
    for (methods, said) in [
        ("none, private_key_jwt", with_keys),
        ("private_key_jwt", said),
    ] {
        said_and_got(methods, said)
            .await
            .assert_error(400, "invalid_client_metadata");
    }
}

#[tokio::test]
async fn what_is_allowed_less_later_is_had_less_by_those_who_are_there() {
    let before = world().await;
    let client = registered(&before, &web()).await;
    let tokens = tokens(&before, &client, "openid orders:read orders:write").await;
    let access = text(&tokens, "access_token");
    let scope = |answer: Value| answer["scope"].as_str().unwrap_or("none").to_owned();
    let seen = before.introspect("gw_orders", access).await.json();
    assert_eq!(scope(seen), "orders:read orders:write");

    let edit = |from: &'static str, to: &'static str| {
        config(move |text| text.replacen("clients:\n", &section("").replacen(from, to, 1), 1))
    };
    let own = Some(text(&client, "registration_access_token"));
    let narrower = before.restarted(edit(" orders:write", "")).await;
    let seen = narrower.introspect("gw_orders", access).await.json();
    assert_eq!(scope(seen), "orders:read");
    let shown = narrower
        .send(request(Method::GET, &path(&client), own, ""))
        .await;
    assert_eq!(shown.json()["scope"], "openid orders:read");

    for (from, to) in [
        // Nobody is let in by that name any more.
        ("name: partners", "name: friends"),
        ("clients: 3", "clients: 3, auth_methods: [private_key_jwt]"),
    ] {
        let gone = before.restarted(edit(from, to)).await;
        assert!(!gone.is_active(access).await, "{to}");
        let form = super::refresh(&tokens);
        token(&gone, &client, &form)
            .await
            .assert_error(401, "invalid_client");
    }
    let hosts = edit("clients: 3", "clients: 3, redirect_hosts: [other.example]");
    let elsewhere = before.restarted(hosts).await;
    assert_eq!(
        elsewhere.get(&authorize(&client, "openid")).await.status,
        400
    );
    // And without the section there is no registered client at all.
    let off = before.restarted(config(|text| text)).await;
    assert!(!off.is_active(access).await);

    let again = before.restarted(with("")).await;
    assert!(again.is_active(access).await);
}

#[tokio::test]
async fn a_disabled_client_has_nothing_and_cannot_change_that() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let tokens = tokens(&world, &client, "openid orders:read").await;
    let id = text(&client, "client_id").to_owned();
    let disabled = config(|text| {
        let more = format!("  disabled_clients: [{id}]");
        text.replacen("clients:\n", &section(&more), 1)
    });
    let world = world.restarted(disabled).await;
    assert!(!world.is_active(text(&tokens, "access_token")).await);
    token(&world, &client, &super::refresh(&tokens))
        .await
        .assert_error(401, "invalid_client");
    let own = Some(text(&client, "registration_access_token"));
    let mut said = web();
    said["client_id"] = json!(id);
    said["enabled"] = json!(true);
    said["disabled"] = json!(false);
    for (method, body) in [
        (Method::GET, String::new()),
        (Method::PUT, said.to_string()),
        (Method::DELETE, String::new()),
    ] {
        let answer = world
            .send(request(method, &path(&client), own, &body))
            .await;
        answer.assert_error(401, "invalid_token");
    }
}

#[test]
fn what_cannot_be_meant_is_said_at_the_start() {
    let text = "secret: 0123456789abcdef0123456789abcdef
registration:
  unused_days: 0
  secret_days: 9999
  initial_access_tokens:
    - { name: a, secret_hash: plain, until: tomorrow, bounds: { scope: '', clients: 0, grant_types: [token_exchange] } }
    - { name: a, secret_hash: 'sha256:x', bounds: { scope: 'a\\b', auth_methods: [], redirect_hosts: ['*.example'],
        id_token_signed_response_algs: [] } }
  open: { attempts: 0, window_secs: 0, bounds: { scope: x } }
clients:
  - { id: reg_AAAAAAAAAAAAAAAAAAAAAA, public: true, grant_types: [authorization_code], redirect_uris: ['https://x/'] }
users:
  - { username: a, sub: reg_AAAAAAAAAAAAAAAAAAAAAA, password_hash: x }
  - { username: b, sub: 'https://app.example/client', password_hash: x }
";
    let config = service_kit::config::parse(text, &service_kit::Variables::default()).unwrap();
    let issues = crate::TokenService::check(&config, std::path::Path::new("/nowhere"));
    let all: Vec<_> = issues.iter().map(ToString::to_string).collect();
    let all = all.join("\n");
    for place in [
        "registration.unused_days`",
        "registration.secret_days`",
        "registration.initial_access_tokens[0].secret_hash`",
        "registration.initial_access_tokens[0].until`",
        "registration.initial_access_tokens[0].bounds.scope`",
        "registration.initial_access_tokens[0].bounds.clients`",
        "registration.initial_access_tokens[0].bounds.grant_types`",
        "registration.initial_access_tokens[1].name`",
        "registration.initial_access_tokens[1].bounds.scope`",
        "registration.initial_access_tokens[1].bounds.auth_methods`",
        "registration.initial_access_tokens[1].bounds.redirect_hosts`",
        "registration.initial_access_tokens[1].bounds.id_token_signed_response_algs`",
        "registration.open.attempts`",
        "registration.open.window_secs`",
        "clients[0].id`",
        "users[0].sub`",
        "users[1].sub`",
    ] {
        assert!(all.contains(place), "{place} in\n{all}");
    }
    assert!(
        !all.contains("plain-") && !all.contains("tomorrow"),
        "{all}"
    );
}
