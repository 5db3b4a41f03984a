//! API keys in a header of their own: taken alone, never passed on, and said to caches.

use std::sync::atomic::Ordering;

use crate::fixture::{Fixture, Setup};

async fn gateway(header: &str) -> Fixture {
    let mut setup = Setup::new().await;
    setup.gateway = format!("{{ workers: 1, access_log: 'off'{header} }}");
    setup.start().await
}

fn request(path: &str, fields: &[&str]) -> String {
    let lines = [
        &[
            &*format!("GET {path} HTTP/1.1"),
            "Host: gw.test",
            "Connection: close",
        ],
        fields,
    ];
    format!("{}\r\n\r\n", lines.concat().join("\r\n"))
}

#[tokio::test]
async fn a_key_is_swapped_and_decided_upon_as_a_token_is_and_goes_no_further() {
    let fixture = gateway(", api_key_header: X-API-Key").await;
    for _ in 0..2 {
        let answer = fixture
            .raw(&request(
                "/records/1",
                &["x-api-key: at_alice", "X_API_Key: at_bob"],
            ))
            .await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.header("vary"), Some("x-api-key"));
        assert_eq!(answer.header("cache-control"), Some("private"));
    }
    assert_eq!(fixture.tokens.asked.load(Ordering::SeqCst), 1);
    let seen = fixture.upstream.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(
            request.headers["authorization"],
            "Bearer jwt.alice.signature"
        );
        let text = format!("{:?}", request.headers);
        assert!(
            !text.contains("at_alice") && !text.contains("at_bob"),
            "{text}"
        );
        assert!(
            !text.contains("api-key") && !text.contains("api_key"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn two_credentials_none_and_bad_ones_are_refused() {
    let fixture = gateway(", api_key_header: X-API-Key").await;
    for (fields, status) in [
        (
            &["X-API-Key: at_alice", "Authorization: Bearer at_alice"][..],
            400,
        ),
        (&["X-API-Key: at_alice", "X-API-Key: at_alice"], 400),
        (&["X-API-Key: Bearer at_alice"], 400),
        (&["X-API-Key: at_nobody"], 401),
        (&["X_API_Key: at_alice"], 401),
        (&[], 401),
    ] {
        let answer = fixture.raw(&request("/records/1", fields)).await;
        assert_eq!(answer.status(), status, "{fields:?}: {answer:?}");
        assert!(answer.header("www-authenticate").is_some(), "{answer:?}");
    }
    assert!(fixture.upstream.seen().is_empty());
    // A public route asks nobody, and passes no key on.
    let answer = fixture
        .raw(&request("/public/x", &["X-API-Key: at_alice"]))
        .await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let seen = &fixture.upstream.seen()[0].headers;
    assert!(!seen.contains_key("x-api-key"), "{seen:?}");
}

#[tokio::test]
async fn without_the_header_it_is_the_upstreams_own() {
    let fixture = gateway("").await;
    let fields = ["X-API-Key: its-own", "Authorization: Bearer at_alice"];
    let answer = fixture.raw(&request("/records/1", &fields)).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.header("vary"), None);
    assert_eq!(fixture.upstream.seen()[0].headers["x-api-key"], "its-own");
}
