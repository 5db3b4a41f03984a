//! Proofs that are not quite in order: each is refused, and uses nothing up.

use serde_json::{Value, json};

use super::{GATEWAY, NOW, URL, assert_refused, carol, gateway, request};
use crate::holder::{Holder, base64, changed, claims};

#[tokio::test]
async fn every_claim_is_of_this_request_and_this_token_and_now() {
    let (gateway, _) = gateway(GATEWAY).await;
    let holder = Holder::known_to(&[&gateway]);
    for (name, value) in [
        ("htm", json!("POST")),
        ("htm", json!("get")),
        ("htm", json!(["GET"])),
        ("htm", Value::Null),
        ("htu", json!("http://gw.test/records/1")),
        ("htu", json!("https://gw.test/records/2")),
        ("htu", json!("https://gw.test/records/1/")),
        ("htu", json!("https://gw.test/Records/1")),
        ("htu", json!("https://gw.test:8443/records/1")),
        ("htu", json!("https://admin.gw.test/records/1")),
        ("htu", json!("https://evil.example/records/1")),
        ("htu", json!("https://x@gw.test/records/1")),
        ("htu", json!("/records/1")),
        ("htu", json!(1)),
        ("htu", Value::Null),
        ("iat", json!(NOW - 61)),
        ("iat", json!(NOW + 61)),
        ("iat", json!(NOW.to_string())),
        ("iat", json!(1.5)),
        ("iat", json!(-1)),
        ("iat", Value::Null),
        ("jti", json!("")),
        ("jti", json!("x".repeat(256))),
        ("jti", json!(1)),
        ("jti", Value::Null),
        ("ath", json!("")),
        ("ath", json!(base64([0; 32]))),
        ("ath", json!(1)),
        ("ath", Value::Null),
        ("nonce", json!(1)),
    ] {
        let proof = holder.proof(URL, NOW, &[(name, value.clone())]);
        let answer = carol(&gateway, &proof).await;
        assert_eq!(answer.status(), 401, "{name}: {value}");
        assert_refused(&answer, "invalid_dpop_proof");
    }
    for (name, value) in [
        ("htu", json!("HTTPS://GW.test:443/records/1?x#y")),
        ("htu", json!("https://gw.test/%72ecords/1")),
        ("iat", json!(NOW - 60)),
        ("iat", json!(NOW + 60)),
        ("nonce", json!("nobody asked for one")),
        ("exp", json!(1)),
    ] {
        let proof = holder.proof(URL, NOW, &[(name, value.clone())]);
        assert_eq!(
            carol(&gateway, &proof).await.status(),
            200,
            "{name}: {value}"
        );
    }
    assert_eq!(gateway.upstream.seen().len(), 6);
}

#[tokio::test]
async fn a_proof_is_signed_as_its_header_says_by_the_public_key_in_it() {
    let (gateway, _) = gateway(GATEWAY).await;
    let holder = Holder::known_to(&[&gateway]);
    let (jwk, other) = (holder.jwk(), Holder::new().jwk());
    let with = |name: &str, value: Value| changed(jwk.clone(), &[(name, value)]);
    let header = |changes: &[(&str, Value)]| changed(holder.header(), changes);
    for header in [
        header(&[("typ", json!("JWT"))]),
        header(&[("typ", json!("at+jwt"))]),
        header(&[("typ", Value::Null)]),
        header(&[("alg", json!("none"))]),
        header(&[("alg", json!("ES384"))]),
        header(&[("alg", json!("RS256"))]),
        header(&[("alg", json!("HS256"))]),
        header(&[
            ("alg", json!("HS256")),
            ("jwk", json!({ "kty": "oct", "k": base64([1; 32]) })),
        ]),
        header(&[("alg", Value::Null)]),
        header(&[("jwk", Value::Null)]),
        header(&[("jwk", json!("x"))]),
        header(&[("jwk", json!([jwk]))]),
        header(&[("jwk", other)]),
        header(&[("jwk", with("d", json!(base64([1; 32]))))]),
        header(&[("jwk", with("k", json!("")))]),
        header(&[("jwk", with("crv", json!("P-384")))]),
        header(&[("jwk", with("x", json!(base64([0; 32]))))]),
        header(&[("jwk", with("x", json!(base64([1; 31]))))]),
        header(&[("jwk", with("alg", json!("ES384")))]),
        header(&[("jwk", with("use", json!("enc")))]),
        header(&[("crit", json!(["x"]))]),
        header(&[("b64", json!(false))]),
    ] {
        let claims = claims(URL, "at_carol", NOW).to_string();
        let answer = carol(&gateway, &holder.sign(&header.to_string(), &claims)).await;
        assert_eq!(answer.status(), 401, "{header}");
        assert_refused(&answer, "invalid_dpop_proof");
    }
    // A name that is said twice, as readers disagree about.
    let claims = claims(URL, "at_carol", NOW).to_string();
    let twice = claims.replacen('{', "{\"htm\":\"POST\",", 1);
    let answer = carol(&gateway, &holder.sign(&holder.header().to_string(), &twice)).await;
    assert_refused(&answer, "invalid_dpop_proof");
    assert!(gateway.upstream.seen().is_empty());
}

#[tokio::test]
async fn no_character_of_a_proof_can_be_changed_and_none_of_that_uses_it_up() {
    let (gateway, _) = gateway(GATEWAY).await;
    let holder = Holder::known_to(&[&gateway]);
    let proof = holder.proof(URL, NOW, &[]);
    // By a prime, so that every part of every part is met, and within patience.
    for at in (0..proof.len()).step_by(7) {
        let mut changed = proof.clone().into_bytes();
        changed[at] = match changed[at] {
            b'A' => b'B',
            _ => b'A',
        };
        let changed = String::from_utf8(changed).unwrap();
        let answer = carol(&gateway, &changed).await;
        assert_eq!(answer.status(), 401, "{at}");
    }
    for odd in [
        "",
        "x",
        "a.b.c",
        "..",
        proof.split_at(1).1,
        proof.split_at(proof.len() - 1).0,
        &format!("{proof}="),
        &format!("{proof}."),
        &format!("{proof}, {proof}"),
        &format!("{proof} {proof}"),
        &"a".repeat(9000),
    ] {
        assert_refused(&carol(&gateway, odd).await, "invalid_dpop_proof");
    }
    let twice = request("/records/1", "DPoP", "at_carol", &[&proof, &proof]);
    assert_refused(&gateway.raw(&twice).await, "invalid_dpop_proof");
    assert!(gateway.upstream.seen().is_empty());
    assert_eq!(carol(&gateway, &proof).await.status(), 200, "not used up");
}

#[tokio::test]
async fn what_a_client_says_of_itself_makes_no_url() {
    let (gateway, _) = gateway(GATEWAY).await;
    let holder = Holder::known_to(&[&gateway]);
    let evil = holder.proof("http://evil.example/records/1", NOW, &[]);
    for fields in [
        "X-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example\r\n",
        "Forwarded: proto=http;host=evil.example\r\n",
        "X-Original-URL: http://evil.example/records/1\r\n",
    ] {
        let said = request("/records/1", "DPoP", "at_carol", &[&evil]).replacen(
            "\r\n",
            &format!("\r\n{fields}"),
            1,
        );
        assert_refused(&gateway.raw(&said).await, "invalid_dpop_proof");
    }
    // By a name that is none of the gateway's there is no URL, whatever the proof says.
    for host in ["evil.example", "gw.test:8443", "gw.test.evil.example"] {
        for url in [format!("https://{host}/records/1"), URL.to_owned()] {
            let proof = holder.proof(&url, NOW, &[]);
            let named =
                request("/records/1", "DPoP", "at_carol", &[&proof]).replacen("gw.test", host, 1);
            assert_refused(&gateway.raw(&named).await, "invalid_dpop_proof");
        }
    }
    // A proof for one host of the gateway is none for another.
    for (host, url) in [
        ("gw.test", "https://admin.gw.test/records/1"),
        ("admin.gw.test", URL),
    ] {
        let proof = holder.proof(url, NOW, &[]);
        let crossed =
            request("/records/1", "DPoP", "at_carol", &[&proof]).replacen("gw.test", host, 1);
        assert_refused(&gateway.raw(&crossed).await, "invalid_dpop_proof");
    }
    assert!(gateway.upstream.seen().is_empty());
    for host in ["admin.gw.test", "ADMIN.gw.test.", "admin.gw.test:443"] {
        let proof = holder.proof("https://admin.gw.test/records/1", NOW, &[]);
        let good =
            request("/records/1", "DPoP", "at_carol", &[&proof]).replacen("gw.test", host, 1);
        assert_eq!(gateway.raw(&good).await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_proof_and_another_credential_are_two() {
    let (gateway, _) = gateway(GATEWAY).await;
    let holder = Holder::known_to(&[&gateway]);
    let proof = holder.proof(URL, NOW, &[]);
    let in_query = request("/records/1?access_token=x", "DPoP", "at_carol", &[&proof]);
    assert_eq!(gateway.raw(&in_query).await.status(), 400);
    let two = request("/records/1", "DPoP", "at_carol", &[&proof]).replacen(
        "Connection",
        "Authorization: Bearer at_alice\r\nConnection",
        1,
    );
    assert_eq!(gateway.raw(&two).await.status(), 400);
    assert!(gateway.upstream.seen().is_empty());
}
