//! What a registered client may do with itself (RFC 7592), and that it takes effect at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use http::{Method, Request, header};
use serde_json::{Value, json};

use super::{
    NEW_CALLBACK, TOKEN, authorize, path, refresh, register, registered, request, text, token,
    tokens, web, with, world,
};
use crate::tests::harness::{Answer, Browser, World, encode, query};

async fn send(world: &World, method: Method, client: &Value, body: &Value) -> Answer {
    let own = text(client, "registration_access_token");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    world
        .send(request(method, &path(client), Some(own), &body))
        .await
}

async fn get(world: &World, client: &Value) -> Answer {
    send(world, Method::GET, client, &Value::Null).await
}

/// `web` with changes, as the client itself sends it.
fn update(client: &Value, changes: &[(&str, Value)]) -> Value {
    let mut said = web();
    said["client_id"] = client["client_id"].clone();
    for (name, value) in changes {
        said[*name] = value.clone();
    }
    said
}

async fn put(world: &World, client: &Value, changes: &[(&str, Value)]) -> Answer {
    send(world, Method::PUT, client, &update(client, changes)).await
}

async fn scope_of(world: &World, token: &str) -> Value {
    world.introspect("gw_orders", token).await.json()["scope"].clone()
}

#[tokio::test]
async fn a_client_looks_at_itself_changes_itself_and_ends_itself() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let shown = get(&world, &client).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert_eq!(shown.header(header::CACHE_CONTROL), "no-store");
    let mut expected = client.clone();
    // Only its hash is kept.
    expected.as_object_mut().unwrap().remove("client_secret");
    assert_eq!(shown.json(), expected);

    let changes = [
        ("client_name", json!("Renamed")),
        ("scope", json!("openid")),
    ];
    let changed = put(&world, &client, &changes).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let changed = changed.json();
    assert_eq!(
        (&changed["client_name"], &changed["scope"]),
        (&json!("Renamed"), &json!("openid"))
    );
    assert_eq!(changed["client_id"], client["client_id"]);
    // What is left out is left out, and not as before (RFC 7592 section 2.2).
    assert!(changed.get("client_secret").is_none());
    // The token was good for one update, and the next is in the answer.
    assert_ne!(
        changed["registration_access_token"],
        client["registration_access_token"]
    );
    get(&world, &client)
        .await
        .assert_error(401, "invalid_token");
    put(&world, &client, &[])
        .await
        .assert_error(401, "invalid_token");
    assert_eq!(get(&world, &changed).await.status, 200);

    let ended = send(&world, Method::DELETE, &changed, &Value::Null).await;
    assert_eq!((ended.status.as_u16(), ended.body.as_str()), (204, ""));
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = send(&world, method, &changed, &update(&client, &[])).await;
        answer.assert_error(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_registration_access_token_is_for_its_own_client_and_for_nothing_else() {
    let world = world().await;
    let mine = registered(&world, &web()).await;
    let other = registered(&world, &web()).await;
    let tokens = tokens(&world, &mine, "openid orders:read").await;
    let own = text(&mine, "registration_access_token");
    for (at, shown) in [
        (path(&other), own),
        ("/register/web".into(), own),
        ("/register/reg_AAAAAAAAAAAAAAAAAAAAAA".into(), own),
        ("/register/reg_%00".into(), own),
        (path(&mine), TOKEN),
        (path(&mine), text(&tokens, "access_token")),
        (path(&mine), text(&tokens, "refresh_token")),
        (path(&mine), text(&mine, "client_secret")),
        (path(&mine), ""),
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let body = update(&other, &[]).to_string();
            let answer = world.send(request(method, &at, Some(shown), &body)).await;
            answer.assert_error(401, "invalid_token");
        }
    }
    let bare = world
        .send(request(Method::GET, &path(&mine), None, ""))
        .await;
    assert_eq!(bare.status, 401);
    assert_eq!(
        bare.header(header::WWW_AUTHENTICATE),
        "Bearer realm=\"cedargate\""
    );
    // Elsewhere it is no token at all.
    assert!(!world.is_active(own).await);
    let userinfo = Request::get("/userinfo").header(header::AUTHORIZATION, format!("Bearer {own}"));
    let userinfo = world
        .send(userinfo.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(userinfo.status, 401);
    let form = [("grant_type", "refresh_token"), ("refresh_token", own)];
    token(&world, &mine, &form)
        .await
        .assert_error(400, "invalid_grant");
    assert_eq!(get(&world, &mine).await.status, 200);
}

#[tokio::test]
async fn an_update_is_checked_as_a_registration_is() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    for (name, value, error) in [
        (
            "redirect_uris",
            json!(["javascript:alert(1)"]),
            "invalid_redirect_uri",
        ),
        (
            "redirect_uris",
            json!(["https://app.example/cb"]),
            "invalid_redirect_uri",
        ),
        ("redirect_uris", json!([]), "invalid_redirect_uri"),
        ("scope", json!("admin"), "invalid_client_metadata"),
        (
            "grant_types",
            json!(["implicit"]),
            "invalid_client_metadata",
        ),
        (
            "client_name",
            json!("The W\u{435}b Shop"),
            "invalid_client_metadata",
        ),
        (
            "backchannel_logout_uri",
            json!("https://10.0.0.1/"),
            "invalid_client_metadata",
        ),
        (
            "jwks_uri",
            json!("https://evil.example/"),
            "invalid_client_metadata",
        ),
        ("client_id", json!("web"), "invalid_client_metadata"),
        ("client_id", Value::Null, "invalid_client_metadata"),
        ("client_secret", json!("chosen"), "invalid_client_metadata"),
        ("client_secret", json!(1), "invalid_client_metadata"),
    ] {
        put(&world, &client, &[(name, value)])
            .await
            .assert_error(400, error);
    }
    // A refused one changes nothing, the token included.
    assert_eq!(get(&world, &client).await.json()["scope"], client["scope"]);
    // More scope than may be had is cut, whoever had let it in.
    let wider = put(
        &world,
        &client,
        &[("scope", json!("openid orders:read billing:read admin"))],
    )
    .await;
    assert_eq!(wider.json()["scope"], "openid orders:read");
    // Its own secret it may repeat.
    let again = [("client_secret", client["client_secret"].clone())];
    assert_eq!(put(&world, &wider.json(), &again).await.status, 200);
}

#[tokio::test]
async fn of_fifty_updates_at_once_one_is_made() {
    let world = Arc::new(World::with(with("")).await);
    let client = registered(&world, &web()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let (world, client) = (world.clone(), client.clone());
        tasks.spawn(async move {
            put(&world, &client, &[("client_name", json!(format!("N {n}")))]).await
        });
    }
    let answers = tasks.join_all().await;
    let made: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert_eq!(made.len(), 1);
    let [made] = made.as_slice() else { return };
    let shown = get(&world, &made.json()).await.json();
    assert_eq!(shown["client_name"], made.json()["client_name"]);
    assert!(
        answers
            .iter()
            .all(|answer| [200, 401, 429].contains(&answer.status.as_u16()))
    );
}

#[tokio::test]
async fn less_scope_is_less_at_once_also_for_tokens_that_are_out() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let tokens = tokens(&world, &client, "openid orders:read orders:write").await;
    let access = text(&tokens, "access_token");
    assert_eq!(scope_of(&world, access).await, "orders:read orders:write");
    let since = world.store_tail().await;
    let changed = put(&world, &client, &[("scope", json!("openid orders:read"))])
        .await
        .json();
    assert_eq!(scope_of(&world, access).await, "orders:read");
    assert_eq!(
        world.events(&since).await,
        [json!({ "kind": "registry_changed" })]
    );
    let refreshed = token(&world, &client, &refresh(&tokens)).await.json();
    assert_eq!(refreshed["scope"], "openid orders:read");
    // More again: what a person has approved and the client may have once more.
    let since = world.store_tail().await;
    let wider = [("scope", json!("openid orders:read orders:write"))];
    assert_eq!(put(&world, &changed, &wider).await.status, 200);
    assert_eq!(world.events(&since).await, [json!(null); 0]);
    assert_eq!(scope_of(&world, access).await, "orders:read orders:write");
    // A new scope that nobody has approved is none of the grant's.
    let form = [
        refresh(&refreshed)[0],
        refresh(&refreshed)[1],
        ("scope", "openid profile"),
    ];
    token(&world, &client, &form)
        .await
        .assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn the_end_of_a_client_is_the_end_of_all_that_it_has() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let unused = registered(&world, &web()).await;
    let tokens = tokens(&world, &client, "openid orders:read offline_access").await;
    let pending = Browser::default()
        .walk(&world, &authorize(&client, "openid orders:read"), "alice")
        .await;
    let access = text(&tokens, "access_token");
    assert!(world.is_active(access).await);

    let since = world.store_tail().await;
    assert_eq!(
        send(&world, Method::DELETE, &client, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        world.events(&since).await,
        [json!({ "kind": "client_ended", "client_id": client["client_id"] })]
    );
    assert!(!world.is_active(access).await);
    token(&world, &client, &refresh(&tokens))
        .await
        .assert_error(401, "invalid_client");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &query(&pending)["code"]),
    ];
    token(&world, &client, &form)
        .await
        .assert_error(401, "invalid_client");
    assert_eq!(world.get(&authorize(&client, "openid")).await.status, 400);
    let userinfo =
        Request::get("/userinfo").header(header::AUTHORIZATION, format!("Bearer {access}"));
    let userinfo = world
        .send(userinfo.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!(userinfo.status, 401);

    // Of one that never got a token no gateway knows anything, so that nobody is told.
    let since = world.store_tail().await;
    assert_eq!(
        send(&world, Method::DELETE, &unused, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(world.events(&since).await, [json!(null); 0]);
}

#[tokio::test]
async fn a_redirect_uri_that_goes_while_a_person_thinks_gets_no_code() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let mut browser = Browser::default();
    let page = browser
        .get(&world, &authorize(&client, "openid orders:read"))
        .await;
    let there = browser.log_in(&world, &page, "alice").await;
    let page = browser.get(&world, there.location()).await;
    let moved = [("redirect_uris", json!(["https://new.example/other"]))];
    assert_eq!(put(&world, &client, &moved).await.status, 200);
    let answer = browser.decide(&world, &page, "approve").await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));
}

#[tokio::test]
async fn what_a_person_has_approved_is_for_the_place_that_they_were_shown() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let mut browser = Browser::default();
    let uri = authorize(&client, "openid orders:read");
    assert!(browser.walk(&world, &uri, "alice").await.contains("code="));
    // Remembered for this place.
    let again = browser.get(&world, &uri).await;
    assert!(again.location().starts_with(NEW_CALLBACK), "{}", again.body);
    // Whoever has stolen the client's registration cannot have codes sent elsewhere in silence.
    let moved = [("redirect_uris", json!(["https://evil.example/cb"]))];
    assert_eq!(put(&world, &client, &moved).await.status, 200);
    let uri = uri.replace("new.example", "evil.example");
    let page = browser.get(&world, &uri).await;
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("<strong>evil.example</strong>"),
        "{}",
        page.body
    );
    let silent = browser.get(&world, &format!("{uri}&prompt=none")).await;
    assert_eq!(query(silent.location())["error"], "consent_required");
}

#[tokio::test]
async fn a_secret_that_ends_is_replaced_by_an_update_in_time_or_later() {
    let world = World::with(with("  secret_days: 10")).await;
    let said = json!({
        "grant_types": ["client_credentials"], "scope": "orders:read",
        "token_endpoint_auth_method": "client_secret_post",
    });
    let client = registered(&world, &said).await;
    assert_eq!(
        client["client_secret_expires_at"],
        1_800_000_000 + 10 * 24 * 3600
    );
    let form = [("grant_type", "client_credentials")];
    assert_eq!(token(&world, &client, &form).await.status, 200);
    let mut said = said;
    said["client_id"] = client["client_id"].clone();
    // Young enough: it stays.
    let same = send(&world, Method::PUT, &client, &said).await.json();
    assert!(same.get("client_secret").is_none());
    assert_eq!(
        same["client_secret_expires_at"],
        client["client_secret_expires_at"]
    );

    world.advance(10 * 24 * 3600);
    token(&world, &client, &form)
        .await
        .assert_error(401, "invalid_client");
    let fresh = send(&world, Method::PUT, &same, &said).await.json();
    assert_ne!(fresh["client_secret"], client["client_secret"]);
    assert_eq!(token(&world, &fresh, &form).await.status, 200);
    token(&world, &client, &form)
        .await
        .assert_error(401, "invalid_client");

    // Without a method that needs one there is none, and coming back brings another.
    said["token_endpoint_auth_method"] = json!("none");
    said["grant_types"] = json!(["authorization_code"]);
    said["redirect_uris"] = json!([NEW_CALLBACK]);
    let public = send(&world, Method::PUT, &fresh, &said).await.json();
    assert!(public.get("client_secret_expires_at").is_none(), "{public}");
    token(&world, &fresh, &form)
        .await
        .assert_error(401, "invalid_client");
}

#[tokio::test]
async fn changes_are_bounded_because_gateways_have_to_forget() {
    let world = world().await;
    let mut client = registered(&world, &web()).await;
    for _ in 0..10 {
        client = put(&world, &client, &[]).await.json();
    }
    put(&world, &client, &[])
        .await
        .assert_error(429, "temporarily_unavailable");
    assert_eq!(get(&world, &client).await.status, 200);
}

#[tokio::test]
async fn a_registered_client_hears_of_the_end_of_a_login_where_its_address_may_be_asked() {
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let take = |State(bodies): State<Arc<Mutex<Vec<String>>>>, body: String| async move {
        bodies.lock().unwrap().push(body);
    };
    let router = axum::Router::new()
        .route("/bye", axum::routing::post(take))
        .with_state(bodies.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("http://{}/bye", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let world = World::with(with("  private_addresses: true")).await;
    let mut said = web();
    said["backchannel_logout_uri"] = json!(to);
    let client = registered(&world, &said).await;
    let tokens = tokens(&world, &client, "openid").await;
    let uri = format!(
        "/logout?{}",
        encode(&[("id_token_hint", text(&tokens, "id_token"))])
    );
    assert_eq!(world.get(&uri).await.status, 200);
    for _ in 0..400 {
        if !bodies.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bodies.lock().unwrap()[0].starts_with("logout_token="));
    // Elsewhere such an address cannot be registered.
    let world = World::with(with("")).await;
    register(&world, Some(TOKEN), &said)
        .await
        .assert_error(400, "invalid_client_metadata");
}
