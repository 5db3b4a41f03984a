//! Where somebody may be sent back to.

use super::*;
use crate::plan::tests::compile;

fn logins() -> Logins {
    let plan = compile(
        "gateway:\n  public_origins: ['https://app.example']\n  sessions: { secret: 'a secret of the tests, long enough to be' }\n  \
         logins: { web: { issuer: 'https://id.example', client_id: gw, client_secret: s } }\n\
         upstreams: { a: 'http://x' }\nroutes:\n\
         - { match: /a, methods: [GET], upstream: a, action: x, resource: R/x, login: web }\n",
    );
    plan.unwrap().logins.unwrap()
}

fn target(query: &str) -> String {
    let logins = logins();
    let back = wanted(query).filter(|back| leads_here(&logins, back));
    back.unwrap_or_else(|| "/".into())
}

#[test]
fn nobody_is_sent_to_another_site() {
    for good in [
        "/",
        "/app",
        "/app/x?y=z&u=https://other.example",
        "/a%20b",
        "/a?b=//c",
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(good.as_bytes()).collect();
        assert_eq!(target(&format!("return_to={encoded}")), good);
    }
    for bad in [
        "",
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "/%09/evil.test",
        "/\t/evil.test",
        "/\n/evil.test",
        "/ /evil.test",
        "https:evil.test",
        "https://evil.test",
        "http://app.example@evil.test",
        "javascript:alert(1)",
        "/..//evil.test",
        "/../evil",
        "/./evil",
        "/%2e%2e/evil",
        "/%2f%2fevil.test",
        "/%5cevil.test",
        "evil.app.example",
        "/a#b",
        "/a\u{0}",
        "/\u{2028}/evil.test",
        "/ünicode",
        "/.cedargate/web/login",
        "/.cedargate/web/logout",
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(bad.as_bytes()).collect();
        assert_eq!(target(&format!("return_to={encoded}")), "/", "{bad:?}");
        assert_eq!(target(&format!("return_to={bad}")), "/", "{bad:?}");
    }
    assert_eq!(target("return_to=/a&return_to=/b"), "/", "one of two");
}
