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

fn target(logins: &Logins, query: &str) -> String {
    let back = wanted(query).filter(|back| leads_here(logins, back));
    back.unwrap_or_else(|| "/".into())
}

#[test]
fn nobody_is_sent_to_another_site() {
    let logins = logins();
    for good in [
        "/",
        "/app",
        "/app/x?y=z&u=https://other.example",
        "/a%20b",
        "/a?b=//c",
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(good.as_bytes()).collect();
        assert_eq!(target(&logins, &format!("return_to={encoded}")), good);
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
        assert_eq!(
            target(&logins, &format!("return_to={encoded}")),
            "/",
            "{bad:?}"
        );
        assert_eq!(target(&logins, &format!("return_to={bad}")), "/", "{bad:?}");
    }
    assert_eq!(
        target(&logins, "return_to=/a&return_to=/b"),
        "/",
        "one of two"
    );
}

/// Read where it is named, and never committed.
#[test]
fn nor_by_any_of_the_public_list() {
    let Some(file) = std::env::var_os("CEDARGATE_OPEN_REDIRECTS") else {
        println!(
            "not run: open redirects; set CEDARGATE_OPEN_REDIRECTS to testdata/openredirects.txt \
             (oauth2-proxy/oauth2-proxy on GitHub)"
        );
        return;
    };
    let list = std::fs::read_to_string(file).unwrap();
    let base = url::Url::parse("https://app.example").unwrap();
    let (logins, mut count) = (logins(), 0);
    for line in list.lines().filter(|line| !line.is_empty()) {
        count += 1;
        let encoded: String = url::form_urlencoded::byte_serialize(line.as_bytes()).collect();
        for query in [format!("return_to={encoded}"), format!("return_to={line}")] {
            let back = target(&logins, &query);
            let read = base.join(&back).unwrap();
            assert_eq!(read.origin(), base.origin(), "{line}: {back}");
            assert!(!back.starts_with("//"), "{line}: {back}");
        }
    }
    assert!(count > 500, "only {count}");
}
