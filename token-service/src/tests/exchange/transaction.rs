//! Transaction tokens: what workloads of one trust domain tell each other, and what that is never good
//! for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::dpop::{Holder, ask as prove};
use super::super::harness::{Answer, BILLING, ORDERS, World, config, verified};
use super::super::signer::{Signer, base64};
use super::bound::bound;
use super::{ACCESS_TOKEN, JWT, access, bad_token, exchange, exchanged, facts, form, jwt, text};
use crate::{TokenServiceConfig, secret_hash};

const TXN: &str = "urn:ietf:params:oauth:token-type:txn_token";
const DOMAIN: &str = "trust.example";

/// `edge` begins transactions, `core` goes on with them, `apart` is no workload of the domain.
fn workloads(edit: impl Fn(String) -> String) -> TokenServiceConfig {
    let clients = format!(
        r"
  - {{ id: edge, secret_hash: '{edge}', grant_types: [token_exchange], scope: openid orders:read orders:write billing:read,
      exchange: {{ transaction_tokens: true, audiences: ['{BILLING}'], subject_clients: [web, apart], subject_resources: ['{ORDERS}'] }} }}
  - {{ id: core, secret_hash: '{core}', grant_types: [token_exchange], scope: orders:read billing:read,
      exchange: {{ transaction_tokens: true, subject_clients: [web], subject_resources: ['{BILLING}'] }} }}
  - {{ id: apart, secret_hash: '{apart}', grant_types: [token_exchange], scope: orders:read billing:read,
      exchange: {{ audiences: ['{ORDERS}'], subject_clients: [web], subject_resources: ['{ORDERS}'] }} }}
users:",
        edge = secret_hash("edge-secret"),
        core = secret_hash("core-secret"),
        apart = secret_hash("apart-secret"),
    );
    config(|text| {
        let text = text.replace("\nusers:", &clients);
        edit(format!(
            "{text}\ntransaction_tokens: {{ trust_domain: {DOMAIN} }}\n"
        ))
    })
}

async fn world() -> World {
    World::with(workloads(|text| text)).await
}

/// Asks for a transaction token; what is given again replaces what is usual, empty takes it away.
async fn ask(world: &World, who: &str, token: &str, more: &[(&str, &str)]) -> Answer {
    let usual = [
        ("requested_token_type", TXN),
        ("audience", DOMAIN),
        ("scope", "orders:read"),
    ];
    let kept = usual
        .into_iter()
        .filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    let all: Vec<_> = kept.chain(more.iter().copied()).collect();
    world.token(who, &form(token, &all)).await
}

async fn begun(world: &World, token: &str, more: &[(&str, &str)]) -> String {
    let answer = ask(world, "edge", token, more).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    text(&answer.json(), "access_token")
}

async fn replace(world: &World, who: &str, token: &str, more: &[(&str, &str)]) -> Answer {
    let more: Vec<_> = more
        .iter()
        .copied()
        .chain([("subject_token_type", TXN)])
        .collect();
    ask(world, who, token, &more).await
}

async fn claims(world: &World, token: &str) -> Value {
    verified(world, token, "txntoken+jwt", DOMAIN).await
}

#[tokio::test]
async fn a_workload_gets_a_transaction_token_for_what_it_was_sent() {
    let world = world().await;
    let subject = access(&world, "openid orders:read orders:write").await;
    world.decisions.asked.lock().unwrap().clear();
    let more = [
        ("request_details", r#"{"order":{"id":7}}"#),
        ("request_context", r#"{"req_ip":"192.0.2.7"}"#),
    ];
    let answer = ask(&world, "edge", &subject, &more).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header(http::header::CACHE_CONTROL), "no-store");
    let body = answer.json();
    let token = text(&body, "access_token");
    assert_eq!(
        body,
        json!({
            "access_token": token, "issued_token_type": TXN, "token_type": "N_A",
            "expires_in": 60, "scope": "orders:read",
        })
    );
    let asked = world.decisions.asked.lock().unwrap().clone();
    let [question] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(question.context["resource"], DOMAIN);
    assert_eq!(question.context["client_id"], "edge");

    let mut said = claims(&world, &token).await;
    for name in ["txn", "jti"] {
        let id = said.as_object_mut().unwrap().remove(name).unwrap();
        assert!(id.as_str().unwrap().len() > 20, "{name}: {id}");
    }
    assert_eq!(
        said,
        json!({
            "iss": "https://as.example", "sub": "alice", "aud": DOMAIN, "iat": 1_800_000_000,
            "exp": 1_800_000_060, "scope": "orders:read", "req_wl": "edge",
            "tctx": { "order": { "id": 7 } }, "rctx": { "req_ip": "192.0.2.7" },
        })
    );
    // Each transaction has a name of its own.
    let other = claims(&world, &begun(&world, &subject, &[]).await).await;
    assert_ne!(other["txn"], claims(&world, &token).await["txn"]);
    assert!(other.get("tctx").is_none() && other.get("rctx").is_none());
    // Of a JWT that was cut from the token, too, and no longer than that lives or than its token.
    let cut = jwt(&world, "gw_orders", &subject).await;
    begun(&world, &cut, &[("subject_token_type", JWT)]).await;
    world.advance(880);
    let late = claims(&world, &begun(&world, &subject, &[]).await).await;
    assert_eq!(late["exp"], 1_800_000_900);
}

#[tokio::test]
async fn a_request_for_a_transaction_token_that_is_not_in_order_is_refused() {
    let world = world().await;
    let subject = access(&world, "openid orders:read orders:write").await;
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024));
    let with_token = format!(r#"{{"a":["{subject}"]}}"#);
    // The same token, spelled otherwise.
    let hidden = with_token.replace("cg_at_", "\\u0063g_at_");
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    for (more, error) in [
        (vec![("audience", "")], "invalid_request"),
        (vec![("audience", "other.example")], "invalid_target"),
        (vec![("audience", BILLING)], "invalid_target"),
        (
            vec![("audience", DOMAIN), ("audience", BILLING)],
            "invalid_target",
        ),
        (vec![("resource", BILLING)], "invalid_target"),
        (vec![("scope", "")], "invalid_request"),
        (vec![("scope", "orders:read billing:read")], "invalid_scope"),
        (vec![("scope", "unknown")], "invalid_scope"),
        (vec![("scope", "openid")], "invalid_scope"),
        (vec![("request_details", "[1]")], "invalid_request"),
        (vec![("request_details", "x")], "invalid_request"),
        (
            vec![("request_details", r#"{"a":1,"a":2}"#)],
            "invalid_request",
        ),
        (
            vec![("request_context", r#"{"a":{"b":1,"b":2}}"#)],
            "invalid_request",
        ),
        (vec![("request_context", &long)], "invalid_request"),
        (vec![("request_context", &deep)], "invalid_request"),
        (vec![("request_context", &with_token)], "invalid_request"),
        (vec![("request_details", &hidden)], "invalid_request"),
        (
            vec![
                ("actor_token", &subject),
                ("actor_token_type", ACCESS_TOKEN),
            ],
            "invalid_request",
        ),
        (vec![("subject_token_type", TXN)], "invalid_request"),
        (vec![("subject_token_type", JWT)], "invalid_request"),
    ] {
        let answer = ask(&world, "edge", &subject, &more).await;
        answer.assert_error(400, error);
        assert!(!answer.body.contains("eyJ"), "{more:?}");
    }
    for who in ["apart", "web", "svc"] {
        let answer = ask(&world, who, &subject, &[]).await;
        assert_eq!(answer.status, 400, "{who}");
        assert!(!answer.body.contains("eyJ"), "{who}");
    }
    world.decisions.deny("orders:read");
    ask(&world, "edge", &subject, &[])
        .await
        .assert_error(400, "invalid_scope");
    world.decisions.set_down(true);
    assert_eq!(ask(&world, "edge", &subject, &[]).await.status, 503);
}

#[tokio::test]
async fn no_transaction_token_is_made_of_a_refresh_token_an_id_token_or_a_token_for_others() {
    let world = world().await;
    let tokens = world.tokens("openid orders:read offline_access").await;
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    let id = "urn:ietf:params:oauth:token-type:id_token";
    for (token, kind) in [
        ("refresh_token", refresh),
        ("refresh_token", ACCESS_TOKEN),
        ("refresh_token", TXN),
        ("id_token", id),
        ("id_token", JWT),
        ("id_token", TXN),
        ("id_token", ACCESS_TOKEN),
    ] {
        let token = text(&tokens, token);
        ask(&world, "edge", &token, &[("subject_token_type", kind)])
            .await
            .assert_error(400, "invalid_request");
    }
    // Who asks must have been sent it: `core` is another resource.
    let subject = text(&tokens, "access_token");
    bad_token(&ask(&world, "core", &subject, &[]).await);
    world
        .post_as("web", "/revoke", &[("token", &subject)])
        .await;
    bad_token(&ask(&world, "edge", &subject, &[]).await);
}

#[tokio::test]
async fn of_a_bound_token_a_transaction_begins_with_a_proof_of_its_key_alone() {
    let (world, holder, other) = (world().await, Holder::new(), Holder::new());
    let subject = bound(&world, &holder).await;
    bad_token(&ask(&world, "edge", &subject, &[]).await);
    let more = [
        ("requested_token_type", TXN),
        ("audience", DOMAIN),
        ("scope", "orders:read"),
    ];
    let form = form(&subject, &more);
    bad_token(&prove(&world, "edge", &form, &other.named("1")).await);
    let answer = prove(&world, "edge", &form, &holder.named("2")).await;
    assert_eq!(answer.json()["token_type"], "N_A", "{}", answer.body);
    let token = text(&answer.json(), "access_token");
    assert!(claims(&world, &token).await.get("cnf").is_none());
}

#[tokio::test]
async fn a_replacement_keeps_the_transaction_and_never_grows() {
    let world = world().await;
    let subject = access(&world, "orders:read orders:write billing:read").await;
    let wide = [
        ("scope", "orders:read billing:read"),
        ("request_details", r#"{"order":7}"#),
    ];
    let first = begun(&world, &subject, &wide).await;
    world.advance(20);
    let answer = replace(&world, "core", &first, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let second = text(&answer.json(), "access_token");
    let (before, after) = (claims(&world, &first).await, claims(&world, &second).await);
    for same in ["txn", "sub", "aud", "tctx", "exp"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(after["req_wl"], "edge,core");
    assert_eq!(after["scope"], "orders:read");
    assert_ne!(before["jti"], after["jti"]);
    // What the access token has is not what this one has.
    for scope in ["orders:write", "orders:read billing:read", "billing:read"] {
        replace(&world, "edge", &second, &[("scope", scope)])
            .await
            .assert_error(400, "invalid_scope");
    }
    for changed in ["request_details", "request_context"] {
        replace(&world, "core", &first, &[(changed, r#"{"order":8}"#)])
            .await
            .assert_error(400, "invalid_request");
    }
    // No workload of the domain.
    let answer = replace(&world, "apart", &first, &[]).await;
    answer.assert_error(400, "invalid_request");
    world.advance(40);
    bad_token(&replace(&world, "core", &first, &[]).await);
    bad_token(&replace(&world, "core", &second, &[]).await);
}

#[tokio::test]
async fn a_transaction_that_was_replaced_too_often_goes_no_further() {
    let world = world().await;
    let subject = access(&world, "orders:read").await;
    let mut token = begun(&world, &subject, &[]).await;
    for _ in 0..9 {
        let answer = replace(&world, "core", &token, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        token = text(&answer.json(), "access_token");
    }
    let workloads = text(&claims(&world, &token).await, "req_wl");
    assert_eq!(workloads.split(',').count(), 10);
    bad_token(&replace(&world, "core", &token, &[]).await);
}

#[tokio::test]
async fn a_replacement_needs_all_that_the_first_needed() {
    let world = world().await;
    let subject = access(&world, "orders:read").await;
    let token = begun(&world, &subject, &[]).await;
    // Another trust domain, another client's tokens, another person in charge, and no user.
    for edit in [
        ("trust_domain: trust.example", "trust_domain: x.example"),
        (
            "transaction_tokens: true, subject_clients: [web]",
            "transaction_tokens: true, subject_clients: [core]",
        ),
        ("username: alice,", "username: alice, may_act: [edge],"),
        ("username: alice,", "username: alice, disabled: true,"),
        ("- { id: web,", "- { id: web, disabled: true,"),
        ("- { id: web,", "- { id: web, may_act: [edge],"),
    ] {
        let other = world
            .restarted(workloads(|text| {
                assert!(text.contains(edit.0), "{edit:?}");
                text.replacen(edit.0, edit.1, 1)
            }))
            .await;
        let domain = if edit.1.contains("x.example") {
            "x.example"
        } else {
            DOMAIN
        };
        bad_token(&replace(&other, "core", &token, &[("audience", domain)]).await);
    }
    assert_eq!(replace(&world, "core", &token, &[]).await.status, 200);
    world
        .post_as("web", "/revoke", &[("token", &subject)])
        .await;
    bad_token(&replace(&world, "core", &token, &[]).await);
}

#[tokio::test]
async fn a_transaction_token_is_no_access_token_anywhere() {
    let world = world().await;
    let subject = access(&world, "openid orders:read").await;
    let token = begun(&world, &subject, &[]).await;
    for server in ["gw_orders", "gw_both"] {
        let form = [("token", token.as_str()), ("resource", ORDERS)];
        let answer = world.post_as(server, "/introspect", &form).await;
        assert_eq!(answer.json(), json!({ "active": false }));
    }
    let request = http::Request::get("/userinfo")
        .header(http::header::AUTHORIZATION, format!("Bearer {token}"))
        .body(axum::body::Body::empty());
    assert_eq!(world.send(request.unwrap()).await.status, 401);
    // Nor is it exchanged for one, whatever it is called.
    for kind in [ACCESS_TOKEN, JWT, TXN] {
        bad_token(&exchange(&world, "edge", &token, &[("subject_token_type", kind)]).await);
        let actor = [("actor_token", token.as_str()), ("actor_token_type", kind)];
        bad_token(&exchange(&world, "edge", &subject, &actor).await);
    }
    for kind in [ACCESS_TOKEN, JWT] {
        bad_token(&ask(&world, "edge", &token, &[("subject_token_type", kind)]).await);
    }
    let hint = format!("/logout?id_token_hint={token}");
    let answer = world.get(&hint).await;
    assert_ne!(answer.status, 303, "{answer:?}");
    assert_ne!(answer.status, 302, "{answer:?}");
    // Revoked by mistake, it takes nothing with it.
    world.post_as("web", "/revoke", &[("token", &token)]).await;
    assert!(world.is_active(&subject).await);
}

/// A token taken apart.
fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<_> = token.split('.').collect();
    parts.try_into().unwrap()
}

fn read(part: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Signed by somebody else, whatever the header says of the key.
fn of_strangers(token: &str) -> Vec<(&'static str, String)> {
    let [header, payload, _] = parts(token);
    let (stranger, said) = (Signer::new(), read(payload));
    let signed = |name: &str, value: Value| {
        let mut header = read(header);
        header[name] = value;
        stranger.sign(&header, &said)
    };
    vec![
        ("a stranger's", stranger.sign(&read(header), &said)),
        ("a key that it brings", signed("jwk", stranger.jwk())),
        (
            "a key elsewhere",
            signed("jku", json!("https://evil.example")),
        ),
        ("another algorithm", signed("alg", json!("HS256"))),
        ("a path as key", signed("kid", json!("../../etc/passwd"))),
        ("nested", signed("cty", json!("JWT"))),
    ]
}

/// Our signature, and not what we have signed.
fn mangled(token: &str) -> Vec<(&'static str, String)> {
    let [header, payload, signature] = parts(token);
    let with = |payload: &str| format!("{header}.{payload}.{signature}");
    let mut unsigned = read(header);
    unsigned["alg"] = json!("none");
    let unsigned = base64(unsigned.to_string());
    let mut wider = read(payload);
    wider["scope"] = json!("orders:read orders:write");
    let twice = r#"{"scope":"orders:write","#;
    let twice = read(payload).to_string().replacen('{', twice, 1);
    vec![
        ("unsigned", format!("{unsigned}.{payload}.")),
        ("no algorithm", format!("{unsigned}.{payload}.{signature}")),
        ("other claims", with(&base64(wider.to_string()))),
        ("a name twice", with(&base64(twice))),
        ("a long one", with(&"A".repeat(30_000))),
        ("cut off", format!("{header}.{payload}")),
        ("with a space", format!("{token} ")),
    ]
}

#[tokio::test]
async fn a_transaction_token_that_we_have_not_signed_is_replaced_by_nothing() {
    let world = world().await;
    let subject = access(&world, "orders:read orders:write").await;
    let token = begun(&world, &subject, &[]).await;
    let cut = jwt(&world, "gw_orders", &subject).await;
    let all = [of_strangers(&token), mangled(&token)].concat();
    for (what, text) in all.into_iter().chain([("an access token", cut)]) {
        let answer = replace(&world, "core", &text, &[]).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.body);
        bad_token(&answer);
    }
    assert_eq!(replace(&world, "core", &token, &[]).await.status, 200);
}

#[tokio::test]
async fn whoever_acted_before_is_named_in_the_transaction() {
    let world = world().await;
    let subject = access(&world, "orders:read").await;
    let going_on = exchanged(&world, "apart", &subject, &[]).await;
    assert_eq!(
        facts(&world, "gw_orders", &going_on).await["act"]["sub"],
        "apart"
    );
    let token = begun(&world, &going_on, &[]).await;
    let said = claims(&world, &token).await;
    assert_eq!(
        (&said["act"]["sub"], &said["req_wl"]),
        (&json!("apart"), &json!("edge"))
    );
    // It hangs on what that was exchanged from.
    world
        .post_as("web", "/revoke", &[("token", &subject)])
        .await;
    bad_token(&ask(&world, "edge", &going_on, &[]).await);
}

#[test]
fn what_a_trust_domain_cannot_be_is_said_at_start() {
    for (from, to, expected) in [
        (
            "trust_domain: trust.example",
            "trust_domain: ''",
            "transaction_tokens.trust_domain`: must be 1 to 200",
        ),
        (
            "trust_domain: trust.example",
            "trust_domain: 'https://api.example/orders'",
            "must be the name of nothing else",
        ),
        (
            "trust_domain: trust.example",
            "trust_domain: edge",
            "must be the name of nothing else",
        ),
        (
            "trust_domain: trust.example",
            "trust_domain: t, ttl_secs: 301",
            "transaction_tokens.ttl_secs`: must be from 1 to 300",
        ),
        (
            "\ntransaction_tokens: { trust_domain: trust.example }",
            "",
            "exchange.transaction_tokens`: there are none",
        ),
        ("id: core,", "id: 'core,2',", "must have no `,`"),
    ] {
        let config = workloads(|text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        let issues = crate::TokenService::check(&config, std::path::Path::new("."));
        let told: Vec<_> = issues.iter().map(ToString::to_string).collect();
        assert!(
            told.iter().any(|issue| issue.contains(expected)),
            "{expected}: {told:?}"
        );
    }
    let issues = crate::TokenService::check(&workloads(|text| text), std::path::Path::new("."));
    assert!(issues.is_empty(), "{issues:?}");
}
