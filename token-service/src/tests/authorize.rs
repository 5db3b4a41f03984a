//! The authorization endpoint and its pages: who may be sent where, and what a person has to do.

use http::header;

use super::harness::{
    Answer, Browser, CALLBACK, ISSUER, ORDERS, World, authorize_uri, config, query,
};

fn assert_page(answer: &Answer) {
    let policy = answer.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(answer.header(header::X_FRAME_OPTIONS), "DENY");
    assert_eq!(answer.header(header::REFERRER_POLICY), "no-referrer");
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    assert!(!answer.body.contains("<script"));
    assert!(!answer.body.contains("src="));
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "");
}

/// A redirect to the client with this error.
#[track_caller]
fn assert_sent_back(answer: &Answer, error: &str) {
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(
        answer.location().starts_with(&format!("{CALLBACK}?")),
        "{}",
        answer.location()
    );
    let params = query(answer.location());
    assert_eq!(params["error"], error);
    assert_eq!(params["state"], "s t&te");
    assert_eq!(params["iss"], ISSUER);
    assert!(!params.contains_key("code"));
}

#[tokio::test]
async fn a_person_logs_in_approves_and_is_not_asked_again() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let login = browser.get(&world, &authorize_uri(&[])).await;
    assert_eq!(login.status, 200);
    assert_page(&login);
    assert!(login.body.contains("The &lt;Web&gt; Shop"));
    assert!(
        login
            .header(header::CONTENT_SECURITY_POLICY)
            .contains("form-action 'self' https://app.example")
    );
    let anonymous = browser.cookies.clone();

    let to_consent = browser.log_in(&world, &login, "Alice").await;
    assert_eq!(to_consent.status, 303);
    assert!(
        to_consent
            .location()
            .starts_with("/consent?interaction=cg_in_")
    );
    assert!(!anonymous.contains_key("__Host-cedargate_session"));
    let session = browser.cookies["__Host-cedargate_session"].clone();

    let consent = browser.get(&world, to_consent.location()).await;
    assert_page(&consent);
    assert!(consent.body.contains("orders:read"));
    let back = browser.decide(&world, &consent, "approve").await;
    assert_eq!(back.status, 303);
    assert_eq!(back.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(back.header(header::REFERRER_POLICY), "no-referrer");
    let params = query(back.location());
    assert!(params["code"].starts_with("cg_ac_"));
    assert_eq!(
        (params["state"].as_str(), params["iss"].as_str()),
        ("s t&te", ISSUER)
    );

    // The form has been used.
    let twice = browser.decide(&world, &consent, "approve").await;
    assert_eq!((twice.status.as_u16(), twice.location()), (400, ""));

    // Approved and logged in: straight back, also with prompt=none; but not for more scope.
    let again = browser
        .get(&world, &authorize_uri(&[("prompt", "none")]))
        .await;
    assert!(query(again.location()).contains_key("code"));
    let more = [("scope", "openid orders:write"), ("prompt", "none")];
    assert_sent_back(
        &browser.get(&world, &authorize_uri(&more)).await,
        "consent_required",
    );
    let asked = browser
        .get(&world, &authorize_uri(&[("prompt", "consent")]))
        .await;
    assert!(asked.body.contains("value=\"approve\""));
    assert_eq!(browser.cookies["__Host-cedargate_session"], session);
}

#[tokio::test]
async fn a_person_may_say_no() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let login = browser.get(&world, &authorize_uri(&[])).await;
    let to_consent = browser.log_in(&world, &login, "alice").await;
    let consent = browser.get(&world, to_consent.location()).await;
    assert_sent_back(
        &browser.decide(&world, &consent, "deny").await,
        "access_denied",
    );
}

#[tokio::test]
async fn doubt_about_client_or_redirect_uri_is_shown_and_never_redirected() {
    let world = World::new().await;
    let mut bad: Vec<String> = [
        "https://app.example/cb/",
        "https://app.example/cb/../x",
        "https://app.example/cb/..;/x",
        "https://APP.example/CB",
        "https://app.example/cb?x=1",
        "https://app.example/cb%2f",
        "https://app.example@evil/cb",
        "https://a@b@evil/cb",
        "https://app.example.evil/cb",
        "https://evil/cb#https://app.example/cb",
        "https://app.example/cb#",
        "//evil/cb",
        "https://app.example\\\\@evil/cb",
        "javascript:alert(1)",
    ]
    .iter()
    .map(|uri| authorize_uri(&[("redirect_uri", uri), ("prompt", "none")]))
    .collect();
    bad.push(authorize_uri(&[("client_id", "nope")]));
    bad.push(authorize_uri(&[("client_id", "")]));
    bad.push(authorize_uri(&[]).replace("&redirect_uri=https%3A%2F%2Fapp.example%2Fcb", ""));
    for twice in ["redirect_uri", "client_id", "scope", "code_challenge"] {
        bad.push(format!("{}&{twice}=x", authorize_uri(&[])));
    }
    for uri in bad {
        let answer = world.get(&uri).await;
        assert_eq!(answer.status, 400, "{uri}");
        assert_eq!(answer.location(), "", "{uri}");
        assert_page(&answer);
        assert!(answer.body.contains("invalid_request"));
    }
}

#[tokio::test]
async fn other_flaws_are_told_to_the_client() {
    let world = World::new().await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        (
            "response_type",
            "id_token token",
            "unsupported_response_type",
        ),
        ("response_type", "", "invalid_request"),
        ("response_mode", "form_post.jwt", "invalid_request"),
        ("response_mode", "web_message", "invalid_request"),
        ("scope", "bogus", "invalid_scope"),
        ("scope", "a\"b", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("request", "eyJ", "request_not_supported"),
        (
            "request_uri",
            "http://127.0.0.1:9/x",
            "request_uri_not_supported",
        ),
        (
            "request_uri",
            "https://169.254.169.254/",
            "request_uri_not_supported",
        ),
        ("registration", "{}", "registration_not_supported"),
        ("prompt", "none", "login_required"),
        ("prompt", "none login", "invalid_request"),
        ("prompt", "create", "invalid_request"),
        ("max_age", "-1", "invalid_request"),
        ("resource", "https://api.example/nope", "invalid_target"),
        ("resource", "https://api.example/orders#x", "invalid_target"),
    ] {
        assert_sent_back(&world.get(&authorize_uri(&[(name, value)])).await, error);
    }
    let good = authorize_uri(&[("resource", ORDERS), ("response_mode", "query")]);
    assert_eq!(world.get(&good).await.status, 200);
}

#[tokio::test]
async fn prompt_login_and_max_age_ask_for_the_password_again() {
    let world = World::new().await;
    let mut browser = Browser::default();
    browser.walk(&world, &authorize_uri(&[]), "alice").await;
    world.advance(2);
    for (name, value, asks) in [
        ("max_age", "1", true),
        ("max_age", "0", true),
        ("max_age", "5", false),
        ("prompt", "login", true),
        ("prompt", "select_account", true),
        ("prompt", "", false),
    ] {
        let page = browser
            .clone()
            .get(&world, &authorize_uri(&[(name, value)]))
            .await;
        assert_eq!(
            page.body.contains("name=\"password\""),
            asks,
            "{name}={value}"
        );
    }
    let strict = [("max_age", "1"), ("prompt", "none")];
    assert_sent_back(
        &browser.get(&world, &authorize_uri(&strict)).await,
        "login_required",
    );
    let old = browser.cookies["__Host-cedargate_session"].clone();
    let target = browser
        .walk(&world, &authorize_uri(&[("max_age", "1")]), "alice")
        .await;
    assert!(query(&target).contains_key("code"));
    // A login always makes a new session, and the old one is gone.
    let mut replay = Browser::default();
    assert_ne!(browser.cookies["__Host-cedargate_session"], old);
    replay
        .cookies
        .insert("__Host-cedargate_session".into(), old);
    let page = replay.get(&world, &authorize_uri(&[])).await;
    assert!(page.body.contains("name=\"password\""));
    // And a session ends.
    world.advance(8 * 3600);
    let page = browser.get(&world, &authorize_uri(&[])).await;
    assert!(page.body.contains("name=\"password\""));
}

#[tokio::test]
async fn the_login_form_works_only_in_the_browser_that_it_was_shown_in() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let login = browser.get(&world, &authorize_uri(&[])).await;
    let mut stranger = Browser::default();
    let other = stranger.get(&world, &authorize_uri(&[])).await;
    // Another browser, with or without cookies of its own.
    for mut thief in [Browser::default(), stranger.clone()] {
        let answer = thief.log_in(&world, &login, "alice").await;
        assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));
        assert!(!thief.cookies.contains_key("__Host-cedargate_session"));
    }
    // The value of another form, or none.
    let interaction = login.field("interaction");
    let foreign = other.field("csrf");
    for csrf in ["", "x", foreign.as_str()] {
        let form = [
            ("interaction", interaction.as_str()),
            ("csrf", csrf),
            ("username", "alice"),
            ("password", super::harness::PASSWORD),
        ];
        assert_eq!(browser.post(&world, "/login", &form).await.status, 400);
    }
    assert_eq!(browser.log_in(&world, &login, "alice").await.status, 303);
    // Too late.
    let login = browser
        .get(&world, &authorize_uri(&[("prompt", "login")]))
        .await;
    world.advance(900);
    assert_eq!(browser.log_in(&world, &login, "alice").await.status, 400);
}

#[tokio::test]
async fn consent_cannot_be_given_from_elsewhere_or_by_somebody_else() {
    let world = World::new().await;
    let mut alice = Browser::default();
    let login = alice.get(&world, &authorize_uri(&[])).await;
    let to_consent = alice.log_in(&world, &login, "alice").await;
    let consent = alice.get(&world, to_consent.location()).await;

    let interaction = consent.field("interaction");
    let no_csrf = [
        ("interaction", interaction.as_str()),
        ("decision", "approve"),
    ];
    assert_eq!(alice.post(&world, "/consent", &no_csrf).await.status, 400);
    let login_csrf = login.field("csrf");
    let wrong_form = [no_csrf[0], no_csrf[1], ("csrf", login_csrf.as_str())];
    assert_eq!(
        alice.post(&world, "/consent", &wrong_form).await.status,
        400
    );

    let mut bob = Browser::default();
    bob.walk(&world, &authorize_uri(&[]), "bob").await;
    for thief in [&mut bob, &mut Browser::default()] {
        let answer = thief.decide(&world, &consent, "approve").await;
        assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));
        let page = thief.get(&world, to_consent.location()).await;
        assert_eq!(page.status, 400);
    }
    // The same browser, where somebody else has logged in since.
    let mut shared = alice.clone();
    let login = shared
        .get(&world, &authorize_uri(&[("prompt", "login")]))
        .await;
    shared.log_in(&world, &login, "bob").await;
    let answer = shared.decide(&world, &consent, "approve").await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));
}

#[tokio::test]
async fn what_has_come_to_be_permitted_since_the_page_was_shown_is_not_approved() {
    let world = World::new().await;
    world.decisions.deny("orders:write");
    let uri = authorize_uri(&[("scope", "openid orders:read orders:write")]);
    let mut browser = Browser::default();
    let login = browser.get(&world, &uri).await;
    let shown = browser.log_in(&world, &login, "alice").await;
    let page = browser.get(&world, shown.location()).await;
    assert!(page.body.contains("orders:read") && !page.body.contains("orders:write"));
    let later = world.restarted(config(|text| text)).await;
    // Nor does a page say what it has not shown.
    let (interaction, csrf) = (page.field("interaction"), page.field("csrf"));
    for scope in [
        None,
        Some(""),
        Some("openid"),
        Some("openid orders:read orders:write"),
        Some("\""),
    ] {
        let form = [
            ("interaction", interaction.as_str()),
            ("csrf", csrf.as_str()),
            ("decision", "approve"),
        ];
        let shown = scope.map(|scope| ("scope", scope));
        let form: Vec<_> = form.into_iter().chain(shown).collect();
        let refused = browser.post(&later, "/consent", &form).await;
        assert_eq!(refused.status, 400, "{scope:?}");
    }
    let answer = browser.decide(&later, &page, "approve").await;
    let code = query(answer.location())["code"].clone();
    let tokens = later.redeem("web", &code).await.json();
    assert_eq!(tokens["scope"], "openid orders:read");
    // And the next time it is asked about.
    let again = format!("{uri}&prompt=none");
    assert_sent_back(&browser.get(&later, &again).await, "consent_required");
}

#[tokio::test]
async fn what_is_kept_of_a_request_is_bounded() {
    let world = World::new().await;
    for name in ["state", "nonce", "acr_values"] {
        for (length, is_fine) in [(2048, true), (2049, false)] {
            let long = "x".repeat(length);
            let uri = authorize_uri(&[(name, &long)]);
            let answer = Browser::default().get(&world, &uri).await;
            if is_fine {
                assert_eq!(answer.status, 200, "{name}");
            } else {
                let sent = query(answer.location());
                assert_eq!(sent["error"], "invalid_request", "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_may_be_posted_and_the_decision_point_may_refuse_it() {
    let world = World::new().await;
    let uri = authorize_uri(&[]);
    let form: Vec<(String, String)> = query(&format!("{ISSUER}{uri}")).into_iter().collect();
    let form: Vec<_> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut browser = Browser::default();
    let page = browser.post(&world, "/authorize", &form).await;
    assert_eq!(page.status, 200);
    world.decisions.deny("openid");
    world.decisions.deny("orders:read");
    assert_sent_back(
        &browser.log_in(&world, &page, "alice").await,
        "access_denied",
    );
    let asked = world.decisions.asked.lock().unwrap();
    let question = asked.first().unwrap();
    assert_eq!(
        (question.subject.kind.as_str(), question.subject.id.as_str()),
        ("User", "alice")
    );
    assert_eq!(
        question.subject.properties["roles"],
        serde_json::json!(["customer"])
    );
    assert_eq!(question.context["moment"], "consent");
}

#[tokio::test]
async fn nobody_is_sent_to_a_client_that_has_gone_while_they_were_thinking() {
    let world = World::new().await;
    let mut browser = Browser::default();
    let page = browser.get(&world, &authorize_uri(&[])).await;
    let without = config(|text| text.replacen("{ id: web,", "{ id: web, disabled: true,", 1));
    let later = world.restarted(without).await;
    let answer = browser.log_in(&later, &page, "alice").await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));
    assert_page(&answer);
    assert!(
        answer.body.contains("has changed meanwhile"),
        "{}",
        answer.body
    );
}
