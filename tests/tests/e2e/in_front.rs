//! Proxies that people have already, in front of the gateway: it hears of their clients by their word, and of
//! nobody's else.

use std::net::{IpAddr, Ipv4Addr};

use e2e::Site;
use e2e::front::Front;
use e2e::http::{Answer, send};
use e2e::tokens;
use serde_json::Value;

/// Another machine, as far as it goes on one.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 99, 0, 7));

/// By way of which connections on one machine come, where nobody chooses.
fn site(proxies: &str) -> Site {
    Site::all_in_one_with(|text| {
        let of_gateway = format!("gateway:\n  proxies: [{proxies}]\n");
        text.replacen("gateway:\n", &of_gateway, 1)
    })
}

async fn ask(url: String, token: &str) -> Answer {
    let client = reqwest::Client::builder()
        .local_address(CLIENT)
        .no_proxy()
        .build()
        .expect("client");
    let request = client.get(url).bearer_auth(token);
    let forged = request
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.test")
        .header("Forwarded", "for=6.6.6.6;proto=https")
        .header("X-Real-IP", "6.6.6.6")
        .header("X-Request-Id", "00000000000000000000000000000bad");
    send(forged).await
}

fn received(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["received_headers"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_whom_the_proxy_in_front_has_seen() {
    let site = site("'127.0.0.1/32'");
    let alice = tokens::access_token(&site, "alice").await;
    for kind in Front::IN_FRONT {
        let front = kind.start_in_front(site.host);
        let seen = received(&ask(front.url("/whoami"), &alice).await);
        assert_eq!(seen["x-forwarded-for"], CLIENT.to_string(), "{kind:?}");
        assert_eq!(seen["x-forwarded-proto"], "http", "{kind:?} {seen}");
        let host = front.address().to_string();
        assert_eq!(seen["x-forwarded-host"], host, "{kind:?}");
        let id = seen["x-request-id"].as_str().expect("a name");
        assert!(!id.ends_with("bad"), "{kind:?} {id}");
        // nginx has digits, the others a UUID: none of our own making.
        let length = if kind == Front::Nginx { 32 } else { 36 };
        assert_eq!(id.len(), length, "{kind:?} {id}");
        for gone in ["forwarded", "x-real-ip", "x-envoy-external-address"] {
            assert_eq!(seen[gone], Value::Null, "{kind:?} {gone}");
        }
    }
    // Who goes by itself is believed nothing.
    let seen = received(&ask(site.gateway_url("/whoami"), &alice).await);
    assert_eq!(seen["x-forwarded-for"], CLIENT.to_string());
    assert_eq!(seen["x-forwarded-proto"], "http");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_nobody_has_named_is_a_client() {
    let site = site("'10.0.0.0/8'");
    let alice = tokens::access_token(&site, "alice").await;
    let front = Front::Nginx.start_in_front(site.host);
    let seen = received(&ask(front.url("/whoami"), &alice).await);
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    let id = seen["x-request-id"].as_str().expect("a name");
    assert_eq!(id.len(), 32);
}
