//! Introspection as Curity's nginx and OpenResty modules ask for it: the raw JWT.

use std::net::SocketAddr;

use base64::Engine as _;
use e2e::http::raw;
use e2e::{Site, tokens};

/// One exchange as the nginx module makes it; head and body.
fn ask(site: &Site, token: &str) -> (String, Vec<u8>) {
    let basic = base64::engine::general_purpose::STANDARD.encode("gateway:demo-secret-of-gateway");
    let body = format!("token={token}");
    let request = format!(
        "POST /introspect HTTP/1.1\r\nHost: {0}:8081\r\nAuthorization: Basic {basic}\r\n\
         Accept: application/jwt\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {1}\r\nConnection: close\r\n\r\n{body}",
        site.host,
        body.len()
    );
    let answer = raw(SocketAddr::from((site.host, 8081)), request.as_bytes());
    let end = answer
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .expect("a head")
        + 4;
    let head = String::from_utf8(answer[..end].to_vec())
        .expect("ascii")
        .to_lowercase();
    (head, answer[end..].to_vec())
}

#[tokio::test]
async fn the_answer_is_the_raw_jwt_with_its_exact_length_and_204_when_inactive() {
    let site = Site::all_in_one();
    let token = tokens::access_token(&site, "alice").await;
    let (head, body) = ask(&site, &token);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/jwt\r\n"), "{head}");
    assert!(
        head.contains(&format!("content-length: {}\r\n", body.len())),
        "{head}"
    );
    assert!(
        !head.contains("transfer-encoding") && !head.contains("content-encoding"),
        "{head}"
    );
    assert!(
        !head.contains("set-cookie") && !head.contains("vary"),
        "{head}"
    );
    let max_age = head
        .split("max-age=")
        .nth(1)
        .and_then(|rest| rest.split(['\r', ',']).next()?.parse::<u64>().ok())
        .expect("max-age");
    assert!((1..=300).contains(&max_age), "{max_age}");
    let jwt = String::from_utf8(body).expect("ascii");
    assert_eq!(jwt.split('.').count(), 3);
    assert!(jwt.len() < 3500);

    tokens::revoke(&site, &token).await;
    for inactive in [token.as_str(), "cg_at_nonsense", "nonsense"] {
        let (head, body) = ask(&site, inactive);
        assert!(head.starts_with("http/1.1 204"), "{inactive}: {head}");
        assert!(body.is_empty());
    }
}
