//! Proxies that people have already, in front: each asks the gateway and forwards itself, and gives the
//! answers that the gateway gives.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use e2e::Site;
use e2e::front::{Front, RunningFront};
use e2e::http::{self, client, get, send};
use e2e::recorder::Recorder;
use e2e::site::{host, start_upstream};
use e2e::tokens;

/// The listeners that the example files ask.
fn site() -> Site {
    Site::all_in_one_with(|text| {
        let host = host(&text);
        let listeners = format!(
            "gateway:\n  forward_auth:\n    - {{ listen: \"{host}:8085\", dialect: nginx }}\n    \
             - {{ listen: \"{host}:8086\", dialect: forwarded }}\n    \
             - {{ listen: \"{host}:8087\", dialect: envoy, path_prefix: /check }}\n    \
             - {{ listen: \"{host}:8088\", dialect: envoy_grpc }}\n"
        );
        text.replacen("gateway:\n", &listeners, 1)
    })
}

/// What nginx makes of a refusal; the others pass it on.
fn as_said_by(front: Front, status: u16) -> u16 {
    match (front, status) {
        (Front::Nginx, 400..=499) if status != 401 => 403,
        (Front::Nginx, 500..=599) => 500,
        _ => status,
    }
}

async fn behaves(kind: Front, site: &Site, front: &RunningFront, alice: &str) {
    let path = "/records/1001";
    let through = get(&front.url(path), Some(alice)).await;
    assert_eq!(through.status, 200, "{kind:?} {}", through.body);
    // The service gets the JWT that was cut for it, and never the token.
    let seen = get(&front.url("/whoami"), Some(alice)).await;
    assert_eq!(seen.status, 200, "{kind:?} {}", seen.body);
    assert!(
        seen.json()["jwt_claims"]["aud"].is_string(),
        "{kind:?} {}",
        seen.body
    );
    assert!(!seen.body.contains(alice), "{kind:?} {}", seen.body);
    for (path, token) in [
        (path, None),
        (path, Some("cg_at_nonsense")),
        ("/records/1002", Some(alice)),
        ("/records", Some(alice)),
        ("/nowhere", Some(alice)),
    ] {
        let here = get(&site.gateway_url(path), token).await;
        let there = get(&front.url(path), token).await;
        assert!(here.status >= 400, "{path}");
        assert_eq!(
            there.status,
            as_said_by(kind, here.status),
            "{kind:?} {path}"
        );
        if here.status == 401 {
            let challenge = there.header("www-authenticate");
            assert!(
                challenge.starts_with("Bearer "),
                "{kind:?} {path} {challenge}"
            );
        }
    }
    // A body goes through, and is no part of the question.
    let change = client()
        .put(front.url(path))
        .bearer_auth(alice)
        .header("content-type", "application/json")
        .body("{\"note\":\"changed\"}");
    let here = client()
        .put(site.gateway_url(path))
        .bearer_auth(alice)
        .header("content-type", "application/json")
        .body("{\"note\":\"changed\"}");
    let (here, there) = (send(here).await, send(change).await);
    assert_eq!(there.status, as_said_by(kind, here.status), "{kind:?}");
}

/// The upgrades that the gateway itself would not pass on, the names under which other methods and paths are
/// asked for, and very many headers.
fn resists_more(kind: Front, front: &RunningFront, alice: &str) {
    let ask = |more: &str| raw(front.address(), "/records/1001", alice, more);
    for protocol in ["h2c", "foo"] {
        let more = format!("Upgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n");
        let request = format!(
            "GET /records/1001 HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {alice}\r\n{more}Connection: Upgrade, HTTP2-Settings\r\n\r\n"
        );
        let answer = http::raw(front.address(), request.as_bytes());
        let status = http::raw_status(&answer).expect("an answer");
        assert_ne!(status, 101, "{kind:?} {protocol}");
    }
    let many: String = (0..98).map(|n| format!("a{n}: b\r\n")).collect();
    ask(&many);
    assert_eq!(ask(""), 200, "{kind:?} is still there");
    if kind != Front::Envoy {
        // It shows the gateway few headers, and passes these on to nobody.
        for name in ["X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL"] {
            let status = ask(&format!("{name}: /records/1002\r\n"));
            assert!((400..500).contains(&status), "{kind:?} {name} {status}");
        }
    }
}

/// Whoever writes the headers of a dialect themselves, or names a path in two ways, gets no further.
fn resists(kind: Front, front: &RunningFront, alice: &str) {
    let ask = |target: &str, more: &str| raw(front.address(), target, alice, more);
    for family in ["Original", "Forwarded"] {
        let forged = format!(
            "X-{family}-Method: GET\r\nX-{family}-Uri: /records/1001\r\nX-{family}-URI: /records/1001\r\nX-{family}-Host: x\r\nX-Forwarded-For: 10.0.0.1\r\n"
        );
        let status = ask("/records/1002", &forged);
        assert!((400..500).contains(&status), "{kind:?} {family} {status}");
    }
    for target in [
        "/records/1001/../1002",
        "/records/%31002",
        "/records/1001%2f..%2f1002",
        "//records/1002",
        "/records//1002",
        "/records/1001;/../1002",
        "/records/1001%00",
    ] {
        let status = ask(target, "");
        assert!(status >= 300, "{kind:?} {target} {status}");
    }
}

fn raw(address: SocketAddr, target: &str, token: &str, more: &str) -> u16 {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\n{more}Connection: close\r\n\r\n"
    );
    let answer = http::raw(address, request.as_bytes());
    http::raw_status(&answer).unwrap_or_else(|| panic!("no answer to {target}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_proxy_gives_the_answers_of_the_gateway_and_ends_with_its_permits() {
    let mut site = site();
    let alice = tokens::access_token(&site, "alice").await;
    for kind in Front::ALL {
        let front = kind.start(site.host);
        behaves(kind, &site, &front, &alice).await;
        resists(kind, &front, &alice);
        resists_more(kind, &front, &alice);
    }
    tokens::revoke(&site, &alice).await;
    for kind in Front::ALL {
        let front = kind.start(site.host);
        let refused = get(&front.url("/records/1001"), Some(&alice)).await;
        assert_eq!(refused.status, 401, "{kind:?}");
    }
    // No answer means no.
    site.pdp.kill();
    let _service = start_upstream(site.folder.path(), site.host);
    for kind in Front::ALL {
        let front = kind.start(site.host);
        let refused = get(&front.url("/records/1001"), Some(&alice)).await;
        assert!(refused.status >= 500, "{kind:?} {}", refused.status);
    }
}

/// However a target or a name is spelt: what the service gets is what was asked about, and nothing beside it by
/// which it could understand another request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_gets_what_was_asked_about_however_it_was_spelt() {
    let site = site();
    let alice = tokens::access_token(&site, "alice").await;
    let recorder = Recorder::default();
    recorder
        .start_upstream(SocketAddr::from((site.host, 9009)))
        .await;
    for kind in Front::ALL {
        let front = kind.start_with(site.host, |text| {
            text.replace(":9000", ":9009")
                .replace("port_value: 9000", "port_value: 9009")
        });
        let ask = |target: &str, more: &str| raw(front.address(), target, &alice, more);
        assert_eq!(ask("/records/1001", ""), 200, "{kind:?}");
        for target in [
            "http://gw.test/records/1001",
            "http://user@gw.test/records/1001",
            "https://gw.test/records/1001",
            "http://gw.test",
            "*",
        ] {
            ask(target, "");
        }
        for name in ["X_HTTP_Method_Override", "X_Original_URL", "x-rewrite_url"] {
            ask("/records/1001", &format!("{name}: /records/1002\r\n"));
        }
        let seen = recorder.requests();
        assert!(!seen.is_empty(), "{kind:?}");
        for request in seen {
            assert_eq!(request.target, "/records/1001", "{kind:?}");
            let mut names = request.headers.iter().map(|(name, _)| name);
            let odd = names.find(|name| name.contains('_'));
            assert_eq!(odd, None, "{kind:?}");
        }
        recorder.clear();
    }
}

/// What the service sees of headers, but for those that differ each time.
async fn received(url: &str, token: &str) -> BTreeMap<String, String> {
    let ask = client()
        .get(url)
        .bearer_auth(token)
        .header("x-user", "mallory")
        .header("x_user", "mallory")
        .header("x-forwarded-host", "elsewhere")
        .header("x-forwarded-for", "10.9.8.7")
        .header("x-envoy-retry-on", "5xx")
        .header("proxy-authorization", "Basic YTpi")
        .header("x-own", "one")
        .header("x-own", "two");
    let answer = send(ask).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let headers = answer.json()["received_headers"].clone();
    let mut headers: BTreeMap<String, String> = serde_json::from_value(headers).expect("texts");
    for name in ["x-request-id", "traceparent"] {
        assert!(headers.remove(name).is_some(), "{name}");
    }
    headers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_envoy_the_service_gets_the_headers_that_it_gets_behind_the_gateway() {
    let site = site();
    let alice = tokens::access_token(&site, "alice").await;
    let front = Front::EnvoyGrpc.start(site.host);
    let here = received(&site.gateway_url("/whoami"), &alice).await;
    let mut there = received(&front.url("/whoami"), &alice).await;
    // What is between two proxies is theirs. The JWT is the same one.
    let mut expected = here.clone();
    for headers in [&mut expected, &mut there] {
        for name in ["host", "x-forwarded-host", "connection"] {
            headers.remove(name);
        }
    }
    // Envoy's router adds it when all is decided.
    there.remove("x-envoy-expected-rq-timeout-ms");
    assert_eq!(there, expected);
    assert_eq!(there["x-own"], "one, two");
    assert!(there["authorization"].starts_with("Bearer ey"), "{there:?}");
}

/// Whatever Envoy makes of a path before it asks is what is decided on, and what the service gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_may_write_paths_in_its_own_way_as_long_as_it_does_so_before_it_asks() {
    let site = site();
    let alice = tokens::access_token(&site, "alice").await;
    let own = "/records/1001";
    for action in [
        "KEEP_UNCHANGED",
        "UNESCAPE_AND_FORWARD",
        "UNESCAPE_AND_REDIRECT",
    ] {
        let front = Front::EnvoyGrpc.start_with(site.host, |text| {
            text.replacen(
                "use_remote_address: true",
                &format!(
                    "use_remote_address: true\n                normalize_path: true\n                \
                     merge_slashes: true\n                path_with_escaped_slashes_action: {action}"
                ),
                1,
            )
        });
        let ask = |target: &str| raw(front.address(), target, &alice, "");
        assert_eq!(ask(own), 200, "{action}");
        // Somebody else's, by all the ways that lead there.
        for target in [
            "/records/1002",
            "/records/1001/../1002",
            "/records/%31002",
            "/records//1002",
            "//records/1002",
            "/records/./1002",
            "/records/1001%2f..%2f1002",
            "/records/1001%5c..%5c1002",
            "/records/1001%252f..%252f1002",
            "/records/1001\\..\\1002",
            "/records/1001/..;/1002",
            "/records/1001;/../../1002",
            "/records/1001%00/../1002",
        ] {
            let status = ask(target);
            assert!(status >= 300, "{action} {target} {status}");
        }
        for target in ["/records/1002/../1001", "/records//1001"] {
            let status = ask(target);
            assert!(
                [200, 307, 400].contains(&status),
                "{action} {target} {status}"
            );
        }
    }
}
