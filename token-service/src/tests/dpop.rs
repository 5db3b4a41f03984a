//! DPoP (RFC 9449): tokens that are worth nothing without the key that they were asked for with.

mod userinfo;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use http::{Method, Request, header};
use serde_json::{Value, json};
use service_kit::digest;

use super::harness::{
    Answer, Browser, ISSUER, ORDERS, World, as_client, authorize_uri, code_form, config, encode,
    query,
};
use super::pushed;
use super::signer::{Signer, base64, changed};

/// What the clock of every test says at first, in seconds.
const NOW: u64 = 1_800_000_000;

/// Whoever has a key.
pub(super) struct Holder(Signer);

impl Holder {
    pub(super) fn new() -> Self {
        Self(Signer::new())
    }

    fn jwk(&self) -> Value {
        self.0.jwk()
    }

    fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let text = format!(
            r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
            jwk["x"], jwk["y"]
        );
        digest::sha256_base64url(text.as_bytes())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.0.sign(header, claims)
    }

    /// A proof for the token endpoint, in order but for what is changed; `null` takes a claim away.
    pub(super) fn proof(&self, changes: &[(&str, Value)]) -> String {
        let claims = json!({
            "jti": "p-1", "htm": "POST", "htu": format!("{ISSUER}/token"), "iat": NOW,
        });
        self.sign(
            &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() }),
            &changed(claims, changes),
        )
    }

    pub(super) fn named(&self, jti: &str) -> String {
        self.proof(&[("jti", json!(jti))])
    }
}

pub(super) fn with_proof(mut request: Request<Body>, proofs: &[&str]) -> Request<Body> {
    for proof in proofs {
        request.headers_mut().append("dpop", proof.parse().unwrap());
    }
    request
}

pub(super) async fn ask(world: &World, who: &str, form: &[(&str, &str)], proof: &str) -> Answer {
    world
        .send(with_proof(as_client(who, "/token", form), &[proof]))
        .await
}

async fn for_itself(world: &World, proof: &str) -> Answer {
    ask(world, "svc", &[("grant_type", "client_credentials")], proof).await
}

/// A client without a secret.
async fn native(world: &World, form: &[(&str, &str)], proof: &str) -> Answer {
    let form: Vec<_> = form
        .iter()
        .copied()
        .chain([("client_id", "native")])
        .collect();
    let request = Request::post("/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encode(&form)))
        .unwrap();
    let proofs: Vec<_> = Some(proof)
        .filter(|proof| !proof.is_empty())
        .into_iter()
        .collect();
    world.send(with_proof(request, &proofs)).await
}

#[tokio::test]
async fn a_token_that_was_asked_for_with_a_proof_is_bound_to_its_key_everywhere() {
    let (world, holder) = (World::new().await, Holder::new());
    let answer = for_itself(&world, &holder.proof(&[])).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["token_type"], "DPoP");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let bound = json!({ "jkt": holder.thumbprint() });

    let told = world.introspect("gw_orders", &token).await.json();
    assert_eq!(
        (&told["token_type"], &told["cnf"]),
        (&json!("DPoP"), &bound)
    );
    let introspector = world.service.introspector("local").unwrap();
    let opaque = oauth::OpaqueToken::parse(&token).unwrap();
    let resource = oauth::ResourceId::new(ORDERS);
    let oauth::Introspection::Active(active) =
        introspector.introspect(&opaque, &resource).await.unwrap()
    else {
        panic!("live");
    };
    assert_eq!(json!(active.confirmation), bound);
    let claims = active.jwt.reveal().split('.').nth(1).unwrap().to_owned();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["cnf"], bound);

    // Without a proof, nothing has changed.
    let answer = world
        .token("svc", &[("grant_type", "client_credentials")])
        .await;
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert!(answer.headers.get("dpop-nonce").is_none());
    let told = world
        .introspect("gw_orders", answer.json()["access_token"].as_str().unwrap())
        .await;
    assert_eq!(
        (&told.json()["token_type"], &told.json()["cnf"]),
        (&json!("Bearer"), &Value::Null)
    );
}

#[tokio::test]
async fn a_proof_that_is_not_in_order_is_refused_and_gets_no_token() {
    let (world, holder) = (World::new().await, Holder::new());
    let refused = |answer: Answer| answer.assert_error(400, "invalid_dpop_proof");
    for (name, value) in [
        ("htm", json!("GET")),
        ("htm", json!("post")),
        ("htm", Value::Null),
        ("htu", json!("http://as.example/token")),
        ("htu", json!(format!("{ISSUER}/par"))),
        ("htu", json!("https://other.example/token")),
        ("htu", Value::Null),
        ("iat", json!(NOW - 61)),
        ("iat", json!(NOW + 61)),
        ("iat", json!(NOW.to_string())),
        ("iat", Value::Null),
        ("jti", Value::Null),
        ("jti", json!("")),
        ("jti", json!("x".repeat(256))),
        ("jti", json!(1)),
        ("nonce", json!(1)),
    ] {
        refused(for_itself(&world, &holder.proof(&[(name, value)])).await);
    }
    let form = [("grant_type", "client_credentials")];
    let (one, two) = (holder.named("a"), holder.named("b"));
    refused(
        world
            .send(with_proof(as_client("svc", "/token", &form), &[&one, &two]))
            .await,
    );
    for odd in ["", "x", "a.b.c"] {
        refused(for_itself(&world, odd).await);
    }
    // Nobody's proof is looked at before it is known who calls.
    world
        .send(with_proof(as_client("nobody", "/token", &form), &["x"]))
        .await
        .assert_error(401, "invalid_client");
    for htu in [
        "https://AS.example:443/token?x=1#y",
        "https://as.example/%74oken",
    ] {
        let proof = holder.proof(&[("jti", json!(htu)), ("htu", json!(htu))]);
        assert_eq!(for_itself(&world, &proof).await.status, 200, "{htu}");
    }
}

#[tokio::test]
async fn a_proof_is_signed_as_its_header_says_by_the_key_in_it() {
    let (world, holder) = (World::new().await, Holder::new());
    let claims = json!({ "jti": "h", "htm": "POST", "htu": format!("{ISSUER}/token"), "iat": NOW });
    let jwk = holder.jwk();
    let mut private = jwk.clone();
    private["d"] = json!(base64([1; 32]));
    let other = Holder::new().jwk();
    for header in [
        json!({ "typ": "JWT", "alg": "ES256", "jwk": jwk }),
        json!({ "alg": "ES256", "jwk": jwk }),
        json!({ "typ": "dpop+jwt", "alg": "none", "jwk": jwk }),
        json!({ "typ": "dpop+jwt", "alg": "HS256", "jwk": { "kty": "oct", "k": base64([1; 32]) } }),
        json!({ "typ": "dpop+jwt", "alg": "ES384", "jwk": jwk }),
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": private }),
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": other }),
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": "x" }),
        json!({ "typ": "dpop+jwt", "alg": "ES256" }),
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk, "crit": ["x"] }),
    ] {
        let refused = for_itself(&world, &holder.sign(&header, &claims)).await;
        refused.assert_error(400, "invalid_dpop_proof");
    }
    // None of that has used anything up.
    assert_eq!(
        for_itself(
            &world,
            &holder.sign(
                &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }),
                &claims
            )
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn a_proof_is_good_once_until_it_is_too_old_to_be_good() {
    let (world, holder) = (World::new().await, Holder::new());
    // Of the future, as far as is allowed: remembered for longest.
    let proof = holder.proof(&[("iat", json!(NOW + 60))]);
    let all = join_all((0..20).map(|_| for_itself(&world, &proof))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);
    all.iter()
        .filter(|answer| answer.status != 200)
        .for_each(|answer| answer.assert_error(400, "invalid_dpop_proof"));
    for _ in 0..5 {
        world.advance(30);
        for_itself(&world, &proof)
            .await
            .assert_error(400, "invalid_dpop_proof");
    }
    // The proofs of another key have names of their own.
    let other = Holder::new().proof(&[("iat", json!(NOW + 150))]);
    assert_eq!(for_itself(&world, &other).await.status, 200);
}

#[tokio::test]
async fn where_nonces_are_wanted_a_proof_repeats_what_it_was_told() {
    let world = World::with(config(|text| format!("require_dpop_nonce: true\n{text}"))).await;
    let holder = Holder::new();
    let refused = for_itself(&world, &holder.named("1")).await;
    refused.assert_error(400, "use_dpop_nonce");
    let nonce = refused.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let with = |jti: &str, nonce: &str, at: u64| {
        holder.proof(&[
            ("jti", json!(jti)),
            ("nonce", json!(nonce)),
            ("iat", json!(at)),
        ])
    };
    let answer = for_itself(&world, &with("2", &nonce, NOW)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.headers["dpop-nonce"], nonce.as_str());
    for_itself(&world, &with("3", "made up", NOW))
        .await
        .assert_error(400, "use_dpop_nonce");
    world.advance(300);
    let old = for_itself(&world, &with("4", &nonce, NOW + 300)).await;
    old.assert_error(400, "use_dpop_nonce");
    assert_ne!(old.headers["dpop-nonce"], nonce.as_str());
    // Another process with the same secret knows it, too.
    let again = world
        .restarted(config(|text| format!("require_dpop_nonce: true\n{text}")))
        .await;
    let nonce = old.headers["dpop-nonce"].to_str().unwrap();
    assert_eq!(
        for_itself(&again, &with("5", nonce, NOW + 300))
            .await
            .status,
        200
    );
    // Where they are not wanted, one that is said must be good all the same.
    let plain = World::new().await;
    for_itself(&plain, &with("6", "made up", NOW))
        .await
        .assert_error(400, "use_dpop_nonce");
}

#[tokio::test]
async fn a_code_that_is_bound_to_a_key_is_redeemed_with_it_alone() {
    let (world, holder, other) = (World::new().await, Holder::new(), Holder::new());
    let key = holder.thumbprint();
    let code = async || {
        let uri = authorize_uri(&[
            ("client_id", "web"),
            ("scope", "openid orders:read"),
            ("dpop_jkt", &key),
        ]);
        query(&Browser::default().walk(&world, &uri, "alice").await)["code"].clone()
    };
    for (jti, proof) in [("c1", Some(&other)), ("c2", None)] {
        let (code, form) = (code().await, code_form);
        let refused = match proof {
            Some(other) => ask(&world, "web", &form(&code), &other.named(jti)).await,
            None => world.redeem("web", &code).await,
        };
        refused.assert_error(400, "invalid_grant");
        // Somebody else has it: it is burnt.
        ask(
            &world,
            "web",
            &form(&code),
            &holder.named(&format!("{jti}-after")),
        )
        .await
        .assert_error(400, "invalid_grant");
    }
    let code = code().await;
    let answer = ask(&world, "web", &code_form(&code), &holder.named("c3")).await;
    assert_eq!(answer.json()["token_type"], "DPoP", "{}", answer.body);
    let uri = authorize_uri(&[
        ("client_id", "web"),
        ("scope", "openid"),
        ("dpop_jkt", "short"),
    ]);
    let target = Browser::default()
        .get(&world, &uri)
        .await
        .location()
        .to_owned();
    assert_eq!(query(&target)["error"], "invalid_request");
}

#[tokio::test]
async fn a_pushed_request_binds_its_code_by_its_proof() {
    let (world, holder, other) = (World::new().await, Holder::new(), Holder::new());
    let at_par = |holder: &Holder, jti: &str| {
        holder.proof(&[("jti", json!(jti)), ("htu", json!(format!("{ISSUER}/par")))])
    };
    let push = async |more: &[(&str, &str)], proof: &str| {
        let form = pushed::form(more);
        world
            .send(with_proof(as_client("web", "/par", &form), &[proof]))
            .await
    };
    let key = other.thumbprint();
    push(&[("dpop_jkt", &key)], &at_par(&holder, "1"))
        .await
        .assert_error(400, "invalid_dpop_proof");
    push(&[], &holder.named("2"))
        .await
        .assert_error(400, "invalid_dpop_proof");
    let pushed = push(&[], &at_par(&holder, "3")).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let uri = format!(
        "/authorize?{}",
        encode(&[("client_id", "web"), ("request_uri", &uri)])
    );
    let target = Browser::default().walk(&world, &uri, "alice").await;
    let code = query(&target)["code"].clone();
    ask(&world, "web", &code_form(&code), &other.named("4"))
        .await
        .assert_error(400, "invalid_grant");
    // The same with the right key.
    let pushed = push(&[], &at_par(&holder, "5")).await.json();
    let uri = pushed["request_uri"].as_str().unwrap();
    let query_of = [("client_id", "web"), ("request_uri", uri)];
    let uri = format!("/authorize?{}", encode(&query_of));
    let target = Browser::default().walk(&world, &uri, "alice").await;
    let code = query(&target)["code"].clone();
    let answer = ask(&world, "web", &code_form(&code), &holder.named("6")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn the_refresh_token_of_a_public_client_is_bound_and_of_another_is_not() {
    let (world, holder, other) = (World::new().await, Holder::new(), Holder::new());
    let callback = "http://127.0.0.1:7000/cb";
    let uri = authorize_uri(&[
        ("client_id", "native"),
        ("scope", "openid orders:read"),
        ("redirect_uri", callback),
    ]);
    let code = query(&Browser::default().walk(&world, &uri, "alice").await)["code"].clone();
    let mut form = code_form(&code);
    form.iter_mut()
        .filter(|(name, _)| *name == "redirect_uri")
        .for_each(|pair| pair.1 = callback);
    let answer = native(&world, &form, &holder.named("1")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    // Whoever found it gets nothing, and cannot end what its owner has.
    for proof in ["", &other.named("2")] {
        native(&world, &form, proof)
            .await
            .assert_error(400, "invalid_grant");
    }
    let again = native(&world, &form, &holder.named("3")).await;
    assert_eq!(again.json()["token_type"], "DPoP", "{}", again.body);

    // An answer that was lost is given again to the same key alone.
    let repeated = native(&world, &form, &holder.named("3b")).await;
    assert_eq!(
        repeated.json()["refresh_token"],
        again.json()["refresh_token"]
    );
    native(&world, &form, &other.named("3c"))
        .await
        .assert_error(400, "invalid_grant");

    // A client with a secret proves who it is by that, and may change its key (section 5).
    let tokens = world.tokens("openid offline_access orders:read").await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let bound = ask(&world, "web", &form, &holder.named("4")).await;
    assert_eq!(bound.json()["token_type"], "DPoP", "{}", bound.body);
    let refresh = bound.json()["refresh_token"].as_str().unwrap().to_owned();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(
        ask(&world, "web", &form, &other.named("5")).await.status,
        200
    );
}

#[tokio::test]
async fn a_client_that_must_be_bound_gets_no_bearer_token() {
    let world = World::with(config(|text| {
        text.replacen(
            "{ id: svc,",
            "{ id: svc, dpop_bound_access_tokens: true,",
            1,
        )
    }))
    .await;
    let form = [("grant_type", "client_credentials")];
    world
        .token("svc", &form)
        .await
        .assert_error(400, "invalid_dpop_proof");
    assert_eq!(
        for_itself(&world, &Holder::new().proof(&[])).await.json()["token_type"],
        "DPoP"
    );
}

#[tokio::test]
async fn scripts_may_send_proofs_and_see_nonces() {
    let world = World::new().await;
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri("/token")
        .body(Body::empty())
        .unwrap();
    let preflight = world.send(request).await;
    assert!(
        preflight
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS)
            .contains("DPoP")
    );
    assert!(
        preflight
            .header(header::ACCESS_CONTROL_EXPOSE_HEADERS)
            .contains("DPoP-Nonce")
    );
    let metadata = world.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["dpop_signing_alg_values_supported"][0], "ES256");
}
