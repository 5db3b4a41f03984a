//! The device authorization grant (RFC 8628): a code on a device, a person at a browser elsewhere,
//! and a device that polls until they have answered.

mod pages;
mod policy;

use http::{Request, header};
use serde_json::Value;

use super::harness::{
    Answer, Browser, ISSUER, PASSWORD, World, as_client, config, encode, refresh_form, verified,
};
use crate::TokenServiceConfig;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a device was given.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) device_code: String,
    pub(super) user_code: String,
}

/// The common configuration, and two clients that are devices: `tv` has a secret, `lamp` has none.
fn devices(edit: impl Fn(String) -> String) -> TokenServiceConfig {
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

impl Device {
    fn of(answer: &Value) -> Self {
        Self {
            device_code: text(answer, "device_code"),
            user_code: text(answer, "user_code"),
        }
    }
}

pub(super) async fn world() -> World {
    World::with(devices(|text| text)).await
}

async fn ask(world: &World, who: &str, form: &[(&str, &str)]) -> Answer {
    world.post_as(who, "/device_authorization", form).await
}

pub(super) async fn begin(world: &World, scope: &str) -> Device {
    let answer = ask(world, "tv", &[("scope", scope)]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Device::of(&answer.json())
}

pub(super) async fn poll(world: &World, who: &str, device: &Device) -> Answer {
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
pub(super) async fn logged_in(world: &World, user: &str) -> Browser {
    let mut browser = Browser::default();
    let login = browser.get(world, "/device").await;
    let answer = browser.log_in(world, &login, user).await;
    assert_eq!(
        (answer.status.as_u16(), answer.location()),
        (303, "/device")
    );
    browser
}

/// Fills in a login page to which a link has brought a code along.
async fn sign_in(
    browser: &mut Browser,
    world: &World,
    uri: &str,
    page: &Answer,
    password: &str,
) -> Answer {
    let hidden = ["interaction", "csrf", "user_code"];
    let values = hidden.map(|name| page.field(name));
    let mut form: Vec<_> = hidden
        .into_iter()
        .zip(values.iter().map(String::as_str))
        .collect();
    form.extend([("username", "alice"), ("password", password)]);
    browser.post(world, uri, &form).await
}

/// Types a code on the page.
pub(super) async fn enter(browser: &mut Browser, world: &World, code: &str) -> Answer {
    let page = browser.get(world, "/device").await;
    let csrf = page.field("csrf");
    let form = [("csrf", csrf.as_str()), ("user_code", code)];
    browser.post(world, "/device", &form).await
}

/// Answers the page that asks.
pub(super) async fn answer(
    browser: &mut Browser,
    world: &World,
    page: &Answer,
    decision: &str,
) -> Answer {
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
pub(super) async fn decide(world: &World, user: &str, code: &str, decision: &str) -> Answer {
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
    let device = begin(&world, "openid orders:read unknown").await;
    assert!(device.device_code.starts_with("cg_dc_"));
    world.advance(10);
    let mut browser = logged_in(&world, "alice").await;
    let page = enter(&mut browser, &world, &device.user_code).await;
    assert_page(&page, 200);
    let code = device.user_code.as_str();
    for shown in [
        "The &lt;TV&gt;",
        code,
        "alice",
        "orders:read",
        "in your hands",
    ] {
        assert!(page.body.contains(shown), "{shown} in {}", page.body);
    }
    assert!(!page.body.contains("orders:write") && !page.body.contains("unknown"));
    world.advance(10);
    poll(&world, "tv", &device)
        .await
        .assert_error(400, "authorization_pending");
    let done = answer(&mut browser, &world, &page, "approve").await;
    assert_page(&done, 200);
    assert!(done.body.contains("connected"));

    world.advance(10);
    let tokens = poll(&world, "tv", &device).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    assert_eq!(tokens.header(header::CACHE_CONTROL), "no-store");
    let tokens = tokens.json();
    assert_eq!(tokens["scope"], "openid orders:read");
    let claims = verified(&world, &text(&tokens, "id_token"), "JWT", "tv").await;
    let who = (&claims["sub"], &claims["aud"]);
    assert_eq!(who, (&"alice".into(), &"tv".into()));
    let when = (&claims["auth_time"], &claims["iat"]);
    assert_eq!(when, (&1_800_000_010.into(), &1_800_000_030.into()));
    assert!(world.is_active(&text(&tokens, "access_token")).await);
    let form = text(&tokens, "refresh_token");
    let next = world.token("tv", &refresh_form(&form)).await;
    assert_eq!(next.status, 200, "{}", next.body);
}

#[tokio::test]
async fn a_link_with_the_code_survives_the_login_and_saves_typing_only() {
    let world = world().await;
    let given = ask(&world, "tv", &[("scope", "orders:read")]).await;
    assert_eq!(given.header(header::CACHE_CONTROL), "no-store");
    let given = given.json();
    let times = (&given["expires_in"], &given["interval"]);
    assert_eq!(times, (&600.into(), &5.into()));
    assert_eq!(given["verification_uri"], format!("{ISSUER}/device"));
    let device = Device::of(&given);
    let link = text(&given, "verification_uri_complete");
    let code = &device.user_code;
    assert_eq!(link, format!("{ISSUER}/device?user_code={code}"));

    let mut browser = Browser::default();
    let login = browser.get(&world, &link).await;
    assert_page(&login, 200);
    assert!(login.body.contains("to connect a device"));
    let login = sign_in(&mut browser, &world, "/login", &login, "guess").await;
    assert_page(&login, 403);
    let back = sign_in(&mut browser, &world, "/login", &login, PASSWORD).await;
    assert_eq!(back.status, 303);
    assert_eq!(format!("{ISSUER}{}", back.location()), link);
    let page = browser.get(&world, back.location()).await;
    assert_page(&page, 200);
    assert!(page.body.contains(&format!("value=\"{code}\"")));
    assert!(!page.body.contains("name=\"decision\""));
    poll(&world, "tv", &device)
        .await
        .assert_error(400, "authorization_pending");
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
    // Another code has its own pace, and an answer is not held back.
    let other = begin(&world, "orders:read").await;
    poll(&world, "tv", &other)
        .await
        .assert_error(400, "authorization_pending");
    decide(&world, "alice", &device.user_code, "approve").await;
    assert_eq!(poll(&world, "tv", &device).await.status, 200);
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
    let device = Device::of(&given);
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
    let back = sign_in(&mut browser, &world, "/a/login", &login, PASSWORD).await;
    assert_eq!(back.location(), path);
}
