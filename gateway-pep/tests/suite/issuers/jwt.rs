//! JWTs of an issuer that is configured: which pass, and the many that do not.

use serde_json::{Value, json};

use super::{Gateway, NOW, at_hand, corp};
use crate::holder::{base64, changed};
use crate::signer::Signer;

async fn gateway(corp: &[&Signer], more: &str) -> Gateway {
    let other = Signer::new("o1");
    Gateway::start(&at_hand(corp, &[&other], more)).await
}

#[tokio::test]
async fn a_token_passes_by_its_issuers_key_and_the_upstream_gets_none_of_it() {
    let signer = Signer::new("k1");
    let gateway = gateway(&[&signer], ", subject: { attributes: { roles: groups } }").await;
    let token = signer.token(&corp(&[
        ("groups", json!(["staff"])),
        ("roles", json!(["x"])),
    ]));
    for _ in 0..2 {
        let answer = gateway.get("/corp/1", &token).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    let subject = gateway.fixture.pdp.last().subject;
    assert_eq!((&*subject.kind, &*subject.id), ("User", "corp:alice"));
    for (name, value) in [
        ("issuer", json!("corp")),
        ("client_id", json!("corp:web")),
        ("scope", json!(["read"])),
        ("roles", json!(["staff"])),
    ] {
        assert_eq!(subject.properties[name], value, "{name}");
    }
    for seen in gateway.fixture.upstream.seen() {
        assert!(!seen.headers.contains_key("authorization"));
        assert!(!format!("{:?}", seen.headers).contains(&token));
    }
    assert_eq!(gateway.fixture.tokens.count(), 0);
    let metrics = gateway.fixture.metrics.render();
    let verified = "pep_token_swaps_total{issuer=\"corp\",result=\"active\",source=\"l1\"} 1";
    assert!(metrics.contains(verified), "{metrics}");
}

#[tokio::test]
async fn the_token_itself_goes_on_only_where_that_is_configured() {
    let signer = Signer::new("k1");
    let gateway = gateway(&[&signer], ", forward: same").await;
    let token = signer.token(&corp(&[]));
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
    let seen = gateway.fixture.upstream.last();
    assert_eq!(seen.headers["authorization"], format!("Bearer {token}"));
}

#[tokio::test]
async fn every_claim_that_makes_it_a_token_for_here_and_now_is_looked_at() {
    let signer = Signer::new("k1");
    let gateway = gateway(&[&signer], ", require: { tenant: [acme] }").await;
    let claims = |changes: &[(&str, Value)]| {
        let mut all = vec![("tenant", json!("acme"))];
        all.extend_from_slice(changes);
        corp(&all)
    };
    for good in [
        claims(&[]),
        claims(&[("aud", json!(["x", "https://a"]))]),
        claims(&[("exp", json!(NOW - 9))]),
        claims(&[("iat", json!(NOW + 10)), ("nbf", json!(NOW + 10))]),
        claims(&[("exp", json!(NOW - 10 + 86_400))]),
        claims(&[("tenant", json!(["x", "acme"]))]),
    ] {
        let answer = gateway.get("/corp/1", &signer.token(&good)).await;
        assert_eq!(answer.status(), 200, "{good}");
    }
    let passed = gateway.fixture.upstream.seen().len();
    for bad in [
        claims(&[("iss", json!("https://corp.example/"))]),
        claims(&[("iss", json!("https://other.example"))]),
        claims(&[("iss", json!(["https://corp.example"]))]),
        claims(&[("iss", Value::Null)]),
        claims(&[("aud", json!("https://b"))]),
        claims(&[("aud", json!("https://a/"))]),
        claims(&[("aud", json!([]))]),
        claims(&[("aud", json!({ "https://a": 1 }))]),
        claims(&[("aud", Value::Null)]),
        claims(&[("exp", json!(NOW - 10))]),
        claims(&[("exp", json!("2000000000"))]),
        claims(&[("exp", json!(-1))]),
        claims(&[("exp", Value::Null)]),
        claims(&[("nbf", json!(NOW + 11))]),
        claims(&[("nbf", json!("1"))]),
        claims(&[("iat", json!(NOW + 11))]),
        claims(&[("iat", Value::Null)]),
        claims(&[("exp", json!(NOW - 10 + 86_401))]),
        claims(&[("sub", json!(7))]),
        claims(&[("client_id", Value::Null)]),
        claims(&[("tenant", json!("other"))]),
        claims(&[("tenant", Value::Null)]),
        claims(&[("cnf", json!({ "jwk": {} }))]),
    ] {
        let answer = gateway.get("/corp/1", &signer.token(&bad)).await;
        assert_eq!(answer.status(), 401, "{bad}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    assert_eq!(gateway.fixture.upstream.seen().len(), passed);
}

#[tokio::test]
async fn a_token_ends_at_its_end_also_where_it_is_remembered() {
    let signer = Signer::new("k1");
    let gateway = gateway(&[&signer], "").await;
    let token = signer.token(&corp(&[("exp", json!(NOW + 20))]));
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
    gateway.clock.advance(std::time::Duration::from_secs(29));
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 200);
    gateway.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(gateway.get("/corp/1", &token).await.status(), 401);
}

#[tokio::test]
async fn a_key_is_for_its_own_algorithm_and_cannot_be_brought_along_or_taken_for_a_secret() {
    let (signer, rsa) = (Signer::new("k1"), Signer::rsa("r1", "RS256"));
    let pss = Signer::rsa("r1", "PS256");
    let stranger = Signer::new("k1");
    let gateway = gateway(&[&signer, &rsa], "").await;
    let claims = corp(&[]);
    assert_eq!(
        gateway.get("/corp/1", &rsa.token(&claims)).await.status(),
        200
    );
    let passed = gateway.fixture.upstream.seen().len();
    let mut hostile = vec![pss.token(&claims), stranger.token(&claims)];
    // HMAC by the public key, and no signature at all.
    let unsigned = |header: &Value| {
        format!(
            "{}.{}",
            base64(header.to_string()),
            base64(claims.to_string())
        )
    };
    for secret in [
        signer.jwk.to_string(),
        rsa.jwk["n"].to_string(),
        String::new(),
    ] {
        let text = unsigned(&json!({ "alg": "HS256", "kid": "k1", "typ": "at+jwt" }));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, text.as_bytes());
        hostile.push(format!("{text}.{}", base64(tag)));
    }
    for algorithm in ["none", "None", "HS384", "ES256K"] {
        let text = unsigned(&json!({ "alg": algorithm, "kid": "k1", "typ": "at+jwt" }));
        hostile.push(format!("{text}."));
        hostile.push(format!("{text}.AA"));
    }
    // The other curve's, and the other padding's, names over a good signature.
    for algorithm in ["ES384", "RS256", "PS256", "EdDSA"] {
        let header = changed(signer.header(), &[("alg", json!(algorithm))]);
        hostile.push(signer.sign(&header.to_string(), &claims.to_string()));
    }
    // A stranger's key in the header; nobody may be asked for one either.
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", trap.local_addr().unwrap());
    for (name, value) in [
        ("jwk", stranger.jwk.clone()),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("x5c", json!(["AAAA"])),
    ] {
        let header = changed(stranger.header(), &[(name, value)]);
        hostile.push(stranger.sign(&header.to_string(), &claims.to_string()));
    }
    for token in &hostile {
        let answer = gateway.get("/corp/1", token).await;
        assert!([400, 401].contains(&answer.status()), "{token} {answer:?}");
    }
    assert_eq!(gateway.fixture.upstream.seen().len(), passed);
    let caught = tokio::time::timeout(std::time::Duration::from_millis(20), trap.accept()).await;
    assert!(caught.is_err(), "a URL of a token was followed");
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_or_is_another_kind_of_token_is_refused() {
    let signer = Signer::new("k1");
    let gateway = gateway(&[&signer], "").await;
    let (header, claims) = (signer.header().to_string(), corp(&[]).to_string());
    let with = |more: &str| header.replacen('{', &format!("{{{more},"), 1);
    let mut hostile: Vec<String> = [
        with(r#""alg":"none""#),
        with(r#""kid":"k1""#),
        with(r#""crit":["exp"]"#),
        with(r#""crit":[]"#),
        with(r#""b64":false"#),
        header.replace("at+jwt", "JWT"),
        header.replace("at+jwt", "id+jwt"),
        header.replace("at+jwt", "dpop+jwt"),
        header.replace(r#","typ":"at+jwt""#, ""),
        header.replace(r#""k1""#, "1"),
    ]
    .iter()
    .map(|header| signer.sign(header, &claims))
    .collect();
    for claims in [
        claims.replacen('{', r#"{"sub":"root","#, 1),
        claims.replacen('{', r#"{"aud":"https://b","#, 1),
        claims.replacen('{', r#"{"iss":"https://corp.example","#, 1),
        format!("{claims} x"),
        format!("\u{feff}{claims}"),
    ] {
        hostile.push(signer.sign(&header, &claims));
    }
    let good = signer.sign(&header, &claims);
    hostile.push(format!("{good}="));
    hostile.push(format!("{good}."));
    hostile.push(good.replacen('.', "=.", 1));
    hostile.push(format!("{good}.{}.{}", base64("x"), base64("y")));
    let large = changed(corp(&[]), &[("pad", json!("x".repeat(9000)))]);
    hostile.push(signer.token(&large));
    for token in &hostile {
        let answer = gateway.get("/corp/1", token).await;
        assert_eq!(answer.status(), 401, "{token} {answer:?}");
    }
    gateway.assert_nothing_passed();
    for typ in ["AT+JWT", "application/at+jwt"] {
        let token = signer.sign(&header.replace("at+jwt", typ), &claims);
        assert_eq!(gateway.get("/corp/1", &token).await.status(), 200, "{typ}");
    }
}

#[tokio::test]
async fn plain_jwts_are_taken_where_that_is_configured_and_id_tokens_never() {
    let signer = Signer::new("k1");
    let gateway = gateway(&[&signer], ", types: [at+jwt, JWT]").await;
    let header = signer.header().to_string();
    for (header, more, status) in [
        (header.clone(), None, 200),
        (header.replace("at+jwt", "JWT"), None, 200),
        (header.replace(r#","typ":"at+jwt""#, ""), None, 200),
        (header.replace("at+jwt", "JWT"), Some("nonce"), 401),
        (header.replace("at+jwt", "JWT"), Some("at_hash"), 401),
        (header.replace("at+jwt", "JWT"), Some("events"), 401),
        (header.replace("at+jwt", "logout+jwt"), None, 401),
    ] {
        let more: Vec<_> = more.iter().map(|name| (*name, json!("x"))).collect();
        let token = signer.sign(&header, &corp(&more).to_string());
        let answer = gateway.get("/corp/1", &token).await;
        assert_eq!(answer.status(), status, "{header} {more:?}");
    }
}

#[tokio::test]
async fn only_the_algorithms_of_the_issuer_are_taken() {
    let (signer, rsa) = (Signer::new("k1"), Signer::rsa("r1", "RS256"));
    let gateway = gateway(&[&signer, &rsa], ", algorithms: [RS256]").await;
    for (signer, status) in [(&signer, 401), (&rsa, 200)] {
        let token = signer.token(&corp(&[]));
        assert_eq!(gateway.get("/corp/1", &token).await.status(), status);
    }
}

#[tokio::test]
async fn scope_and_login_are_those_of_the_token() {
    let signer = Signer::new("k1");
    let gateway = gateway(&[&signer], "").await;
    for (scope, status) in [("read", 403), ("read write", 200)] {
        let token = signer.token(&corp(&[("scope", json!(scope))]));
        let answer = gateway.get("/corp-scoped", &token).await;
        assert_eq!(answer.status(), status, "{answer:?}");
    }
    for (acr, at, status) in [
        (json!("phr"), json!(NOW - 5), 200),
        (json!("pwd"), json!(NOW - 5), 401),
        (json!("phr"), json!(NOW - 61), 401),
        (Value::Null, Value::Null, 401),
    ] {
        let token = signer.token(&corp(&[("acr", acr), ("auth_time", at)]));
        let answer = gateway.get("/corp-pay", &token).await;
        assert_eq!(answer.status(), status, "{answer:?}");
    }
}
