//! Programs on somebody's machine (RFC 8252): what is sent to them could reach another program there.

use super::harness::{Browser, World, authorize_uri, config, query};

#[tokio::test]
async fn a_program_on_the_machine_is_asked_about_each_time() {
    let world = World::with(config(|text| {
        text.replace(
            "scope: openid orders:read, consent: skip",
            "scope: openid orders:read",
        )
    }))
    .await;
    let mut browser = Browser::default();
    let uri = authorize_uri(&[("client_id", "native")]);
    for _ in 0..2 {
        let sent = browser.walk(&world, &uri, "alice").await;
        assert!(query(&sent).contains_key("code"), "{sent}");
        // Another program has another port, and wants a code without a word.
        let quiet = authorize_uri(&[
            ("client_id", "native"),
            ("redirect_uri", "http://127.0.0.1:6666/cb"),
            ("prompt", "none"),
        ]);
        let answer = browser.get(&world, &quiet).await;
        assert_eq!(query(answer.location())["error"], "consent_required");
        let page = browser.get(&world, &uri).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("name=\"decision\""), "{}", page.body);
    }
    // What is behind a web address is the client: what was approved is remembered.
    let web = authorize_uri(&[]);
    browser.walk(&world, &web, "alice").await;
    let answer = browser.get(&world, &format!("{web}&prompt=none")).await;
    assert!(query(answer.location()).contains_key("code"));
}
