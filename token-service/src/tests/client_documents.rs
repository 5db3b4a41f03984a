//! Clients whose id is the URL of a document: what is believed of what is there, and what is never asked.

mod site;

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};

use super::harness::{Answer, Browser, ISSUER, VERIFIER, World, config, from, posted, query};
use super::signer::Signer;
use site::{JSON, Site};

const MAY: &str = "private_addresses: true";

async fn post(world: &World, form: &[(&str, &str)]) -> Answer {
    world.send(posted("/token", form)).await
}

/// Alice lets the client of the document have tokens.
async fn tokens(world: &World, site: &Site) -> Value {
    let id = site.id("/client.json");
    let target = Browser::default()
        .walk(world, &site.authorize(&id), "alice")
        .await;
    assert!(target.starts_with(&site.callback()), "{target}");
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", id.as_str()),
        ("code", &query(&target)["code"]),
        ("redirect_uri", &site.callback()),
        ("code_verifier", VERIFIER),
    ];
    let answer = post(world, &form).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn text<'v>(tokens: &'v Value, name: &str) -> &'v str {
    tokens[name].as_str().unwrap()
}

#[tokio::test]
async fn a_client_is_what_its_document_says_within_what_it_may() {
    let site = Site::open().await;
    let world = site.world(MAY).await;
    site.serves(&site.document());
    let tokens = tokens(&world, &site).await;
    assert_eq!(tokens["scope"], "openid orders:read");
    assert!(world.is_active(text(&tokens, "access_token")).await);
    // Fetched once for all of this: page, code, token.
    assert_eq!(site.asked(), 1);

    let mut browser = Browser::default();
    let page = browser
        .get(&world, &site.authorize(&site.id("/client.json")))
        .await;
    let there = browser.log_in(&world, &page, "bob").await;
    let page = browser.get(&world, there.location()).await;
    assert!(
        page.body
            .contains("says of itself at <strong>localhost</strong>"),
        "{}",
        page.body
    );

    let metadata = world
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
    assert!(metadata.get("registration_endpoint").is_none());
    let off = World::new()
        .await
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert!(off.get("client_id_metadata_document_supported").is_none());
}

#[tokio::test]
async fn a_document_may_name_keys_and_never_a_secret() {
    let site = Site::open().await;
    let world = site.world(MAY).await;
    let signer = Signer::new();
    let mut document = site.document();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["jwks"] = json!({ "keys": [signer.jwk()] });
    document["grant_types"] = json!(["client_credentials"]);
    document["response_types"] = json!([]);
    document.as_object_mut().unwrap().remove("redirect_uris");
    site.serves(&document);
    let id = site.id("/client.json");
    let now = 1_800_000_000;
    let claims =
        json!({ "iss": id, "sub": id, "aud": ISSUER, "jti": "j", "iat": now, "exp": now + 60 });
    let assertion = signer.sign(&json!({ "alg": "ES256" }), &claims);
    let form = [
        ("grant_type", "client_credentials"),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion.as_str()),
    ];
    let answer = post(&world, &form).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // Without its key it is nobody.
    let bare = [
        ("grant_type", "client_credentials"),
        ("client_id", id.as_str()),
    ];
    post(&world, &bare)
        .await
        .assert_error(401, "invalid_client");
}

/// Whether somebody at a browser is told that there is no such client, and sent nowhere.
async fn is_refused(world: &World, site: &Site, id: &str) -> bool {
    let page = world.get(&site.authorize(id)).await;
    page.status == 400 && page.location().is_empty()
}

#[tokio::test]
async fn nothing_else_than_the_document_at_its_own_url_is_believed() {
    let site = Site::open().await;
    let good = site.document();
    for (name, value) in [
        ("client_id", json!(site.id("/other.json"))),
        ("client_id", json!(site.id("/client.json/"))),
        ("client_id", Value::Null),
        ("client_secret", json!("chosen")),
        ("client_secret_expires_at", json!(0)),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
        ("redirect_uris", json!(["https://evil.example/cb"])),
        (
            "redirect_uris",
            json!(["https://localhost/cb", "javascript:x"]),
        ),
        ("redirect_uris", json!(["https://app.example/cb"])),
        ("redirect_uris", json!([])),
        ("scope", json!("admin")),
        ("client_name", json!("The W\u{435}b Shop")),
        ("jwks_uri", json!("https://evil.example/jwks")),
        // Six kibibytes.
        (
            "client_uri",
            json!(format!("https://x.example/{}", "x".repeat(6 << 10))),
        ),
    ] {
        let mut document = good.clone();
        document[name] = value;
        is_not_believed(&site, 200, &[JSON], &document.to_string()).await;
    }
    // What is not registered in it is not where a person is sent.
    let world = site.world(MAY).await;
    site.serves(&good);
    let other = site
        .authorize(&site.id("/client.json"))
        .replace("%2Fcb", "%2Fcb2");
    assert_eq!(world.get(&other).await.status, 400);
}

/// Whoever asks for the client hears that there is none, and the document is not asked for again at once.
async fn is_not_believed(
    site: &Site,
    status: u16,
    headers: &[(header::HeaderName, &str)],
    body: &str,
) {
    // Everybody is new to a new one.
    let world = site.world(MAY).await;
    site.says(status, headers, body);
    let (asked, id) = (site.asked(), site.id("/client.json"));
    for _ in 0..2 {
        assert!(is_refused(&world, site, &id).await, "{status} {body}");
        assert_eq!(site.asked(), asked + 1, "{status} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_a_short_json_document_is_not_believed() {
    let site = Site::open().await;
    let good = site.document().to_string();
    let twice = good.replacen('{', "{\"client_id\":\"x\",", 1);
    let elsewhere = (header::LOCATION, "https://evil.example/client.json");
    for (status, headers, body) in [
        (200, vec![JSON], format!("{good}{good}")),
        (200, vec![JSON], twice),
        (200, vec![JSON], "[]".into()),
        (200, vec![JSON], String::new()),
        (200, vec![(header::CONTENT_TYPE, "text/html")], good.clone()),
        (200, vec![], good.clone()),
        (302, vec![JSON, elsewhere], good.clone()),
        (201, vec![JSON], good.clone()),
        (404, vec![JSON], good.clone()),
        (503, vec![JSON], good.clone()),
    ] {
        is_not_believed(&site, status, &headers, &body).await;
    }
}

#[tokio::test]
async fn a_url_in_another_spelling_or_at_another_place_is_never_asked() {
    let site = Site::open().await;
    site.serves(&site.document());
    let world = site.world(MAY).await;
    for id in [
        site.id("/a/../client.json"),
        site.id("/./client.json"),
        site.id("/%2e/client.json"),
        site.id("/client.json#x"),
        site.id("/client.json?x"),
        site.id("/"),
        site.id(""),
        site.id("/client.json")
            .replace("https://", "https://user:pass@"),
        site.id("/client.json").replace("https", "http"),
        site.id("/client.json").replace("localhost", "LOCALHOST"),
        site.id("/client.json").replace("localhost", "127.0.0.1"),
        site.id("/client.json").replace("localhost", "[::1]"),
    ] {
        assert!(is_refused(&world, &site, &id).await, "{id}");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
        ];
        post(&world, &form)
            .await
            .assert_error(401, "invalid_client");
    }
    // Where inner addresses are not allowed, and where only other hosts are.
    for more in [
        "private_addresses: false",
        "private_addresses: true, hosts: [app.example]",
    ] {
        let world = site.world(more).await;
        assert!(
            is_refused(&world, &site, &site.id("/client.json")).await,
            "{more}"
        );
    }
    // A client of the configuration is who it is, disabled or not.
    let id = site.id("/client.json");
    let (ca, disabled) = (site.folder.path().join("ca.pem"), id.clone());
    let world = World::with(config(|text| {
        let section = format!(
            "client_id_metadata_documents: {{ scope: openid, ca_file: '{}', {MAY} }}
clients:
  - {{ id: '{disabled}', public: true, grant_types: [authorization_code], redirect_uris: ['https://x.example/cb'],
      scope: openid, disabled: true }}
",
            ca.display()
        );
        text.replacen("clients:\n", &section, 1)
    }))
    .await;
    assert!(is_refused(&world, &site, &id).await);
    assert_eq!(site.asked(), 0);
}

#[tokio::test]
async fn a_document_is_kept_as_long_as_it_says_and_outlives_an_outage_of_its_server() {
    const DAY: u64 = 24 * 3600;
    let site = Site::open().await;
    let world = site.world(MAY).await;
    let headers = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=300"),
    ];
    site.says(200, &headers, &site.document().to_string());
    let first = tokens(&world, &site).await;
    world.advance(299);
    let again = tokens(&world, &site).await;
    assert_eq!(site.asked(), 1);
    world.advance(2);
    tokens(&world, &site).await;
    assert_eq!(site.asked(), 2);

    // Its server is down: what was known counts, for a day.
    site.says(500, &headers, "");
    world.advance(301);
    let id = site.id("/client.json");
    let form = |tokens: &Value| {
        [
            ("grant_type".to_owned(), "refresh_token".to_owned()),
            (
                "refresh_token".into(),
                text(tokens, "refresh_token").to_owned(),
            ),
            ("client_id".into(), id.clone()),
        ]
    };
    let refresh = async |tokens: &Value| {
        let form = form(tokens);
        let pairs: Vec<_> = form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        post(&world, &pairs).await
    };
    let renewed = refresh(&first).await;
    assert_eq!(renewed.status, 200, "{}", renewed.body);
    assert_eq!(site.asked(), 3);
    world.advance(DAY + 1);
    refresh(&renewed.json())
        .await
        .assert_error(401, "invalid_client");

    // It is there again; and then it says no.
    site.says(200, &headers, &site.document().to_string());
    world.advance(61);
    let renewed = refresh(&renewed.json()).await;
    assert_eq!(renewed.status, 200, "{}", renewed.body);
    let access = renewed.json();
    assert!(world.is_active(text(&access, "access_token")).await);
    site.says(404, &headers, "");
    world.advance(301);
    assert!(
        world.is_active(text(&access, "access_token")).await,
        "looking at a token asks nobody"
    );
    refresh(&again).await.assert_error(401, "invalid_client");
    assert!(!world.is_active(text(&access, "access_token")).await);
}

#[tokio::test]
async fn strangers_cannot_have_one_host_asked_without_end() {
    let site = Site::open().await;
    let world = site.world("private_addresses: true, fetches: 5").await;
    for n in 0..50 {
        assert!(is_refused(&world, &site, &site.id(&format!("/{n}"))).await);
    }
    assert_eq!(site.asked(), 5);
}

#[tokio::test]
async fn a_stranger_cannot_keep_everybody_elses_documents_waiting() {
    let site = Site::open().await;
    let world = site
        .world("private_addresses: true, fetches_per_address: 5")
        .await;
    let ask = |host: u8, n: u8| {
        let uri = site.authorize(&site.id(&format!("/{host}/{n}")));
        from(
            [192, 0, 2, host],
            Request::get(uri).body(Body::empty()).unwrap(),
        )
    };
    for n in 0..20 {
        assert_eq!(world.send(ask(1, n)).await.status, 400);
    }
    assert_eq!(site.asked(), 5);
    assert_eq!(world.send(ask(2, 0)).await.status, 400);
    assert_eq!(site.asked(), 6);
}

#[tokio::test]
async fn without_the_store_no_document_is_fetched_and_nobody_is_known() {
    let site = Site::open().await;
    let world = site.world(MAY).await;
    site.serves(&site.document());
    world.store.set_down(true);
    assert_eq!(
        world
            .get(&site.authorize(&site.id("/client.json")))
            .await
            .status,
        503
    );
    assert_eq!(site.asked(), 0);
}
