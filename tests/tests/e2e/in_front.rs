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
    site_with(proxies, "")
}

/// `more`: lines of the gateway's part.
fn site_with(proxies: &str, more: &str) -> Site {
    Site::all_in_one_with(|text| {
        let of_gateway = format!("\ngateway:\n  proxies: [{proxies}]\n{more}");
        text.replacen("\ngateway:\n", &of_gateway, 1)
    })
}

async fn ask(url: String, token: &str) -> Answer {
    let client = reqwest::Client::builder()
        .local_address(CLIENT)
        .tls_danger_accept_invalid_certs(true)
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

/// What the client says of itself counts as little as ever, and what HAProxy says of the connection does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_whom_a_load_balancer_passes_bytes_on_for() {
    let site = site_with("'127.0.0.1/32'", "  proxy_protocol: true\n");
    let alice = tokens::access_token(&site, "alice").await;
    let folder = tempfile::tempdir().expect("folder");
    let key = rcgen::generate_simple_self_signed(["gw.test".to_owned()]).expect("certificate");
    let both = folder.path().join("both.pem");
    let pem = format!("{}{}", key.cert.pem(), key.signing_key.serialize_pem());
    std::fs::write(&both, pem).expect("file");
    for (said, scheme) in [
        ("send-proxy", "http"),
        ("send-proxy-v2", "http"),
        ("send-proxy-v2-ssl", "http"),
        ("send-proxy-v2-ssl", "https"),
    ] {
        let front = Front::HaProxyTcp.start_in_front_with(site.host, |text| {
            let text = text.replace("send-proxy-v2", said);
            if scheme == "https" {
                let bind = format!(":8000 ssl crt {}", both.display());
                return text.replace(":8000", &bind);
            }
            text
        });
        let url = format!("{scheme}://{}/whoami", front.address());
        let seen = received(&ask(url, &alice).await);
        assert_eq!(seen["x-forwarded-for"], CLIENT.to_string(), "{said}");
        assert_eq!(seen["x-forwarded-proto"], scheme, "{said} {seen}");
        let id = seen["x-request-id"].as_str().expect("a name");
        assert!(!id.ends_with("bad"), "{said} {id}");
        for gone in ["forwarded", "x-real-ip"] {
            assert_eq!(seen[gone], Value::Null, "{said} {gone}");
        }
    }
    // Who comes by another way begins with nothing of the kind, and is who they are.
    let seen = received(&ask(site.gateway_url("/whoami"), &alice).await);
    assert_eq!(seen["x-forwarded-for"], CLIENT.to_string());
    assert_eq!(seen["x-forwarded-proto"], "http");
}
