//! Nothing secret is at rest or in a log, whatever happens.

use std::io::Write;
use std::sync::{Arc, Mutex};

use http::header;
use store::Store as _;
use tracing_subscriber::fmt::MakeWriter;

use super::harness::{
    Browser, PASSWORD, VERIFIER, World, as_client, authorize_uri, query, refresh_form,
};

/// The log as text.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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
    let log = Log::default();
    // With one subscriber alone, an event that a test on another thread comes to first would be
    // switched off for this thread, too.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;

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
    let next = world.token("web", &refresh_form(&refresh)).await.json();
    world.token("web", &refresh_form(&refresh)).await;
    world.redeem("web", &code).await;
    world.post_as("web", "/revoke", &[("token", &access)]).await;
    world.store.set_down(true);
    world.introspect("gw_orders", &access).await;
    world.store.set_down(false);

    secrets.extend(browser.cookies.into_values());
    secrets.extend([code, refresh, access]);
    secrets.push(next["access_token"].as_str().unwrap().to_owned());
    secrets.push(next["id_token"].as_str().unwrap().to_owned());
    for text in [
        PASSWORD,
        VERIFIER,
        "web-secret",
        "gw-secret",
        "0123456789abcdef",
    ] {
        secrets.push(text.to_owned());
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("code_redeemed") && log.contains("grant_revoked"),
        "{log}"
    );
    assert!(
        log.contains("audience `https://api.example/billing` is missing"),
        "{log}"
    );
    let at_rest = at_rest(&world).await;
    assert!(at_rest.contains("orders:read"));
    for secret in secrets {
        assert!(!log.contains(&secret), "`{secret}` in the log");
        assert!(!at_rest.contains(&secret), "`{secret}` in the store");
        assert!(!world.metrics.render().contains(&secret));
    }
}

/// Every key and value of the store.
async fn at_rest(world: &World) -> String {
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
