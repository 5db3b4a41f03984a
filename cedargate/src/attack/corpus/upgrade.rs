//! Connections that pretend to become something else. The upstream of an attack never agrees to it.

use super::super::case::{Case, Class, Expect, MARKER};
use super::super::target::Target;

const WEBSOCKET: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(super) fn cases(read: &Target) -> Vec<Case> {
    let mut cases = pretended(read);
    let mut case = |title: String, bytes: Vec<u8>, expect: Expect| {
        cases.push(Case::new(Class::Upgrade, read, title, bytes, expect));
    };
    let (line, smuggled) = (read.line(), read.smuggled());
    let websocket = format!("{WEBSOCKET}Connection: Upgrade\r\n");
    for (title, fields) in [
        ("h2c", "Upgrade: h2c\r\nConnection: Upgrade\r\n"),
        ("WebSocket", &websocket),
    ] {
        let title = format!("a request behind the wish for {title}");
        case(title, read.message(&line, fields, &smuggled), Expect::Sound);
    }
    for (title, body) in [
        ("WebSocket with a body", "Content-Length: 3\r\n"),
        (
            "WebSocket with a chunked body",
            "Transfer-Encoding: chunked\r\n",
        ),
    ] {
        let bytes = read.message(&line, &format!("{websocket}{body}"), &smuggled);
        case(title.to_owned(), bytes, Expect::Refused);
    }
    if read.token.is_some() {
        let bytes = read.anonymous().message(&line, &websocket, &smuggled);
        case(
            "WebSocket without a token".to_owned(),
            bytes,
            Expect::Refused,
        );
    }
    cases
}

/// What asks for something else, and is an ordinary request for all that.
fn pretended(read: &Target) -> Vec<Case> {
    let asked = [
        (
            "h2c",
            format!(
                "Upgrade: h2c\r\nHTTP2-Settings: {MARKER}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            ),
        ),
        (
            "h2c, the settings not named",
            format!("Upgrade: h2c\r\nHTTP2-Settings: {MARKER}\r\nConnection: Upgrade\r\n"),
        ),
        (
            "TLS",
            "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n".to_owned(),
        ),
        (
            "two protocols",
            "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n".to_owned(),
        ),
        (
            "WebSocket that Connection does not name",
            WEBSOCKET.to_owned(),
        ),
    ];
    let case = |(title, fields): (&str, String)| {
        let (bytes, expect) = (read.request(&fields), Expect::passes(read));
        Case::new(Class::Upgrade, read, title, bytes, expect).hiding_marker()
    };
    asked.into_iter().map(case).collect()
}
