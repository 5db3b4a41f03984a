//! Cases about the token endpoint, userinfo and metadata.

use std::collections::BTreeSet;

use e2e::http::{get, post_form};
use e2e::tokens::{self, text};
use serde_json::json;

use super::{Attacks, MACHINE, WEB};

pub(super) async fn token_endpoint(attacks: &mut Attacks) {
    let machine = ("grant_type", "client_credentials");
    let answer = attacks.token(Some(MACHINE), &[machine, machine]).await;
    attacks.hold("TK-08", &answer);
    let code = [("grant_type", "authorization_code"), ("code", "x")];
    for more in [("code", "x"), ("code_verifier", "")] {
        let form = [
            code[0],
            code[1],
            ("redirect_uri", "http://127.0.0.1/"),
            more,
        ];
        let answer = attacks.token(Some(WEB), &form).await;
        assert!(matches!(answer.status, 400), "{more:?}: {}", answer.body);
    }
    let answer = attacks
        .token(Some(MACHINE), &[machine, ("client_secret", MACHINE.1)])
        .await;
    attacks.hold("TK-12", &answer);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let asserted = [
        machine,
        ("client_assertion_type", kind),
        ("client_assertion", "x"),
    ];
    let answer = attacks.token(Some(MACHINE), &asserted).await;
    attacks.hold("TK-12", &answer);
    let answer = attacks
        .token(Some(MACHINE), &[machine, ("client_id", "cli")])
        .await;
    attacks.hold("TK-12", &answer);
    for grant in ["password", "implicit", "urn:x"] {
        let answer = attacks.token(Some(MACHINE), &[("grant_type", grant)]).await;
        attacks.hold("TK-14", &answer);
    }
    let form = [machine, ("scope", "records:list admin:all")];
    let answer = attacks.token(Some(MACHINE), &form).await;
    attacks.hold("TK-16", &answer);
    assert!(answer.status == 400 || !answer.json()["scope"].to_string().contains("admin"));
    let answer = attacks
        .token(Some(MACHINE), &[machine, ("foo", "bar")])
        .await;
    attacks.hold("TK-20", &answer);
    let bad = attacks.token(Some((MACHINE.0, "wrong")), &[machine]).await;
    for answer in [&answer, &bad] {
        assert!(answer.header("cache-control").contains("no-store"));
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json")
        );
    }
    attacks.expectation("TK-10");
}

pub(super) async fn devices(attacks: &mut Attacks) {
    let device = attacks.site.token_service_url("/device_authorization");
    let device = post_form(&device, None, &[("client_id", "cli")]).await;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "cli"),
        ("device_code", &text(&device.json(), "device_code")),
    ];
    for error in ["authorization_pending", "slow_down", "slow_down"] {
        let answer = attacks.token(None, &form).await;
        attacks.hold("DV-01", &answer);
        assert_eq!(answer.json()["error"], json!(error));
    }
}

pub(super) async fn refresh(attacks: &mut Attacks) {
    // Fifty at once: one successor at most, and none survives beside another.
    let grant = tokens::log_in(&attacks.site, "bob").await;
    let refresh = text(&grant, "refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", &refresh),
    ];
    let race = futures_util::future::join_all((0..50).map(|_| attacks.token(None, &form))).await;
    let won = race.iter().filter(|answer| answer.status == 200);
    let won: BTreeSet<_> = won
        .map(|answer| text(&answer.json(), "refresh_token"))
        .collect();
    assert_eq!(won.len(), 1, "successors");
    attacks.expectation("RT-02");

    // Once more, a moment later: an answer may be lost. Not when it is known to have arrived.
    let answer = attacks.token(None, &form).await;
    attacks.hold("RT-04", &answer);
    assert!(won.contains(&text(&answer.json(), "refresh_token")));
    let successor = text(&answer.json(), "refresh_token");
    let next = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", &successor),
    ];
    let answer = attacks.token(None, &next).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let replayed = attacks.token(None, &form).await;
    assert_eq!(replayed.json()["error"], "invalid_grant");
    assert!(
        !attacks
            .is_active(&text(&answer.json(), "access_token"))
            .await
    );

    let grant = tokens::log_in(&attacks.site, "bob").await;
    let refresh = text(&grant, "refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "cli"),
        ("refresh_token", &refresh),
        ("scope", "openid email"),
    ];
    let answer = attacks.token(None, &form).await;
    attacks.hold("RT-06", &answer);
}

pub(super) async fn userinfo_and_metadata(attacks: &mut Attacks) {
    let machine = ("grant_type", "client_credentials");
    let userinfo = attacks.site.token_service_url("/userinfo");
    let none = get(&userinfo, None).await;
    assert_eq!(none.status, 401);
    assert!(!none.header("www-authenticate").contains("error"));
    let wrong = get(&userinfo, Some("cg_at_wrong")).await;
    assert!(wrong.header("www-authenticate").contains("invalid_token"));
    attacks.expectation("UI-01");
    let answer = attacks.token(Some(MACHINE), &[machine]).await;
    let answer = get(&userinfo, Some(&text(&answer.json(), "access_token"))).await;
    attacks.hold("UI-03", &answer);

    let evil = e2e::http::send(
        e2e::http::client()
            .get(
                attacks
                    .site
                    .token_service_url("/.well-known/openid-configuration"),
            )
            .header("host", "evil.test")
            .header("x-forwarded-host", "evil.test"),
    )
    .await;
    assert!(!evil.body.contains("evil"), "{}", evil.body);
    attacks.expectation("KY-02");
}
