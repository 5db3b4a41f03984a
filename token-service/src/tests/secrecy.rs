//! Nothing secret is at rest or in a log, whatever happens.

use std::io::Write;
use std::sync::{Arc, Mutex};

use http::header;
use store::Store as _;
use tracing_subscriber::fmt::MakeWriter;

use super::device;
use super::harness::{
    Browser, PASSWORD, VERIFIER, World, as_client, authorize_uri, query, refresh_form,
};

/// What nobody may find, whatever was done with it.
const CONFIGURED: [&str; 5] = [
    PASSWORD,
    VERIFIER,
    "web-secret",
    "gw-secret",
    "0123456789abcdef",
];

/// What the log must say, so that its silence means something.
const SAID: [&str; 6] = [
    "code_redeemed",
    "grant_revoked",
    "device_approved",
    "device_code_replayed",
    "user_code_refused",
    "audience `https://api.example/billing` is missing",
];

/// The log as text.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

/// Everything that is logged on this thread for as long as the guards live.
pub(super) fn listen() -> (Log, (tracing::Dispatch, tracing::subscriber::DefaultGuard)) {
    let log = Log::default();
    // With one subscriber alone, an event that a test on another thread comes to first would be
    // switched off for this thread, too.
    let second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    (log, (second, tracing::subscriber::set_default(subscriber)))
}

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_token_code_cookie_password_or_key_is_at_rest_or_in_a_log() {
    let (log, _guards) = listen();
    let world = device::world().await;

    let mut browser = Browser::default();
    let page = browser.get(&world, &authorize_uri(&[])).await;
    let mut secrets = vec![page.field("interaction"), page.field("csrf")];
    browser.log_in(&world, &page, PASSWORD).await;
    let target = browser.walk(&world, &authorize_uri(&[]), "alice").await;
    let code = query(&target)["code"].clone();
    let tokens = world.redeem("web", &code).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    let access = tokens["access_token"].as_str().unwrap().to_owned();
    let mut swap = as_client("gw_orders", "/introspect", &[("token", &access)]);
    swap.headers_mut()
        .insert(header::ACCEPT, "application/jwt".parse().unwrap());
    secrets.push(world.send(swap).await.body);
    world.introspect("gw_billing", &access).await;
    secrets.extend(of_a_device(&world, &mut browser).await);
    let next = world.token("web", &refresh_form(&refresh)).await.json();
    world.token("web", &refresh_form(&refresh)).await;
    world.redeem("web", &code).await;
    world.post_as("web", "/revoke", &[("token", &access)]).await;
    world.store.set_down(true);
    world.introspect("gw_orders", &access).await;
    world.store.set_down(false);

    secrets.extend(browser.cookies.into_values());
    secrets.extend([code, refresh, access]);
    for name in ["access_token", "id_token"] {
        secrets.push(next[name].as_str().unwrap().to_owned());
    }
    secrets.extend(CONFIGURED.map(Into::into));
    let log = log.text();
    for said in SAID {
        assert!(log.contains(said), "{said} in {log}");
    }
    let at_rest = at_rest(&world).await;
    assert!(at_rest.contains("orders:read"));
    for secret in secrets {
        assert!(!log.contains(&secret), "`{secret}` in the log");
        assert!(!at_rest.contains(&secret), "`{secret}` in the store");
        assert!(!world.metrics.render().contains(&secret));
    }
}

/// A device is connected; the codes and tokens of that.
async fn of_a_device(world: &World, browser: &mut Browser) -> [String; 5] {
    let given = device::begin(world, "orders:read").await;
    device::enter(browser, world, "BBBB-BBBB").await;
    device::decide(world, "alice", &given.user_code, "approve").await;
    let tokens = device::poll(world, "tv", &given).await.json();
    device::poll(world, "tv", &given).await;
    let token = |name: &str| tokens[name].as_str().unwrap().to_owned();
    [
        given.user_code.replace('-', ""),
        given.user_code,
        given.device_code,
        token("access_token"),
        token("refresh_token"),
    ]
}

/// Every key and value of the store.
pub(super) async fn at_rest(world: &World) -> String {
    let mut text = String::new();
    let mut cursor = None;
    loop {
        let page = world.store.scan("", cursor.as_deref(), 100).await.unwrap();
        for (key, value) in page.entries {
            text.push_str(&key);
            text.push_str(&String::from_utf8_lossy(&value));
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return text;
        }
    }
}
