//! Clients that register themselves (RFC 7591): who may, what they get, and what they do not.

mod bounds;
mod hostile;
mod manage;

use axum::body::Body;
use http::{Method, Request, header};
use serde_json::{Value, json};

use super::harness::{
    Answer, Browser, ISSUER, VERIFIER, World, authorize_uri, basic, config, encode, query,
};
use super::signer::Signer;
use crate::{TokenServiceConfig, secret_hash};

const TOKEN: &str = "initial-token-of-partners";
/// Registers one client.
const ONCE: &str = "initial-token-good-for-one";
const NEW_CALLBACK: &str = "https://new.example/cb";

/// What `config` has by name `partners`; `clients` are how many there may be.
fn section(more: &str) -> String {
    let (partners, once) = (secret_hash(TOKEN), secret_hash(ONCE));
    format!(
        "registration:
  initial_access_tokens:
    - {{ name: partners, secret_hash: '{partners}', until: '2027-06-01T00:00:00Z', bounds: {{
        scope: openid profile offline_access orders:read orders:write,
        grant_types: [authorization_code, refresh_token, client_credentials,
          device_code], clients: 3 }} }}
    - {{ name: once, secret_hash: '{once}', bounds: {{ scope: 'orders:read', clients: 1 }} }}
{more}
clients:
"
    )
}

fn with(more: &'static str) -> TokenServiceConfig {
    config(move |text| text.replacen("clients:\n", &section(more), 1))
}

async fn world() -> World {
    World::with(with("")).await
}

/// A request with JSON and, where there is one, a token.
fn request(method: Method, path: &str, token: Option<&str>, body: &str) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn register(world: &World, token: Option<&str>, metadata: &Value) -> Answer {
    let request = request(Method::POST, "/register", token, &metadata.to_string());
    world.send(request).await
}

/// One that has been registered, as the answer says it.
async fn registered(world: &World, metadata: &Value) -> Value {
    let answer = register(world, Some(TOKEN), metadata).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

fn web() -> Value {
    json!({
        "redirect_uris": [NEW_CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "client_name": "Notes <b>& more</b>",
        "scope": "openid orders:read orders:write",
    })
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Where a client manages itself.
fn path(client: &Value) -> String {
    let uri = text(client, "registration_client_uri");
    uri.strip_prefix(ISSUER).unwrap().to_owned()
}

fn authorize(client: &Value, scope: &str) -> String {
    authorize_uri(&[
        ("client_id", text(client, "client_id")),
        ("redirect_uri", NEW_CALLBACK),
        ("scope", scope),
    ])
}

async fn token(world: &World, client: &Value, form: &[(&str, &str)]) -> Answer {
    let (id, secret) = (text(client, "client_id"), text(client, "client_secret"));
    let request = Request::post("/token")
        .header(header::AUTHORIZATION, basic(id, secret))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encode(form)))
        .unwrap();
    world.send(request).await
}

/// Alice lets the client have a scope.
async fn tokens(world: &World, client: &Value, scope: &str) -> Value {
    let uri = authorize(client, scope);
    let target = Browser::default().walk(world, &uri, "alice").await;
    let code = query(&target)["code"].clone();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", NEW_CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let answer = token(world, client, &form).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn refresh(tokens: &Value) -> [(&'static str, &str); 2] {
    [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(tokens, "refresh_token")),
    ]
}

#[tokio::test]
async fn a_client_registers_itself_and_a_person_lets_it_have_tokens() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    assert!(text(&client, "client_id").starts_with("reg_"));
    assert_eq!(client["client_secret_expires_at"], 0);
    assert_eq!(client["client_id_issued_at"], 1_800_000_000);
    assert!(text(&client, "registration_access_token").starts_with("cg_rg_"));

    // The page says that nobody has looked at it, whose it is, and nothing that it could have made up.
    let mut browser = Browser::default();
    let page = browser
        .get(&world, &authorize(&client, "openid orders:read"))
        .await;
    let there = browser.log_in(&world, &page, "alice").await;
    let page = browser.get(&world, there.location()).await;
    assert!(page.body.contains("has registered itself"), "{}", page.body);
    assert!(
        page.body.contains("<strong>new.example</strong>"),
        "{}",
        page.body
    );
    assert!(
        page.body.contains("Notes &lt;b&gt;&amp; more&lt;/b&gt;"),
        "{}",
        page.body
    );

    let tokens = tokens(&world, &client, "openid orders:read").await;
    assert!(world.is_active(text(&tokens, "access_token")).await);
    assert!(tokens["id_token"].is_string());
    let again = token(&world, &client, &refresh(&tokens)).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let userinfo = Request::get("/userinfo")
        .header(
            header::AUTHORIZATION,
            format!("Bearer {}", text(&tokens, "access_token")),
        )
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(userinfo).await.json()["sub"], "alice");
}

#[tokio::test]
async fn where_nobody_may_register_there_is_nothing_and_the_metadata_say_nothing() {
    let off = World::new().await;
    for (method, path) in [
        (Method::POST, "/register"),
        (Method::GET, "/register"),
        (Method::GET, "/register/reg_AAAAAAAAAAAAAAAAAAAAAA"),
        (Method::PATCH, "/register/web"),
    ] {
        let answer = off.send(request(method, path, Some(TOKEN), "{}")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let metadata = "/.well-known/oauth-authorization-server";
    assert!(
        off.get(metadata)
            .await
            .json()
            .get("registration_endpoint")
            .is_none()
    );

    let on = world().await;
    let endpoint = on.get(metadata).await.json()["registration_endpoint"].clone();
    assert_eq!(endpoint, format!("{ISSUER}/register"));
    assert_eq!(on.get("/register").await.status, 405);
    assert_eq!(on.get("/register").await.header(header::ALLOW), "POST");
    let scopes = on.get(metadata).await.json()["scopes_supported"].to_string();
    assert!(scopes.contains("offline_access"), "{scopes}");
}

#[tokio::test]
async fn only_an_initial_access_token_that_is_good_now_lets_a_client_in() {
    let world = world().await;
    let bare = register(&world, None, &web()).await;
    assert_eq!(bare.status, 401);
    assert_eq!(
        bare.header(header::WWW_AUTHENTICATE),
        "Bearer realm=\"cedargate\""
    );

    let client = registered(&world, &web()).await;
    let tokens = tokens(&world, &client, "openid orders:read").await;
    for wrong in [
        "",
        "nonsense",
        &secret_hash(TOKEN),
        text(&tokens, "access_token"),
        text(&client, "registration_access_token"),
        text(&client, "client_secret"),
    ] {
        let answer = register(&world, Some(wrong), &web()).await;
        answer.assert_error(401, "invalid_token");
        let challenge = answer.header(header::WWW_AUTHENTICATE);
        assert!(
            challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""),
            "{challenge}"
        );
    }
    // One in the query or of another scheme is none.
    let query = request(
        Method::POST,
        &format!("/register?access_token={TOKEN}"),
        None,
        &web().to_string(),
    );
    assert_eq!(world.send(query).await.status, 401);
    let mut other = request(Method::POST, "/register", None, &web().to_string());
    other.headers_mut().insert(
        header::AUTHORIZATION,
        basic("partners", TOKEN).parse().unwrap(),
    );
    assert_eq!(world.send(other).await.status, 401);

    // From its last moment on it registers nothing, and what it has registered lives on.
    world.advance(137 * 24 * 3600);
    register(&world, Some(TOKEN), &web())
        .await
        .assert_error(401, "invalid_token");
    assert_eq!(
        register(&world, Some(ONCE), &web_of_one()).await.status,
        201
    );
}

fn web_of_one() -> Value {
    json!({ "redirect_uris": [NEW_CALLBACK], "scope": "orders:read" })
}

#[tokio::test]
async fn what_a_client_does_not_say_is_chosen_for_it() {
    let world = world().await;
    let client = registered(&world, &json!({ "redirect_uris": [NEW_CALLBACK] })).await;
    for (name, value) in [
        ("redirect_uris", json!([NEW_CALLBACK])),
        ("grant_types", json!(["authorization_code"])),
        ("response_types", json!(["code"])),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        (
            "scope",
            json!("offline_access openid orders:read orders:write profile"),
        ),
        ("application_type", json!("web")),
        ("id_token_signed_response_alg", json!("RS256")),
        ("dpop_bound_access_tokens", json!(false)),
        ("require_pushed_authorization_requests", json!(false)),
    ] {
        assert_eq!(client[name], value, "{name}");
    }
}

#[tokio::test]
async fn the_answer_says_what_was_registered_and_not_what_was_asked_for() {
    let world = world().await;
    let said = json!({
        "redirect_uris": ["http://127.0.0.1/cb"],
        "post_logout_redirect_uris": ["http://127.0.0.1/bye"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        "client_uri": "https://new.example/", "logo_uri": "https://new.example/logo.png",
        "tos_uri": "https://new.example/tos", "policy_uri": "https://new.example/policy",
        "contacts": ["ops@new.example"], "software_id": "notes", "software_version": "1.2",
        "dpop_bound_access_tokens": true, "require_pushed_authorization_requests": true,
        "backchannel_logout_uri": "https://new.example/bye",
        // More scope than may be had is cut, as in a request; what is not understood is ignored, and
        // so is a statement of somebody whom nobody trusts here.
        "scope": "openid admin orders:read", "client_name#de": "Notizen", "made_up": { "a": [1] },
        "software_statement": "eyJhbGciOiJub25lIn0.eyJzY29wZSI6ImFkbWluIn0.",
        "client_id": "web", "client_secret": "chosen", "enabled": true,
    });
    let client = registered(&world, &said).await;
    for name in [
        "redirect_uris",
        "post_logout_redirect_uris",
        "token_endpoint_auth_method",
        "client_uri",
        "logo_uri",
        "tos_uri",
        "policy_uri",
        "contacts",
        "software_id",
        "software_version",
        "dpop_bound_access_tokens",
        "require_pushed_authorization_requests",
        "backchannel_logout_uri",
    ] {
        assert_eq!(client[name], said[name], "{name}");
    }
    assert_eq!(client["scope"], "openid orders:read");
    assert_eq!(client["application_type"], "native");
    assert_ne!(client["client_id"], "web");
    for name in [
        "client_secret",
        "client_secret_expires_at",
        "made_up",
        "software_statement",
        "enabled",
    ] {
        assert!(client.get(name).is_none(), "{name}");
    }
    // What it said of itself binds it.
    let id = text(&client, "client_id");
    let page = world
        .get(&authorize_uri(&[
            ("client_id", id),
            ("redirect_uri", "http://127.0.0.1:4711/cb"),
        ]))
        .await;
    assert_eq!(
        query(page.location())["error"],
        "invalid_request",
        "must be pushed"
    );
}

#[tokio::test]
async fn a_registered_client_may_have_keys_in_the_place_of_a_secret() {
    let world = world().await;
    let signer = Signer::new();
    let mut jwk = signer.jwk();
    jwk["kid"] = json!("k");
    let said = json!({
        "grant_types": ["client_credentials"], "response_types": [], "scope": "orders:read",
        "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [jwk] },
    });
    let client = registered(&world, &said).await;
    assert!(client.get("client_secret").is_none());
    assert_eq!(client["jwks"], said["jwks"]);
    let id = text(&client, "client_id");
    let now = 1_800_000_000;
    let claims =
        json!({ "iss": id, "sub": id, "aud": ISSUER, "jti": "j", "iat": now, "exp": now + 60 });
    let assertion = signer.sign(&json!({ "alg": "ES256", "kid": "k" }), &claims);
    let form = [
        ("grant_type", "client_credentials"),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion.as_str()),
    ];
    let post = || {
        Request::post("/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(encode(&form)))
            .unwrap()
    };
    let answer = world.send(post()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // Its own subject, without anything that it has chosen.
    let introspected = world
        .introspect("gw_orders", text(&answer.json(), "access_token"))
        .await
        .json();
    assert_eq!(
        (&introspected["sub"], &introspected["client_id"]),
        (&json!(id), &json!(id))
    );
    world.send(post()).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn an_unknown_client_is_answered_as_one_with_another_secret_is() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let form = [("grant_type", "client_credentials")];
    let mut answers = Vec::new();
    for (id, secret) in [
        (text(&client, "client_id"), "wrong"),
        ("reg_AAAAAAAAAAAAAAAAAAAAAA", text(&client, "client_secret")),
        ("reg_", "wrong"),
        ("reg_%00%0A", "wrong"),
        ("nobody", "wrong"),
    ] {
        let answer = token(
            &world,
            &json!({ "client_id": id, "client_secret": secret }),
            &form,
        )
        .await;
        answer.assert_error(401, "invalid_client");
        answers.push(answer.body);
    }
    assert!(
        answers.iter().all(|body| *body == answers[0]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn without_the_store_nobody_is_registered_and_nobody_is_told_anything() {
    let world = world().await;
    let client = registered(&world, &web()).await;
    let token = text(&client, "registration_access_token");
    for read_only in [false, true] {
        world.store.set_down(!read_only);
        world.store.set_read_only(read_only);
        let mut answers = vec![
            register(&world, Some(TOKEN), &web()).await,
            world
                .send(request(Method::DELETE, &path(&client), Some(token), ""))
                .await,
        ];
        if !read_only {
            answers.push(
                world
                    .send(request(Method::GET, &path(&client), Some(token), ""))
                    .await,
            );
            let uri = authorize(&client, "openid");
            assert_eq!(world.get(&uri).await.status, 503);
        }
        for answer in answers {
            answer.assert_error(503, "temporarily_unavailable");
            assert!(!answer.header(header::RETRY_AFTER).is_empty());
        }
    }
    world.store.set_read_only(false);
    let there = world
        .send(request(Method::GET, &path(&client), Some(token), ""))
        .await;
    assert_eq!(there.status, 200, "{}", there.body);
}
