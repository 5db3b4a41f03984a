//! The device authorization grant (RFC 8628): a code on a device, a person at a browser elsewhere,
//! and a device that polls until they have answered.

use http::{Request, header};
use serde_json::Value;
use store::Store as _;

use super::harness::{
    Answer, BILLING, Browser, ISSUER, ORDERS, World, as_client, authorize_uri, config, encode,
    query, refresh_form, verified,
};
use crate::TokenServiceConfig;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const SESSION: &str = "__Host-cedargate_session";

/// What a device was given.
struct Device {
    device_code: String,
    user_code: String,
}

/// The common configuration, and two clients that are devices: `tv` has a secret, `lamp` has none.
pub(super) fn devices(edit: impl Fn(String) -> String) -> TokenServiceConfig {
    let tv = crate::secret_hash("tv-secret");
    let clients = format!(
        "clients:
  - {{ id: tv, name: The <TV>, secret_hash: '{tv}', grant_types: [device_code, refresh_token],
      scope: openid offline_access orders:read orders:write billing:read, consent: skip }}
  - {{ id: lamp, public: true, grant_types: [device_code], scope: orders:read }}
"
    );
    config(|text| edit(text.replacen("clients:\n", &clients, 1)))
}

async fn world() -> World {
    World::with(devices(|text| text)).await
}

async fn ask(world: &World, who: &str, form: &[(&str, &str)]) -> Answer {
    world.post_as(who, "/device_authorization", form).await
}

async fn begin(world: &World, scope: &str) -> Device {
    let answer = ask(world, "tv", &[("scope", scope)]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    Device {
        device_code: text(&answer, "device_code"),
        user_code: text(&answer, "user_code"),
    }
}

async fn poll(world: &World, who: &str, device: &Device) -> Answer {
    let form = [
        ("grant_type", GRANT),
        ("device_code", device.device_code.as_str()),
    ];
    world.token(who, &form).await
}

fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap().to_owned()
}

/// A browser in which somebody is logged in.
async fn logged_in(world: &World, user: &str) -> Browser {
    let mut browser = Browser::default();
    let login = browser.get(world, "/device").await;
    let answer = browser.log_in(world, &login, user).await;
    assert_eq!(
        (answer.status.as_u16(), answer.location()),
        (303, "/device")
    );
    browser
}

/// Types a code on the page.
async fn enter(browser: &mut Browser, world: &World, code: &str) -> Answer {
    let page = browser.get(world, "/device").await;
    let csrf = page.field("csrf");
    let form = [("csrf", csrf.as_str()), ("user_code", code)];
    browser.post(world, "/device", &form).await
}

/// Answers the page that asks.
async fn answer(browser: &mut Browser, world: &World, page: &Answer, decision: &str) -> Answer {
    let fields = ["user_code", "scope", "csrf"].map(|name| page.field(name));
    let [code, scope, csrf] = fields.each_ref().map(String::as_str);
    let form = [
        ("user_code", code),
        ("scope", scope),
        ("csrf", csrf),
        ("decision", decision),
    ];
    browser.post(world, "/device/confirm", &form).await
}

/// Somebody at a new browser types the code and answers.
async fn decide(world: &World, user: &str, code: &str, decision: &str) -> Answer {
    let mut browser = logged_in(world, user).await;
    let page = enter(&mut browser, world, code).await;
    answer(&mut browser, world, &page, decision).await
}

#[track_caller]
fn assert_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    let policy = answer.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.ends_with("form-action 'self'"), "{policy}");
    assert_eq!(answer.header(header::X_FRAME_OPTIONS), "DENY");
    assert_eq!(answer.header(header::REFERRER_POLICY), "no-referrer");
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "");
    assert!(!answer.body.contains("<script"));
    assert!(!answer.body.contains("src="));
}

/// The one page for every code that is not good.
#[track_caller]
fn assert_unknown(answer: &Answer) {
    assert_page(answer, 400);
    assert!(
        answer.body.contains("is not right, or it is too old"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_device_gets_tokens_when_a_person_has_approved_at_a_browser() {
    let world = world().await;
    let given = ask(&world, "tv", &[("scope", "openid orders:read unknown")]).await;
    assert_eq!(given.header(header::CACHE_CONTROL), "no-store");
    let given = given.json();
    let device = Device {
        device_code: text(&given, "device_code"),
        user_code: text(&given, "user_code"),
    };
    assert!(device.device_code.starts_with("cg_dc_"));
    assert_eq!(
        (&given["expires_in"], &given["interval"]),
        (&600.into(), &5.into())
    );
    assert_eq!(given["verification_uri"], format!("{ISSUER}/device"));
    let link = text(&given, "verification_uri_complete");
    assert_eq!(
        link,
        format!("{ISSUER}/device?user_code={}", device.user_code)
    );
    poll(&world, "tv", &device)
        .await
        .assert_error(400, "authorization_pending");

    // The link survives the login, and saves typing only.
    world.advance(10);
    let mut browser = Browser::default();
    let login = browser.get(&world, &link).await;
    assert_page(&login, 200);
    assert!(login.body.contains("to connect a device"));
    let wrong = [
        ("interaction", login.field("interaction")),
        ("csrf", login.field("csrf")),
        ("user_code", login.field("user_code")),
        ("username", "alice".into()),
        ("password", "guess".into()),
    ];
    let wrong = wrong
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let login = browser.post(&world, "/login", &wrong).await;
    assert_page(&login, 403);
    let form = [
        ("interaction", login.field("interaction")),
        ("csrf", login.field("csrf")),
        ("user_code", login.field("user_code")),
        ("username", "alice".into()),
        ("password", super::harness::PASSWORD.into()),
    ];
    let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
    let back = browser.post(&world, "/login", &form).await;
    assert_eq!(back.status, 303);
    assert_eq!(format!("{ISSUER}{}", back.location()), link);
    let page = browser.get(&world, back.location()).await;
    assert_page(&page, 200);
    assert!(
        page.body
            .contains(&format!("value=\"{}\"", device.user_code))
    );
    assert!(!page.body.contains("name=\"decision\""));
    poll(&world, "tv", &device)
        .await
        .assert_error(400, "authorization_pending");

    let page = enter(&mut browser, &world, &device.user_code).await;
    assert_page(&page, 200);
    for shown in [
        "The &lt;TV&gt;",
        &device.user_code,
        "alice",
        "orders:read",
        "in your hands",
    ] {
        assert!(page.body.contains(shown), "{shown} in {}", page.body);
    }
    assert!(!page.body.contains("orders:write") && !page.body.contains("unknown"));
    world.advance(10);
    let done = answer(&mut browser, &world, &page, "approve").await;
    assert_page(&done, 200);
    assert!(done.body.contains("connected"));

    world.advance(10);
    let tokens = poll(&world, "tv", &device).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    assert_eq!(tokens.header(header::CACHE_CONTROL), "no-store");
    let tokens = tokens.json();
    assert_eq!(tokens["scope"], "openid orders:read");
    let claims = verified(&world, tokens["id_token"].as_str().unwrap(), "JWT", "tv").await;
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&"alice".into(), &"tv".into())
    );
    assert_eq!(claims["auth_time"], 1_800_000_010);
    assert_eq!(claims["iat"], 1_800_000_030);
    assert!(
        world
            .is_active(tokens["access_token"].as_str().unwrap())
            .await
    );
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let next = world.token("tv", &refresh_form(refresh)).await;
    assert_eq!(next.status, 200, "{}", next.body);
}

#[tokio::test]
async fn a_code_buys_one_family_which_a_second_poll_neither_gets_nor_kills() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    decide(&world, "alice", &device.user_code, "approve").await;
    let tokens = poll(&world, "tv", &device).await.json();
    for _ in 0..2 {
        poll(&world, "tv", &device)
            .await
            .assert_error(400, "invalid_grant");
    }
    assert!(
        world
            .is_active(tokens["access_token"].as_str().unwrap())
            .await
    );
    // Its user code leads nowhere any more, and cannot be answered again.
    let mut browser = logged_in(&world, "bob").await;
    assert_unknown(&enter(&mut browser, &world, &device.user_code).await);
}

#[tokio::test]
async fn a_device_that_polls_too_fast_has_to_wait_longer_each_time() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    // How long after the last poll, and what comes of it. 5, then 10, then 15 seconds.
    for (after, error) in [
        (0, "authorization_pending"),
        (5, "authorization_pending"),
        (4, "slow_down"),
        (10, "authorization_pending"),
        (9, "slow_down"),
        (10, "slow_down"),
        (20, "authorization_pending"),
    ] {
        world.advance(after);
        poll(&world, "tv", &device).await.assert_error(400, error);
    }
    // Another's polls do not count, and an answer is not held back.
    poll(&world, "lamp_", &device)
        .await
        .assert_error(401, "invalid_client");
    let other = begin(&world, "orders:read").await;
    poll(&world, "tv", &other)
        .await
        .assert_error(400, "authorization_pending");
    decide(&world, "alice", &device.user_code, "approve").await;
    assert_eq!(poll(&world, "tv", &device).await.status, 200);
}

#[tokio::test]
async fn a_person_may_refuse() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let done = decide(&world, "alice", &device.user_code, "deny").await;
    assert!(done.body.contains("Nothing was allowed"), "{}", done.body);
    for _ in 0..2 {
        poll(&world, "tv", &device)
            .await
            .assert_error(400, "access_denied");
    }
    let mut browser = logged_in(&world, "alice").await;
    assert_unknown(&enter(&mut browser, &world, &device.user_code).await);
}

#[tokio::test]
async fn both_codes_end_together() {
    let world = world().await;
    let (early, late) = (
        begin(&world, "orders:read").await,
        begin(&world, "orders:read").await,
    );
    let mut browser = logged_in(&world, "alice").await;
    let page = enter(&mut browser, &world, &early.user_code).await;
    decide(&world, "alice", &late.user_code, "approve").await;
    world.advance(599);
    poll(&world, "tv", &early)
        .await
        .assert_error(400, "authorization_pending");
    world.advance(1);
    assert_unknown(&answer(&mut browser, &world, &page, "approve").await);
    assert_unknown(&enter(&mut browser, &world, &early.user_code).await);
    // Approved in time, but not fetched.
    for device in [&early, &late] {
        poll(&world, "tv", device)
            .await
            .assert_error(400, "expired_token");
    }
}

#[tokio::test]
async fn codes_are_forgiving_to_type_and_reveal_nothing() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut browser = logged_in(&world, "alice").await;
    let typed = device.user_code.to_lowercase().replace('-', " ");
    let page = enter(&mut browser, &world, &typed).await;
    assert!(page.body.contains("value=\"approve\""), "{}", page.body);
    let never = enter(&mut browser, &world, "BBBB-BBBB").await;
    let nonsense = enter(&mut browser, &world, "<b>\"no").await;
    assert_unknown(&never);
    assert_eq!(never.body, nonsense.body);
    // What is in a link comes back only where it can be a code.
    let link = browser
        .get(&world, "/device?user_code=%22%3E%3Cscript%3E")
        .await;
    assert_page(&link, 200);
    assert!(!link.body.contains("script"));
    let twice = browser.get(&world, "/device?user_code=a&user_code=b").await;
    assert_page(&twice, 400);
}

#[tokio::test]
async fn guessing_is_limited_for_a_person_wherever_they_are_and_for_a_code() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut browsers = [
        logged_in(&world, "alice").await,
        logged_in(&world, "alice").await,
    ];
    for count in 0..10 {
        let guess = format!("BBBB-BBB{}", ["B", "C"][count % 2]);
        assert_unknown(&enter(&mut browsers[count % 2], &world, &guess).await);
    }
    // Now even the right one has to wait, and a malformed one is an attempt, too.
    for (browser, code) in browsers.iter_mut().zip([device.user_code.as_str(), "x"]) {
        let limited = enter(browser, &world, code).await;
        assert_page(&limited, 429);
        assert_eq!(limited.header(header::RETRY_AFTER), "300");
    }
    // Somebody else is not affected, until one code has been tried too often.
    let mut bob = logged_in(&world, "bob").await;
    for _ in 0..9 {
        let page = enter(&mut bob, &world, &device.user_code).await;
        assert!(page.body.contains("value=\"approve\""), "{}", page.body);
    }
    let limited = enter(&mut bob, &world, &device.user_code).await;
    assert_page(&limited, 429);
}

#[tokio::test]
async fn nobody_is_asked_about_codes_who_is_not_logged_in() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut stranger = Browser::default();
    for code in [device.user_code.as_str(), "BBBB-BBBB"] {
        let form = [("csrf", "x"), ("user_code", code)];
        let answer = stranger.post(&world, "/device", &form).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        assert_eq!(answer.location(), format!("/device?user_code={code}"));
        let form = [("csrf", "x"), ("user_code", code), ("decision", "approve")];
        let answer = stranger.post(&world, "/device/confirm", &form).await;
        assert_page(&answer, 400);
    }
    // The login page is used up by the login, in one browser, and leads nowhere else.
    let login = stranger.get(&world, "/device").await;
    let thief = Browser::default().log_in(&world, &login, "alice").await;
    assert_eq!((thief.status.as_u16(), thief.location()), (400, ""));
    assert_eq!(stranger.log_in(&world, &login, "alice").await.status, 303);
    assert_eq!(stranger.log_in(&world, &login, "alice").await.status, 400);
    let interaction = login.field("interaction");
    let consent = format!("/consent?interaction={interaction}");
    assert_eq!(stranger.get(&world, &consent).await.status, 400);
}

#[tokio::test]
async fn an_answer_counts_only_from_the_page_and_the_login_that_it_was_shown_to() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let other = ask(&world, "lamp_", &[]).await;
    other.assert_error(401, "invalid_client");
    let other = begin(&world, "orders:read orders:write").await;
    let mut alice = logged_in(&world, "alice").await;
    let page = enter(&mut alice, &world, &device.user_code).await;
    let more = enter(&mut alice, &world, &other.user_code).await;
    let form = alice.get(&world, "/device").await;

    let (shown, csrf) = (page.field("user_code"), page.field("csrf"));
    let (form_csrf, more_csrf) = (form.field("csrf"), more.field("csrf"));
    for (code, scope, csrf, decision) in [
        // Another request's code or scope, or more scope, under this page's value.
        (
            other.user_code.as_str(),
            "orders:read",
            csrf.as_str(),
            "approve",
        ),
        (&shown, "orders:read orders:write", &csrf, "approve"),
        (&shown, "", &csrf, "approve"),
        // No value, and those of other forms.
        (&shown, "orders:read", "", "approve"),
        (&shown, "orders:read", &form_csrf, "approve"),
        (&shown, "orders:read", &more_csrf, "deny"),
        // No decision.
        (&shown, "orders:read", &csrf, ""),
        (&shown, "orders:read", &csrf, "yes"),
    ] {
        let form = [
            ("user_code", code),
            ("scope", scope),
            ("csrf", csrf),
            ("decision", decision),
        ];
        let answer = alice.post(&world, "/device/confirm", &form).await;
        assert_page(&answer, 400);
        assert!(answer.body.contains("invalid_request"), "{}", answer.body);
    }
    // Somebody else's browser, and the same one after somebody else has logged in.
    let mut bob = logged_in(&world, "bob").await;
    assert_page(&answer(&mut bob, &world, &page, "approve").await, 400);
    let mut shared = alice.clone();
    let login = shared
        .get(&world, &authorize_uri(&[("prompt", "login")]))
        .await;
    shared.log_in(&world, &login, "bob").await;
    assert_ne!(shared.cookies[SESSION], alice.cookies[SESSION]);
    // A login replaces the one before: the page that it saw is nobody's any more.
    for browser in [&mut shared, &mut alice] {
        assert_page(&answer(browser, &world, &page, "approve").await, 400);
    }
    for device in [&device, &other] {
        poll(&world, "tv", device)
            .await
            .assert_error(400, "authorization_pending");
    }
    // The form of the first page is bound to the login, too.
    let form = [("csrf", form_csrf.as_str()), ("user_code", shown.as_str())];
    let answer = bob.post(&world, "/device", &form).await;
    assert_page(&answer, 400);
    assert!(!answer.body.contains("value=\"approve\""));
}

#[tokio::test]
async fn a_device_code_is_of_its_client_and_of_its_kind() {
    let world = world().await;
    let tv = begin(&world, "orders:read").await;
    decide(&world, "alice", &tv.user_code, "approve").await;
    // As another client, approved or not; it is not used up by that.
    let lamp = |device: &Device, id: &'static str| {
        let form = [
            ("grant_type", GRANT),
            ("device_code", device.device_code.as_str()),
            ("client_id", id),
        ];
        Request::post("/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(encode(&form)))
            .unwrap()
    };
    let stolen = world.send(lamp(&tv, "lamp")).await;
    stolen.assert_error(400, "invalid_grant");
    world
        .send(lamp(&tv, "tv"))
        .await
        .assert_error(401, "invalid_client");
    world
        .send(lamp(&tv, "native"))
        .await
        .assert_error(400, "unauthorized_client");
    for odd in ["", "cg_dc_x", "x", &tv.user_code] {
        let form = [("grant_type", GRANT), ("device_code", odd)];
        let answer = world.token("tv", &form).await;
        let error = if odd.is_empty() {
            "invalid_request"
        } else {
            "invalid_grant"
        };
        answer.assert_error(400, error);
    }
    for code in [&tv.device_code, &tv.user_code] {
        let answer = world.introspect("gw_orders", code).await;
        assert_eq!(answer.body, r#"{"active":false}"#);
        let as_code = [
            ("grant_type", "refresh_token"),
            ("refresh_token", code.as_str()),
        ];
        let answer = world.token("tv", &as_code).await;
        answer.assert_error(400, "invalid_grant");
    }
    assert_eq!(poll(&world, "tv", &tv).await.status, 200);

    // A public client names itself, and has no refresh token where it is not registered for it.
    let form = Request::post("/device_authorization")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(axum::body::Body::from("client_id=lamp"))
        .unwrap();
    let given = world.send(form).await.json();
    let device = Device {
        device_code: text(&given, "device_code"),
        user_code: text(&given, "user_code"),
    };
    decide(&world, "bob", &device.user_code, "approve").await;
    poll(&world, "tv", &device)
        .await
        .assert_error(400, "invalid_grant");
    let tokens = world.send(lamp(&device, "lamp")).await.json();
    assert_eq!(tokens["scope"], "orders:read");
    assert!(tokens.get("refresh_token").is_none() && tokens.get("id_token").is_none());
}

#[tokio::test]
async fn what_a_device_may_not_ask_for_it_is_not_given_a_code_for() {
    let world = world().await;
    for (who, form, status, error) in [
        ("tv", &[("scope", "admin")][..], 400, "invalid_scope"),
        ("tv", &[("scope", "a\"b")], 400, "invalid_scope"),
        (
            "tv",
            &[("resource", "https://nowhere.example")],
            400,
            "invalid_target",
        ),
        ("tv", &[("client_id", "lamp")], 400, "invalid_request"),
        (
            "tv",
            &[("client_secret", "tv-secret")],
            400,
            "invalid_request",
        ),
        (
            "tv",
            &[("scope", "a"), ("scope", "b")],
            400,
            "invalid_request",
        ),
        ("web", &[], 400, "unauthorized_client"),
        ("nobody", &[], 401, "invalid_client"),
    ] {
        ask(&world, who, form).await.assert_error(status, error);
    }
    let form = [("grant_type", GRANT), ("device_code", "x")];
    world
        .token("web", &form)
        .await
        .assert_error(400, "unauthorized_client");
    let get = world.get("/device_authorization").await;
    assert_eq!(
        (get.status.as_u16(), get.header(header::ALLOW)),
        (405, "POST")
    );
    let mut preflight = as_client("tv", "/device_authorization", &[]);
    *preflight.method_mut() = http::Method::OPTIONS;
    assert_eq!(world.send(preflight).await.status, 405);
    // Without a wish, all that the client may have.
    assert_eq!(ask(&world, "tv", &[]).await.status, 200);
}

#[tokio::test]
async fn tokens_are_for_the_resources_that_the_device_named() {
    let world = world().await;
    let given = ask(&world, "tv", &[("resource", ORDERS)]).await.json();
    let device = Device {
        device_code: text(&given, "device_code"),
        user_code: text(&given, "user_code"),
    };
    decide(&world, "alice", &device.user_code, "approve").await;
    let form = [
        ("grant_type", GRANT),
        ("device_code", device.device_code.as_str()),
        ("resource", BILLING),
    ];
    let more = world.token("tv", &form).await;
    more.assert_error(400, "invalid_target");
    let tokens = poll(&world, "tv", &device).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    assert!(world.is_active(access).await);
    let answer = world.introspect("gw_billing", access).await;
    assert_eq!(answer.body, r#"{"active":false}"#);
    let asked = world.decisions.asked.lock().unwrap();
    let moments: Vec<_> = asked
        .iter()
        .filter(|question| question.resource.id == "orders:read")
        .map(|question| {
            assert_eq!(question.context["grant_type"], GRANT);
            assert_eq!(question.context["client_id"], "tv");
            assert_eq!(question.context["resource"], ORDERS);
            question.context["moment"].as_str().unwrap()
        })
        .collect();
    assert_eq!(moments, ["consent", "consent", "issue", "swap"]);
}

#[tokio::test]
async fn the_decision_point_rules_over_devices_as_over_codes() {
    let world = world().await;
    // Denied before the page: the person and the device hear it.
    let nothing = begin(&world, "orders:write").await;
    let less = begin(&world, "orders:read orders:write").await;
    let gone = begin(&world, "billing:read").await;
    world.decisions.deny("orders:write");
    let mut alice = logged_in(&world, "alice").await;
    let page = enter(&mut alice, &world, &nothing.user_code).await;
    assert_page(&page, 400);
    assert!(page.body.contains("access_denied"), "{}", page.body);
    poll(&world, "tv", &nothing)
        .await
        .assert_error(400, "access_denied");
    // Denied in part.
    let page = enter(&mut alice, &world, &less.user_code).await;
    assert_eq!(page.field("scope"), "orders:read");
    answer(&mut alice, &world, &page, "approve").await;
    let tokens = poll(&world, "tv", &less).await.json();
    assert_eq!(tokens["scope"], "orders:read");
    // Denied between page and answer.
    let page = enter(&mut alice, &world, &gone.user_code).await;
    world.decisions.deny("billing:read");
    let denied = answer(&mut alice, &world, &page, "approve").await;
    assert!(denied.body.contains("access_denied"), "{}", denied.body);
    poll(&world, "tv", &gone)
        .await
        .assert_error(400, "access_denied");
    // Denied between answer and poll.
    let late = begin(&world, "orders:read").await;
    decide(&world, "alice", &late.user_code, "approve").await;
    world.decisions.deny("orders:read");
    poll(&world, "tv", &late)
        .await
        .assert_error(400, "access_denied");
}

#[tokio::test]
async fn approval_for_a_device_is_asked_for_each_time_and_is_no_consent_for_codes() {
    let text = |text: String| {
        let both = "grant_types: [device_code, authorization_code], redirect_uris: ['https://tv.example/cb']";
        text.replacen("grant_types: [device_code, refresh_token]", both, 1)
            .replacen("consent: skip", "consent: ask", 1)
    };
    let world = World::with(devices(text)).await;
    let mut alice = logged_in(&world, "alice").await;
    for _ in 0..2 {
        let device = begin(&world, "orders:read").await;
        let page = enter(&mut alice, &world, &device.user_code).await;
        answer(&mut alice, &world, &page, "approve").await;
        assert_eq!(poll(&world, "tv", &device).await.status, 200);
    }
    let code = [
        ("client_id", "tv"),
        ("redirect_uri", "https://tv.example/cb"),
        ("scope", "orders:read"),
    ];
    let page = alice.get(&world, &authorize_uri(&code)).await;
    assert_eq!(page.status, 200, "{}", page.location());
    assert!(page.body.contains("value=\"approve\""));
}

#[tokio::test]
async fn who_was_disabled_since_approves_nothing_and_gets_nothing() {
    let world = world().await;
    let (first, second) = (
        begin(&world, "orders:read").await,
        begin(&world, "orders:read").await,
    );
    decide(&world, "bob", &first.user_code, "approve").await;
    let mut bob = logged_in(&world, "bob").await;
    let page = enter(&mut bob, &world, &second.user_code).await;
    let no_bob = devices(|text| text.replacen("username: bob", "disabled: true, username: bob", 1));
    let later = world.restarted(no_bob).await;
    poll(&later, "tv", &first)
        .await
        .assert_error(400, "invalid_grant");
    assert_page(&answer(&mut bob, &later, &page, "approve").await, 400);
    poll(&later, "tv", &second)
        .await
        .assert_error(400, "authorization_pending");

    // A client that was disabled, or may not do this any more.
    let mut alice = logged_in(&world, "alice").await;
    let page = enter(&mut alice, &world, &second.user_code).await;
    for (old, new, status, error) in [
        ("id: tv", "disabled: true, id: tv", 401, "invalid_client"),
        (
            "[device_code, refresh_token]",
            "[client_credentials]",
            400,
            "unauthorized_client",
        ),
    ] {
        let later = world
            .restarted(devices(|text| text.replacen(old, new, 1)))
            .await;
        poll(&later, "tv", &first).await.assert_error(status, error);
        assert_unknown(&answer(&mut alice, &later, &page, "approve").await);
        assert_unknown(&enter(&mut alice, &later, &second.user_code).await);
    }
    // And what it may have has shrunk.
    let less = devices(|text| {
        let all = "scope: openid offline_access orders:read orders:write billing:read, consent";
        text.replacen(all, "scope: billing:read, consent", 1)
    });
    let later = world.restarted(less).await;
    decide(&world, "alice", &second.user_code, "approve").await;
    poll(&later, "tv", &second)
        .await
        .assert_error(400, "access_denied");
}

#[tokio::test]
async fn when_something_is_down_nothing_is_granted_and_nothing_is_used_up() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut alice = logged_in(&world, "alice").await;
    let page = enter(&mut alice, &world, &device.user_code).await;
    for down in ["store", "decisions"] {
        let set = |is_down| match down {
            "store" => world.store.set_down(is_down),
            _ => world.decisions.set_down(is_down),
        };
        let form = alice.get(&world, "/device").await;
        set(true);
        let (csrf, code) = (form.field("csrf"), device.user_code.as_str());
        let typed = [("csrf", csrf.as_str()), ("user_code", code)];
        for answer in [
            alice.post(&world, "/device", &typed).await,
            answer(&mut alice, &world, &page, "approve").await,
        ] {
            assert_page(&answer, 503);
            assert_eq!(answer.header(header::RETRY_AFTER), "1");
        }
        if down == "store" {
            let refused = [
                ask(&world, "tv", &[]).await,
                poll(&world, "tv", &device).await,
            ];
            for answer in refused {
                answer.assert_error(503, "temporarily_unavailable");
            }
            assert_page(&alice.get(&world, "/device").await, 503);
        }
        set(false);
    }
    answer(&mut alice, &world, &page, "approve").await;
    world.decisions.set_down(true);
    let answer = poll(&world, "tv", &device).await;
    answer.assert_error(503, "temporarily_unavailable");
    world.decisions.set_down(false);
    assert_eq!(poll(&world, "tv", &device).await.status, 200);
}

#[tokio::test]
async fn neither_code_is_at_rest() {
    let world = world().await;
    let device = begin(&world, "orders:read").await;
    let mut browser = Browser::default();
    let link = format!("/device?user_code={}", device.user_code);
    let login = browser.get(&world, &link).await;
    browser.log_in(&world, &login, "alice").await;
    enter(&mut browser, &world, &device.user_code).await;
    let page = world.store.scan("", None, 1000).await.unwrap();
    let letters = device.user_code.replace('-', "");
    assert!(page.entries.iter().any(|(key, _)| key.starts_with("uc:")));
    for (key, value) in page.entries {
        let text = format!("{key}{}", String::from_utf8_lossy(&value));
        for secret in [&device.device_code, &device.user_code, &letters] {
            assert!(!text.contains(secret.as_str()), "{key}");
        }
    }
}

#[tokio::test]
async fn clients_find_the_endpoint_also_below_a_path_and_lifetimes_can_be_set() {
    let moved = devices(|text| {
        text.replacen(
            &format!("issuer: {ISSUER}"),
            "issuer: https://as.example/a\nttl: { device_code_secs: 90, device_poll_secs: 1 }",
            1,
        )
    });
    let world = World::with(moved).await;
    let metadata = world
        .get("/a/.well-known/openid-configuration")
        .await
        .json();
    let endpoint = &metadata["device_authorization_endpoint"];
    assert_eq!(endpoint, "https://as.example/a/device_authorization");
    let grants = metadata["grant_types_supported"].as_array().unwrap();
    assert!(grants.contains(&GRANT.into()), "{grants:?}");
    let answer = world.post_as("tv", "/a/device_authorization", &[]).await;
    let given = answer.json();
    assert_eq!(
        (&given["expires_in"], &given["interval"]),
        (&90.into(), &1.into())
    );
    let link = text(&given, "verification_uri_complete");
    assert!(
        link.starts_with("https://as.example/a/device?user_code="),
        "{link}"
    );
    let mut browser = Browser::default();
    let path = link.strip_prefix(ISSUER).unwrap();
    let login = browser.get(&world, path).await;
    assert!(login.body.contains("action=\"/a/login\""), "{}", login.body);
    let form = [
        ("interaction", login.field("interaction")),
        ("csrf", login.field("csrf")),
        ("user_code", login.field("user_code")),
        ("username", "alice".into()),
        ("password", super::harness::PASSWORD.into()),
    ];
    let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
    let back = browser.post(&world, "/a/login", &form).await;
    assert_eq!(back.location(), path);
    assert_eq!(query(&format!("{ISSUER}{path}")).len(), 1);
}
