//! Cookies: those that nobody has given out, and where a route has a login, what is the gateway's own.

use super::super::case::{Case, Class, Expect, MARKER};
use super::super::target::Target;

/// What others call sessions and tokens in cookies.
const NAMES: &[&str] = &[
    "session",
    "sid",
    "JSESSIONID",
    "PHPSESSID",
    "connect.sid",
    "_oauth2_proxy",
    "_pomerium",
    "access_token",
    "id_token",
    "Authorization",
    "__Host-session",
    "__Host-cedargate",
];

/// As long as an id that somebody was given.
const NOBODYS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

const NAVIGATION: &str = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";

pub(super) fn cases(all: &[Target], read: &Target) -> Vec<Case> {
    let mut cases = Vec::new();
    if let Some(token) = &read.token {
        for name in NAMES {
            for value in [NOBODYS, token] {
                let bytes = read
                    .anonymous()
                    .request(&format!("Cookie: {name}={value}\r\n"));
                let title = format!("a cookie `{name}` for a token");
                cases.push(Case::new(
                    Class::Session,
                    read,
                    title,
                    bytes,
                    Expect::Refused,
                ));
            }
        }
    }
    for target in all {
        if let Some(cookie) = &target.login_cookie {
            cases.extend(with_login(target, cookie));
        }
    }
    if let Some(target) = all.iter().find(|target| target.login_cookie.is_some()) {
        cases.extend(reserved(target));
    }
    cases
}

const TUNNEL: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn with_login(target: &Target, cookie: &str) -> Vec<Case> {
    let title = |what: &str| format!("{} {}: {what}", target.method, target.template);
    let line = format!("Cookie: {cookie}={NOBODYS}\r\n");
    let plain = target.anonymous();
    let mut alone = vec![
        ("a session that nobody has", line.clone()),
        ("no session, by a browser", NAVIGATION.to_owned()),
        (
            "one that nobody has, by a browser",
            format!("{line}{NAVIGATION}"),
        ),
    ];
    for sender in [
        "Origin: https://evil.test\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Origin: null\r\n",
        "",
    ] {
        let page = format!("{line}{sender}");
        let tunnel = format!("{page}{TUNNEL}");
        alone.push(("a session by another site's page", page));
        alone.push(("a tunnel by another site's page", tunnel));
    }
    let alone = alone.into_iter().map(|(what, fields)| {
        let bytes = plain.request(&fields);
        Case::new(Class::Session, &plain, title(what), bytes, Expect::Refused)
    });
    let twice = format!("{line}{line}");
    let beside = [
        ("a session beside a token", &line),
        ("two sessions beside a token", &twice),
    ];
    let beside = beside.map(|(what, fields)| {
        let (bytes, expect) = (target.request(fields), Expect::Status(&[400]));
        Case::new(Class::Session, target, title(what), bytes, expect)
    });
    let mut cases: Vec<_> = alone.chain(beside).collect();
    if matches!(&*target.method, "GET" | "HEAD") {
        let begun = format!("Cookie: a=1; {cookie}-login-0={MARKER}; b=2\r\n");
        let (bytes, expect) = (target.request(&begun), Expect::passes(target));
        let title = title("the cookie of a login that was begun");
        cases.push(Case::new(Class::Session, target, title, bytes, expect).hiding_marker());
    }
    cases
}

/// What is the gateway's is no upstream's, with whatever credential.
fn reserved(target: &Target) -> Vec<Case> {
    let login = target.login.as_deref().unwrap_or_default();
    [
        "/.cedargate".to_owned(),
        "/.cedargate/unknown".to_owned(),
        format!("/.cedargate/{login}"),
        format!("/.cedargate/{login}/callback?code=x&state={NOBODYS}"),
        format!("/.cedargate/{login}/callback?error=%3Cscript%3E"),
        format!("/.cedargate/{login}/backchannel-logout"),
        format!("/.%63edargate/{login}/unknown"),
        format!("/x/../.cedargate/{login}/unknown"),
    ]
    .into_iter()
    .map(|path| {
        let bytes = target.request_to(&path, "");
        let title = format!("`{path}`, which is the gateway's");
        Case::new(Class::Session, target, title, bytes, Expect::Refused)
    })
    .collect()
}
